//! The commands of `docs/install.md`, by heading, and the links of packed pages.

use std::path::Path;

use super::debian::workspace;

/// Checks that the files exist that packed pages link to, and returns how many links need one. Links out of the folder
/// lead to the sources, which are not packed.
pub(crate) fn check_links(pages: &Path, needs_file: fn(&str) -> bool) -> usize {
    let mut links = 0;
    for entry in std::fs::read_dir(pages).expect("the pages").flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_outside = link.is_empty() || link.contains(':') || link.starts_with("../");
            if !is_outside && needs_file(link) {
                assert!(pages.join(link).exists(), "{}: {link}", entry.path().display());
                links += 1;
            }
        }
    }
    links
}

/// The page from its part on Debian to the end.
pub(crate) struct Page {
    parts: Vec<(String, String)>,
}

impl Page {
    pub(crate) fn read() -> Self {
        let page = std::fs::read_to_string(workspace().join("docs/install.md")).expect("the page");
        let (_, part) = page.split_once("<!-- installation on Debian").expect("the part on Debian");
        // The page names one architecture, and this machine may have another.
        let (architecture, of_debian) = match std::env::consts::ARCH {
            "aarch64" => ("aarch64", "arm64"),
            _ => ("x86_64", "amd64"),
        };
        let part = part.replace("_amd64.deb", &format!("_{of_debian}.deb"));
        let part = part.replace("x86_64-unknown", &format!("{architecture}-unknown"));
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in part.lines() {
            let heading = line.strip_prefix("### ").or_else(|| line.strip_prefix("## "));
            match (heading, parts.last_mut()) {
                (Some(heading), _) => parts.push((heading.to_owned(), String::new())),
                (None, Some((_, text))) => text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        Self { parts }
    }

    pub(crate) fn headings(&self) -> Vec<&str> {
        self.parts.iter().map(|(heading, _)| heading.as_str()).collect()
    }

    /// Returns the text under a heading as one line.
    pub(crate) fn text(&self, heading: &str) -> String {
        let (_, text) = self.parts.iter().find(|(found, _)| found == heading).expect("a heading of the page");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns the command blocks under a heading, at least one.
    pub(crate) fn blocks(&self, heading: &str) -> Vec<String> {
        self.fenced(heading, "```sh\n")
    }

    /// Returns the line typed at the prompt under a heading.
    pub(crate) fn console(&self, heading: &str) -> String {
        let blocks = self.fenced(heading, "```console\n");
        let [block] = blocks.as_slice() else { panic!("not one prompt under {heading}: {blocks:?}") };
        block.trim().strip_prefix("$ ").expect("a prompt").to_owned()
    }

    fn fenced(&self, heading: &str, fence: &str) -> Vec<String> {
        let (_, text) = self.parts.iter().find(|(found, _)| found == heading).expect("a heading of the page");
        let pieces = text.split(fence).skip(1);
        let blocks: Vec<String> =
            pieces.map(|piece| piece.split_once("```").expect("a block ends").0.to_owned()).collect();
        assert!(!blocks.is_empty(), "nothing to run under {heading}");
        blocks
    }
}
