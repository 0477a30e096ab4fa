//! Reads the documentation for tests: pages, fenced blocks, links and commands.

mod command_lines;
mod listed;
mod prose;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

pub use command_lines::{Call, calls, unknown_name};
pub use listed::{Treatment, unused_entries};
pub use prose::Prose;
pub use walk::{Host, Walk};

/// A page, with its path in the repository.
#[derive(Debug, Clone)]
pub struct Page {
    pub path: String,
    pub text: String,
}

/// A fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    pub page: String,
    /// The heading above the block.
    pub heading: String,
    pub language: String,
    /// The text without its common indentation.
    pub text: String,
}

/// Returns every page: README.md, SECURITY.md, CONTRIBUTING.md, and those of `docs`.
pub fn pages() -> Vec<Page> {
    let top = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(str::to_owned);
    let docs = fs::read_dir(repository().join("docs")).expect("a folder of the repository");
    let mut docs: Vec<String> = docs
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| format!("docs/{}", path.file_name().expect("a name").to_string_lossy()))
        .collect();
    docs.sort();
    top.into_iter().chain(docs).map(|path| Page::read(&path)).collect()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

impl Page {
    pub fn read(path: &str) -> Self {
        let text =
            fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut heading, mut inside) = (String::new(), None);
        for line in self.text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, inside) {
                (Some(language), None) => {
                    let (page, heading) = (self.path.clone(), heading.clone());
                    inside = Some(line.len() - line.trim_start().len());
                    blocks.push(Block { page, heading, language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => inside = None,
                (None, Some(indent)) => {
                    let line =
                        line.get(indent.min(line.len() - line.trim_start().len())..).unwrap_or_default();
                    blocks.last_mut().expect("a block begins before its lines").text.extend([line, "\n"]);
                }
                (None, None) => {
                    if let Some(found) = heading_of(line) {
                        found.clone_into(&mut heading);
                    }
                }
            }
        }
        assert!(inside.is_none(), "{}: a block does not end", self.path);
        blocks
    }

    /// The text without its blocks.
    pub fn prose(&self) -> String {
        let mut is_inside = false;
        let is_prose = |line: &&str| {
            let is_fence = line.trim_start().starts_with("```");
            is_inside ^= is_fence;
            !is_fence && !is_inside
        };
        self.text.lines().filter(is_prose).flat_map(|line| [line, "\n"]).collect()
    }

    /// Returns the `inline code` of the text.
    pub fn inline_code(&self) -> Vec<String> {
        let pattern = Regex::new(r"`([^`]+)`").expect("a sound pattern");
        pattern.captures_iter(&self.prose().replace('\n', " ")).map(|found| found[1].to_owned()).collect()
    }

    /// Returns the targets of links and pictures, except web addresses.
    pub fn links(&self) -> Vec<String> {
        let code = Regex::new(r"`[^`]*`").expect("a sound pattern");
        let prose = self.prose();
        let prose = code.replace_all(&prose, "");
        let pattern = Regex::new(r"\]\(([^)\s]+)\)").expect("a sound pattern");
        let links = pattern.captures_iter(&prose).map(|found| found[1].to_owned());
        links.filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
    }

    /// Returns the anchors for links to this page, named as GitHub names headings.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.prose().lines().filter_map(heading_of) {
            let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
            let anchor: String = heading.to_lowercase().chars().filter(kept).collect();
            let anchor = anchor.replace(' ', "-");
            let numbered = (1..).map(|number| format!("{anchor}-{number}"));
            let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !anchors.contains(name));
            anchors.insert(free.expect("numbers have no end"));
        }
        anchors
    }

    /// Returns the rows of its tables as cells, each with the heading above.
    pub fn rows(&self) -> Vec<(String, Vec<String>)> {
        let (mut heading, mut rows) = (String::new(), Vec::new());
        for line in self.prose().lines() {
            if let Some(found) = heading_of(line) {
                found.clone_into(&mut heading);
            }
            let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
            // A vertical bar within code is escaped with a backslash.
            let row = row.replace("\\|", "\u{0}");
            let cells = row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect::<Vec<_>>();
            if !cells.iter().all(|cell| cell.chars().all(|character| "-:".contains(character))) {
                rows.push((heading.clone(), cells));
            }
        }
        rows
    }
}

impl Block {
    /// The first line, which identifies the block in lists.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub fn is_typed(&self) -> bool {
        ["sh", "console"].contains(&self.language.as_str())
    }

    /// The commands of the block: the whole text of a script, or the lines at the prompt of a console
    /// session.
    pub fn typed(&self) -> String {
        if self.language != "console" {
            return self.text.clone();
        }
        let mut typed = String::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            let at_prompt = line.strip_prefix("$ ");
            if let Some(line) = at_prompt.or_else(|| goes_on.then_some(line)) {
                typed.extend([line, "\n"]);
                goes_on = line.ends_with('\\');
            }
        }
        assert!(!typed.is_empty(), "{}: a dialogue in which nothing is typed\n{}", self.page, self.text);
        typed
    }
}

fn heading_of(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "page.md".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn blocks_have_headings_and_no_indentation() {
        let page = page(
            "# A `b`\n\n1. text\n\n   ```yaml\n   a: 1\n     b: 2\n   ```\n\n```console\n$ x \\\n  y\nz\n```\n",
        );
        let [yaml, console] = &page.blocks()[..] else { panic!("two blocks") };
        assert_eq!((yaml.language.as_str(), yaml.text.as_str()), ("yaml", "a: 1\n  b: 2\n"));
        assert_eq!((yaml.heading.as_str(), console.typed().as_str()), ("A `b`", "x \\\n  y\n"));
    }

    #[test]
    fn links_anchors_and_rows_are_found_outside_code() {
        let page = page(
            "# What `a`, b?\n## What a b\n[x](y.md#z) ![p](q.png) `[n](o)` [w](https://w)\n| `k` | v |\n|---|:-:|\n| a \\| b | c |\n",
        );
        assert_eq!(page.links(), ["y.md#z", "q.png"]);
        assert_eq!(page.anchors().into_iter().collect::<Vec<_>>(), ["what-a-b", "what-a-b-1"]);
        assert_eq!(
            page.rows().into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
            [["`k`", "v"], ["a | b", "c"]]
        );
    }
}
