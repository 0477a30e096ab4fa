//! The site of the documentation: every link in it leads somewhere, and a real browser shows it well at two widths.

use infra_harness::documents::{Page, pages};
use infra_peers::website::Website;

/// A page of each sort: pictures and lists, wide tables and blocks, drawings.
const LOOKED_AT: [(&str, &str); 3] = [
    ("index.html", "Infra"),
    ("docs/configuration.html", "Configuration of infrad"),
    ("docs/how-infra-works.html", "How Infra works"),
];

const KINDS: [&str; 4] = ["Tutorials", "How-to guides", "Explanations", "Reference"];

#[test]
fn every_link_and_anchor_of_the_site_exists() {
    let Some(site) = Website::build() else { return };
    let links = site.links();
    assert!(links.len() > 2000, "only {} links were found", links.len());
    let broken: Vec<String> = links
        .iter()
        .filter(|(page, target)| !site.has(page, target))
        .map(|(page, target)| format!("{page}: {target}"))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));

    // Its links lead to the pages in Markdown.
    for path in ["llms.txt", "docs/llms.txt"] {
        let links = Page { path: path.to_owned(), text: site.text(path) }.links();
        let broken: Vec<&String> = links.iter().filter(|link| !site.has(path, link)).collect();
        assert!(broken.is_empty() && links.len() > 40, "{path}: {broken:?}");
    }
}

/// The generator has rules of its own for lists, blocks and tables; `docs/site/hooks.py` makes up for them.
#[test]
fn site_has_the_lists_blocks_and_tables_of_the_pages() {
    let Some(site) = Website::build() else { return };
    let item = |line: &&str| {
        let (mark, _) = line.trim_start().split_once(' ').unwrap_or_default();
        mark == "-" || mark.strip_suffix('.').is_some_and(|number| number.parse::<u32>().is_ok())
    };
    for page in pages() {
        let path = page.path.replace("README.md", "index.md").replace(".md", ".html");
        let prose = page.prose();
        for (tag, expected) in [
            ("<li>", prose.lines().filter(item).count()),
            ("<ol>", prose.lines().filter(|line| line.trim_start().starts_with("1. ")).count()),
            ("<table>", prose.lines().filter(|line| line.starts_with("|-")).count()),
        ] {
            assert_eq!(site.count(&path, tag), expected, "{path}: {tag}");
        }
        let indented =
            page.text.lines().filter(|line| line.starts_with(' ') && line.trim_start().starts_with("```"));
        assert_eq!(site.blocks_in_lists(&path), indented.count() / 2, "{path}: blocks in lists");
        let expected: Vec<String> = page.blocks().into_iter().map(|block| block.text).collect();
        assert_eq!(site.blocks(&path), expected, "{path}");
    }
}

#[test]
fn browser_shows_pages_wide_and_narrow_light_and_dark() {
    let Some(site) = Website::build() else { return };
    let Some(seen) = site.look_at(&LOOKED_AT.map(|(page, _)| page)) else { return };
    assert_eq!(seen["error"], serde_json::Value::Null, "{seen:#}");
    for nothing in ["foreign", "missing", "console"] {
        assert_eq!(seen[nothing].as_array().map(Vec::len), Some(0), "{nothing}: {:#}", seen[nothing]);
    }
    let views = seen["views"].as_array().expect("what was seen of each page");
    assert_eq!(views.len(), 2 * LOOKED_AT.len());
    for view in views {
        let (_, title) = LOOKED_AT.into_iter().find(|(page, _)| view["page"] == *page).expect("one of these");
        assert!(view["title"].as_str().is_some_and(|shown| shown.starts_with(title)), "{view:#}");
        assert_eq!(view["heading"], title, "{view:#}");
        assert_eq!(view["overflow"], 0, "{view:#}");
        assert_eq!(view["brokenPictures"].as_array().map(Vec::len), Some(0), "{view:#}");
        // The drawer of a phone begins with the pages of the same kind.
        let navigation = view["navigation"].as_array().expect("texts of links");
        let is_inside = view["size"] == "narrow" && title != "Infra";
        let expected = if is_inside { &[title][..] } else { &KINDS[..] };
        assert!(expected.iter().all(|text| navigation.iter().any(|link| link == text)), "{view:#}");
        assert_eq!(view["lightAgain"], view["light"], "{view:#}");
        for dark in ["dark", "chosenDark", "darkAfterReload"] {
            assert_ne!(view[dark], view["light"], "{dark}: {view:#}");
        }
        let found = view["found"].as_str().unwrap_or_default();
        assert!(found.starts_with("Keys, backups and recovery"), "{view:#}");
    }
}
