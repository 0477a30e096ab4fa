//! The commands that may open an address: those in `BROWSER`, or the desktop's. No shell interprets them.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::super::Browser;
use crate::platform::{LIST_SEPARATOR, USUAL_PATH, find_program, openers};

/// Browsers that draw in the terminal. The sign-in needs the terminal itself.
const TERMINAL_BROWSERS: [&str; 8] =
    ["w3m", "lynx", "links", "links2", "elinks", "browsh", "carbonyl", "www-browser"];
/// Programs that open addresses in WSL. The second belongs to Windows; its directory may be missing from `PATH`.
const WSL: [&[&str]; 3] = [
    &["wslview"],
    &["rundll32.exe", "url.dll,FileProtocolHandler"],
    &["/mnt/c/Windows/System32/rundll32.exe", "url.dll,FileProtocolHandler"],
];

/// The commands that may open `url`, in the order to try them, with programs found in `path`.
pub(in super::super) fn candidates(browser: &Browser, url: &str, path: Option<&OsStr>) -> Vec<Command> {
    let path = path.unwrap_or(OsStr::new(USUAL_PATH));
    let commands = match browser {
        Browser::Named(named) => named_commands(named, url),
        Browser::Desktop => openers(url),
        Browser::Windows => WSL
            .into_iter()
            .map(|words| words.iter().copied().map(OsString::from).chain([OsString::from(url)]).collect())
            .chain(openers(url))
            .collect(),
        Browser::Elsewhere => Vec::new(),
    };
    commands.iter().filter_map(|words| command(words, path)).collect()
}

/// `BROWSER` is a list of commands, separated as in `PATH`. `%s` is replaced by the URL; otherwise the URL is
/// appended.
fn named_commands(named: &str, url: &str) -> Vec<Vec<OsString>> {
    let commands = named.split(LIST_SEPARATOR).map(str::trim).filter(|command| !command.is_empty());
    commands
        .map(|text| {
            // A program's path may contain spaces.
            let words = if Path::new(text).is_file() { vec![text.to_owned()] } else { words(text) };
            let has_place = words.iter().skip(1).any(|word| word.contains("%s"));
            let last = (!has_place).then(|| url.to_owned());
            let filled = words.iter().enumerate().map(|(position, word)| match position {
                0 => word.clone(),
                _ => word.replace("%s", url),
            });
            filled.chain(last).map(OsString::from).collect()
        })
        .collect()
}

/// The words of a command, separated by spaces unless quoted. No other character is special.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in text.chars() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// The command for these words, if its program exists and does not draw in the terminal.
fn command(words: &[OsString], path: &OsStr) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    if TERMINAL_BROWSERS.contains(&name) {
        return None;
    }
    let mut command = Command::new(find_program(program, path)?);
    command.args(arguments);
    Some(command)
}

#[cfg(test)]
mod tests {
    use std::env::consts::EXE_SUFFIX;
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const URL: &str = "http://127.0.0.1:8301/go/x";

    fn shown(named: &str) -> Vec<String> {
        let joined = |words: &Vec<OsString>| {
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join("|")
        };
        named_commands(named, URL).iter().map(joined).collect()
    }

    #[test]
    fn browser_variable_names_commands_in_order() {
        assert_eq!(shown("firefox"), [format!("firefox|{URL}")]);
        assert_eq!(
            shown(&format!("a --new-tab %s{LIST_SEPARATOR}b -x")),
            [format!("a|--new-tab|{URL}"), format!("b|-x|{URL}")]
        );
        assert_eq!(shown("a --url=%s -x %s"), [format!("a|--url={URL}|-x|{URL}")]);
        assert_eq!(shown(&format!(" {LIST_SEPARATOR} ")), Vec::<String>::new());
    }

    #[test]
    fn only_quotes_are_special_in_browser_commands() {
        assert_eq!(shown("a -P 'my profile' \"\" b\"c d\"e"), [format!("a|-P|my profile||bc de|{URL}")]);
        assert_eq!(shown("a '%s"), [format!("a|{URL}")]);
        // Windows separates commands with `;`.
        let end = if LIST_SEPARATOR == ';' { "" } else { ";" };
        let shell = format!("a{end} reboot & $(id) `id` > x");
        assert_eq!(shown(&shell), [format!("a{end}|reboot|&|$(id)|`id`|>|x|{URL}")]);
    }

    #[test]
    fn program_in_working_directory_is_never_run() {
        let folder = tempfile::tempdir().expect("a directory");
        let program = folder.path().join(format!("my browser{EXE_SUFFIX}"));
        fs::write(&program, "").expect("a file");
        let found = |named: &str, path: &str| {
            let commands = candidates(&Browser::Named(named.to_owned()), URL, Some(OsStr::new(path)));
            commands.first().map(|command| PathBuf::from(command.get_program()))
        };
        let folder = folder.path().to_str().expect("a path");
        assert_eq!(found("'my browser'", folder), Some(program.clone()));
        // A path without quotes.
        assert_eq!(found(program.to_str().expect("a path"), ""), Some(program));
        let relative = format!("{LIST_SEPARATOR}.");
        // Tests run in the package directory, which contains these files.
        for (named, path) in [
            ("Cargo.toml", ""),
            ("Cargo.toml", relative.as_str()),
            ("./Cargo.toml", folder),
            ("src/lib.rs", folder),
        ] {
            assert!(Path::new(named).is_file());
            assert_eq!(found(named, path), None, "{named} {path}");
        }
        let absolute = if cfg!(windows) { r"C:\nowhere\x.exe" } else { "/nowhere/x" };
        assert_eq!(found(absolute, folder), Some(PathBuf::from(absolute)));
    }

    #[test]
    fn terminal_browser_is_skipped() {
        for named in ["w3m", "/usr/bin/lynx %s", "elinks -no-home"] {
            let commands = candidates(&Browser::Named(named.to_owned()), URL, Some(OsStr::new("/usr/bin")));
            assert!(commands.is_empty(), "{named}");
        }
    }
}
