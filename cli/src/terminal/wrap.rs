//! Wraps lines between words.
//!
//! Text to copy is never broken, because a line break would change a pasted command. This covers text in backticks,
//! words longer than a line, and indented lines.

use unicode_width::UnicodeWidthStr;

/// Maximum width, because longer lines are hard to read.
const WIDEST: usize = 100;
/// Labels of indented lines that are sentences.
const LABELS: [&str; 4] = ["  because: ", "  try: ", "  note: ", "  tip: "];

/// Column of the values in `infra status`, after their names.
const ROW: usize = 12;

/// Wraps `text` to a terminal of this many columns.
pub(super) fn wrapped(text: &str, columns: usize) -> String {
    let width = columns.min(WIDEST);
    let lines: Vec<String> = text.split('\n').map(|line| wrapped_line(line, width)).collect();
    lines.join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    let Some((start, hanging)) = sentence(line).filter(|_| line.width() > width) else {
        return line.to_owned();
    };
    let (before, sentence) = line.split_at(start);
    let (mut wrapped, mut column) = (before.to_owned(), before.width());
    for (index, word) in words(sentence).enumerate() {
        let word_width = word.width();
        if index > 0 && column + 1 + word_width <= width {
            wrapped.push(' ');
            column += 1;
        } else if index > 0 {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(hanging));
            column = hanging;
        }
        wrapped.push_str(word);
        column += word_width;
    }
    wrapped
}

/// Where a line's sentence begins, and the indentation of its next lines.
fn sentence(line: &str) -> Option<(usize, usize)> {
    if !line.starts_with(' ') {
        Some((0, 2))
    } else if LABELS.iter().any(|label| line.starts_with(label)) {
        Some((2, 4))
    } else if line.get(10..ROW).is_some_and(|gap| gap == "  ") && !line.starts_with("   ") {
        Some((ROW, ROW))
    } else {
        None
    }
}

/// The words of a sentence. Text in backticks is one word.
fn words(sentence: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    sentence.split(move |character| {
        is_quoted ^= character == '`';
        character == ' ' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_is_wrapped_between_words_and_indented() {
        assert_eq!(
            wrapped("error: not completed within 5 min\n  try: `infra login` again, or ask", 24),
            "error: not completed\n  within 5 min\n  try: `infra login`\n    again, or ask"
        );
        assert_eq!(wrapped("  note: you are still signed in", 24), "  note: you are still\n    signed in");
        assert_eq!(wrapped("short", 80), "short");
        assert_eq!(
            wrapped("ein schöner Satz über 王王王王 und mehr", 20),
            "ein schöner Satz\n  über 王王王王 und\n  mehr"
        );
    }

    #[test]
    fn report_row_continues_below_its_value() {
        assert_eq!(
            wrapped("signed in\n  groups    one, two, three, four", 24),
            "signed in\n  groups    one, two,\n            three, four"
        );
    }

    #[test]
    fn text_to_copy_is_not_wrapped() {
        let address = "https://infra.example.com/a/long/address";
        assert_eq!(wrapped(&format!("open {address} now"), 20), format!("open\n  {address}\n  now"));
        assert_eq!(
            wrapped("  try: once `infra login --force` was typed", 20),
            "  try: once\n    `infra login --force`\n    was typed"
        );
        let typed = "  ssh -L 8301:127.0.0.1:8301 some.machine.example";
        assert_eq!(wrapped(typed, 20), typed);
    }

    #[test]
    fn line_width_is_limited_on_wide_terminals() {
        let sentence = "word ".repeat(60);
        assert!(wrapped(&sentence, 200).lines().all(|line| line.len() <= WIDEST));
    }
}
