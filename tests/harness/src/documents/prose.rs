//! Measures the prose of pages: how often it negates, adds relative clauses, uses passives and addresses the reader.

use regex_lite::Regex;

use super::Page;

const NEGATION: &str = r"(?i)\b(?:not|no|nothing|nobody|none|never|neither|nor|cannot|without)\b";
const RELATIVE: &str = r"(?i)\b(?:that|which|whose|whoever|whatever|who)\b";
const YOU: &str = r"(?i)\b(?:you|your|yours)\b";
const PASSIVE: &str = r"(?i)\b(?:am|are|is|was|were|be|been|being)\b(?:\s+(?:not|only|also|never|always|then|once))?\s+(?:\w+ed|known|kept|made|told|read|written|given|taken|held|shown|sent|found|seen|set|put|done|asked|built|drawn|begun|lost|left|run|meant|said|laid|chosen|hidden|broken|cut)\b";

/// Figures of a page. Code, headings and pictures do not count.
#[derive(Debug)]
pub struct Prose {
    pub words: usize,
    /// In percent of all words.
    pub words_in_tables: f64,
    /// Per 100 words.
    pub negations: f64,
    /// Words that begin relative clauses, per 100 words.
    pub relatives: f64,
    /// Per 100 words.
    pub you: f64,
    /// Per 100 sentences.
    pub passives: f64,
}

impl Prose {
    #[expect(clippy::cast_precision_loss, reason = "a page has few words")]
    pub fn of(page: &Page) -> Self {
        let (mut text, mut words_in_tables) = (String::new(), 0);
        for line in replaced(&page.prose(), r"(?s)<!--.*?-->|<[^>]+>", "").lines() {
            match line.trim_start().chars().next() {
                Some('|') => words_in_tables += count(line, WORD),
                Some('#' | '!') => text.push('\n'),
                _ => text.extend([line, "\n"]),
            }
        }
        let text = replaced(&text, r"\[([^\]]*)\]\([^)]*\)", "$1");
        let text = replaced(&replaced(&text, "(?s)`[^`]*`", "CODE"), "[*_>#]", "");
        let sentences: Vec<&str> = paragraphs(&text).into_iter().flat_map(sentences).collect();
        let sentences: Vec<&str> = sentences.into_iter().filter(|text| count(text, WORD) >= 3).collect();
        let total = |pattern: &str| sentences.iter().map(|text| count(text, pattern)).sum::<usize>();
        let words = total(WORD);
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        Self {
            words,
            words_in_tables: share(words_in_tables, words + words_in_tables),
            negations: share(total(NEGATION), words),
            relatives: share(total(RELATIVE), words),
            you: share(total(YOU), words),
            passives: share(total(PASSIVE), sentences.len()),
        }
    }
}

const WORD: &str = "[A-Za-z][A-Za-z'’-]*";

fn count(text: &str, pattern: &str) -> usize {
    Regex::new(pattern).expect("a sound pattern").find_iter(text).count()
}

fn replaced(text: &str, pattern: &str, replacement: &str) -> String {
    Regex::new(pattern).expect("a sound pattern").replace_all(text, replacement).into_owned()
}

/// Paragraphs and items of lists.
fn paragraphs(text: &str) -> Vec<&str> {
    let begins = Regex::new(r"\n\s*\n|\n\s*[-+]\s|\n\s*[0-9]+\.\s").expect("a sound pattern");
    begins.split(text).collect()
}

/// Splits after punctuation if a capital letter, a quotation mark or a parenthesis follows.
fn sentences(paragraph: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let end = Regex::new(r#"[.!?:]\s+["'(A-Z]"#).expect("a sound pattern");
    while let Some(next) = end.find_at(paragraph, start) {
        let middle = next.end() - 1;
        found.push(paragraph.get(start..middle).unwrap_or_default());
        start = middle;
    }
    found.push(paragraph.get(start..).unwrap_or_default());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_leave_out_code_headings_and_tables() {
        let text = "# No heading\n\nYou type `no code`. It is stored here, which helps: Nothing else counts.\n\n\
                    | no | table words |\n\n```\nnot this\n```\n- Go on now.\n";
        let prose = Prose::of(&Page { path: "page.md".to_owned(), text: text.to_owned() });
        assert_eq!(prose.words, 15, "{prose:?}");
        let per_word = 100.0 / 15.0;
        for (found, expected) in [
            (prose.negations, per_word),
            (prose.relatives, per_word),
            (prose.you, per_word),
            (prose.passives, 25.0),
            (prose.words_in_tables, 300.0 / 18.0),
        ] {
            assert!((found - expected).abs() < 0.01, "{found} {expected} {prose:?}");
        }
    }
}
