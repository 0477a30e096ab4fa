//! The site of the documentation as `docs/build` makes it: its links, and what a real browser shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;
use tempfile::TempDir;

use infra_harness::documents::repository;
use infra_harness::peers;
use infra_harness::program::Running;

/// Time limit for building, and for the browser, on a busy machine; each usually takes seconds.
const LIMIT: Duration = Duration::from_mins(4);

/// A built site.
pub struct Website {
    directory: TempDir,
    /// The HTML of each page by its path in the site.
    pages: BTreeMap<String, String>,
}

impl Website {
    /// Builds the site. Returns `None` and reports a skip if the generator is missing; in continuous integration
    /// (`CI=true`) that fails the test.
    pub fn build() -> Option<Self> {
        peers::find("mkdocs", "bin/mkdocs")?;
        let directory = TempDir::with_prefix("infra-site-").expect("a temporary directory");
        let mut command = Command::new(repository().join("docs/build"));
        command.arg(directory.path());
        Running::start(command, "docs/build".to_owned(), None, LIMIT).wait().expect(0);
        let mut pages = BTreeMap::new();
        for file in files(directory.path()) {
            if file.extension().is_some_and(|extension| extension == "html") {
                let path = file.strip_prefix(directory.path()).expect("below the site");
                let html = fs::read_to_string(&file).expect("a page");
                pages.insert(path.to_str().expect("a path in ASCII").to_owned(), html);
            }
        }
        Some(Self { directory, pages })
    }

    /// Returns every link, picture, script and style sheet with its page, except web addresses.
    pub fn links(&self) -> Vec<(&str, String)> {
        let pattern = Regex::new(r#"\s(?:href|src)="?([^"\s>]*)"#).expect("a sound pattern");
        let mut links = Vec::new();
        for (page, html) in &self.pages {
            let targets = pattern.captures_iter(html).map(|found| found[1].replace("&amp;", "&"));
            let internal = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
            links.extend(internal.map(|target| (page.as_str(), target)));
        }
        links
    }

    /// Whether the target of a link on `page` exists, with its anchor.
    pub fn has(&self, page: &str, target: &str) -> bool {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let Some(path) = resolve(page, path) else { return false };
        if !self.directory.path().join(&path).is_file() {
            return false;
        }
        anchor.is_empty() || self.pages.get(&path).is_some_and(|html| anchors(html).contains(anchor))
    }

    /// Returns the contents of a file that is no page.
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.directory.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns how often the main part of a page has this tag.
    pub fn count(&self, page: &str, tag: &str) -> usize {
        self.main(page).matches(tag).count()
    }

    /// Returns the text of each block of code on a page.
    pub fn blocks(&self, page: &str) -> Vec<String> {
        let block = Regex::new(r"(?s)<pre>(.*?)</pre>").expect("a sound pattern");
        let tag = Regex::new(r"<[^>]*>").expect("a sound pattern");
        let text = |html: &str| {
            let text = tag.replace_all(html, "");
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
                .into_iter()
                .fold(text.into_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
        };
        block.captures_iter(self.main(page)).map(|found| text(&found[1])).collect()
    }

    /// Returns how many blocks of code on a page are inside items of lists.
    pub fn blocks_in_lists(&self, page: &str) -> usize {
        let tag = Regex::new("</?li>|<pre>").expect("a sound pattern");
        let (mut depth, mut blocks) = (0_usize, 0);
        for found in tag.find_iter(self.main(page)) {
            match found.as_str() {
                "<li>" => depth += 1,
                "</li>" => depth -= 1,
                _ => blocks += usize::from(depth > 0),
            }
        }
        blocks
    }

    fn main(&self, page: &str) -> &str {
        let html = self.pages.get(page).unwrap_or_else(|| panic!("{page} is missing in the site"));
        let main = html.split_once("<article").and_then(|(_, rest)| rest.split_once("</article>"));
        main.map(|(main, _)| main).unwrap_or_default()
    }

    /// Looks at pages in this machine's Chromium: wide and narrow, light and dark, with a search. With
    /// `LOOK_PICTURES`, stores screenshots in that folder. Returns `None` and reports a skip without Chromium,
    /// as [`Self::build`] does.
    pub fn look_at(&self, pages: &[&str]) -> Option<Value> {
        let folder = peers::find("browser", "look.mjs")?;
        let chromium = peers::find_program("chromium")?;
        let report = TempDir::with_prefix("infra-look-").expect("a temporary directory");
        let report = report.path().join("report");
        let mut command = Command::new(peers::node());
        command.arg(folder.join("look.mjs")).args(pages);
        command.env("LOOK_CHROMIUM", chromium).env("LOOK_SITE", self.directory.path());
        command.env("LOOK_REPORT", &report);
        Running::start(command, "look.mjs".to_owned(), None, LIMIT).wait().expect(0);
        let text = fs::read_to_string(&report).expect("a report");
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}")))
    }
}

/// Returns the path in the site of a relative `path` on `page`; a path from the root is one of the error page.
fn resolve(page: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(page.to_owned());
    }
    if let Some(path) = path.strip_prefix('/') {
        let is_error_page = page == "404.html";
        return is_error_page
            .then(|| if path.is_empty() { "index.html".to_owned() } else { path.to_owned() });
    }
    let mut folders: Vec<&str> = page.split('/').collect();
    folders.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                folders.pop()?;
            }
            part => folders.push(part),
        }
    }
    Some(folders.join("/"))
}

fn anchors(html: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r#"\s(?:id|name)="?([^"\s>]+)"#).expect("a sound pattern");
    pattern.captures_iter(html).map(|found| found[1].to_owned()).collect()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the site") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_within_the_site_only() {
        for (page, path, expected) in [
            ("docs/a.html", "b.html", Some("docs/b.html")),
            ("docs/a.html", "../index.html", Some("index.html")),
            ("docs/a.html", "", Some("docs/a.html")),
            ("a.html", "../b.html", None),
            ("a.html", "/b.html", None),
            ("404.html", "/b.html", Some("b.html")),
        ] {
            assert_eq!(resolve(page, path).as_deref(), expected, "{path} on {page}");
        }
    }
}
