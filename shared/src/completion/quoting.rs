//! Quotes completion candidates for the shell.

use std::borrow::Cow;

use super::Shell;
use super::typed::unquoted;

/// Quotes `value` for `shell`, after the user typed `word`. Elvish, fish and zsh quote candidates themselves. Returns
/// `None` if `value` cannot be quoted.
pub(super) fn quoted<'a>(shell: Shell, value: &'a str, word: &str) -> Option<Cow<'a, str>> {
    match shell {
        Shell::Bash => bash(value, word),
        Shell::PowerShell => Some(powershell(value)),
        Shell::Elvish | Shell::Fish | Shell::Nushell | Shell::Zsh => Some(Cow::Borrowed(value)),
    }
}

/// Bash splits words at colons and equals signs and replaces only the part after the last one. Inside an open quote it
/// replaces the quoted text.
fn bash<'a>(value: &'a str, word: &str) -> Option<Cow<'a, str>> {
    // Neither can be escaped inside quotes: `'` may end the quote, and bash expands `!` before it reads quotes.
    let fits = !value.contains(['\'', '!']);
    match word.chars().next() {
        Some('\'') => fits.then_some(Cow::Borrowed(value)),
        Some('"') => {
            let is_special = |character| matches!(character, '$' | '`' | '"' | '\\');
            fits.then(|| escaped(value, |character| Some('\\').filter(|_| is_special(character))))
        }
        _ => {
            let before = word.rfind([':', '=']).and_then(|at| word.get(..=at)).unwrap_or_default();
            let before = unquoted(&before.into());
            let rest = before.to_str().and_then(|before| value.strip_prefix(before)).unwrap_or(value);
            Some(escaped(rest, |character| Some('\\').filter(|_| !is_plain(character))))
        }
    }
}

/// Single quotes, doubled inside. PowerShell also treats typographic single quotes as quotes.
fn powershell(value: &str) -> Cow<'_, str> {
    if value.chars().all(|character| is_plain(character) && !matches!(character, ',' | '@' | '%')) {
        return Cow::Borrowed(value);
    }
    let is_quote = |character| matches!(character, '\'' | '\u{2018}'..='\u{201b}');
    let inner = escaped(value, |character| Some(character).filter(|character| is_quote(*character)));
    Cow::Owned(format!("'{inner}'"))
}

fn escaped(value: &str, before: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !value.chars().any(|character| before(character).is_some()) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.chars().flat_map(|character| before(character).into_iter().chain([character])).collect())
}

/// Whether a character needs no escape in the middle of a word.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '-' | '.' | '_' | '/' | ':' | '@' | '%' | '+' | ',' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_candidate_is_escaped_and_cut_at_word_break() {
        for (value, word, inserted) in [
            ("infra.test:8443", "infra.test:8", "8443"),
            ("--server=a.test", "--server=a", "a.test"),
            ("[::1]:8443", "[", "\\[::1\\]:8443"),
            ("[::1]:8443", "[::1]:8", "8443"),
            ("$(id>x)", "", "\\$\\(id\\>x\\)"),
            ("a'b;c d", "", "a\\'b\\;c\\ d"),
            ("[::1]:8443", "\"[::1]:8", "[::1]:8443"),
            ("[::1]:8443", "\\[::1\\]:8", "8443"),
            ("$(id)\"", "\"$", "\\$(id)\\\""),
            ("a b", "'a", "a b"),
        ] {
            assert_eq!(quoted(Shell::Bash, value, word).as_deref(), Some(inserted), "{value}");
        }
    }

    #[test]
    fn candidate_that_ends_open_quote_is_omitted() {
        for value in ["a'b", "!a"] {
            assert_eq!(
                (quoted(Shell::Bash, value, "'"), quoted(Shell::Bash, value, "\"")),
                (None, None),
                "{value}"
            );
        }
    }

    #[test]
    fn powershell_candidate_is_quoted_if_special() {
        for (value, inserted) in [
            ("infra.test:8443", "infra.test:8443"),
            ("$(id>x)", "'$(id>x)'"),
            ("a'b\u{2019}c", "'a''b\u{2019}\u{2019}c'"),
            ("@a", "'@a'"),
        ] {
            assert_eq!(quoted(Shell::PowerShell, value, "").as_deref(), Some(inserted), "{value}");
        }
    }

    /// PowerShell itself does not run here: its grammar reads the script and the candidates.
    #[test]
    fn powershell_grammar_reads_script_and_candidates_as_data() {
        let script = include_str!("script.ps1");
        assert!(kinds(script).expect("a script").iter().any(|kind| kind == "script_block_expression"));
        for evaluating in ["Invoke-Expression", "iex ", "ExpandString", "[scriptblock]"] {
            assert!(!script.contains(evaluating), "{evaluating}");
        }
        let plain = kinds("infra use infra.test").expect("a command");
        for value in [
            "$(touch ran)",
            "`touch ran`",
            "a;touch ran;",
            "a&touch ran&",
            "a|touch ran",
            "'$(touch ran)'",
            "\"$(touch ran)\"",
            "two words",
            "#$(touch ran)",
            "@(touch ran)",
            "{touch ran}",
            "(touch ran)",
            "a\u{2019};touch ran;\u{2018}",
            "$env:PATH",
            "a,b",
            "%{touch ran}",
            "> ran",
            "a\n touch ran",
        ] {
            let candidate = quoted(Shell::PowerShell, value, "").expect("a candidate");
            let read = kinds(&format!("infra use {candidate}")).unwrap_or_else(|| panic!("{candidate}"));
            let string = ["string_literal", "verbatim_string_characters"];
            assert!(
                string.iter().all(|kind| read.iter().any(|found| found == kind)),
                "{candidate}: {read:?}"
            );
            let commands = |kinds: &[String]| kinds.iter().filter(|kind| *kind == "command").count();
            assert_eq!((commands(&read), commands(&plain)), (1, 1), "{candidate}: {read:?}");
            for evaluated in
                ["sub_expression", "variable", "expandable_string_literal", "script_block", "redirection"]
            {
                assert!(!read.iter().any(|found| found == evaluated), "{candidate}: {read:?}");
            }
        }
        // As it stands, the first would be run.
        assert!(
            kinds("infra use $(touch ran)").expect("a command").iter().any(|kind| kind == "sub_expression")
        );
    }

    /// What a PowerShell text consists of; `None` if it does not follow the grammar.
    fn kinds(text: &str) -> Option<Vec<String>> {
        let mut parser = tree_sitter::Parser::new();
        parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).expect("the grammar");
        let tree = parser.parse(text, None)?;
        if tree.root_node().has_error() {
            return None;
        }
        let (mut cursor, mut kinds) = (tree.walk(), Vec::new());
        loop {
            kinds.push(cursor.node().kind().to_owned());
            if cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return Some(kinds);
                }
            }
        }
    }
}
