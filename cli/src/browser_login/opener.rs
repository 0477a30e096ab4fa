//! Opens the browser, and says so when none could be.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use super::Browser;
use super::listener::Arrival;

/// The commands that may open `url`, in the order in which they are tried.
pub(super) fn candidates(browser: &Browser, url: &str) -> Vec<Command> {
    match browser {
        Browser::Named(named) => named_candidates(named, url),
        Browser::Desktop => open::commands(url),
        Browser::Elsewhere => Vec::new(),
    }
}

/// Tries `commands` in a thread of its own: a browser may run for as long as its user likes. Once the address
/// `was_fetched` there is nothing left to try, whatever the command said when it ended.
pub(super) fn open(
    commands: Vec<Command>,
    was_fetched: impl Fn() -> bool + Send + 'static,
    arrivals: Sender<Arrival>,
) {
    thread::spawn(move || {
        let opened = commands.into_iter().any(|mut command| {
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success()) || was_fetched()
        });
        if !opened {
            // Nobody waits any more when this fails.
            let _ = arrivals.send(Arrival::NotOpened);
        }
    });
}

/// `BROWSER` is a list of commands, separated as in `PATH`; `%s` stands for the URL, which is else put last.
fn named_candidates(named: &str, url: &str) -> Vec<Command> {
    let separator = if cfg!(windows) { ';' } else { ':' };
    let commands = named.split(separator).map(str::trim).filter(|command| !command.is_empty());
    commands
        .filter_map(|text| {
            // The path of a program may hold spaces.
            let words: Vec<&str> =
                if Path::new(text).is_file() { vec![text] } else { text.split_whitespace().collect() };
            let (program, arguments) = words.split_first()?;
            let mut command = Command::new(program);
            command.args(arguments.iter().map(|argument| argument.replace("%s", url)));
            if !arguments.iter().any(|argument| argument.contains("%s")) {
                command.arg(url);
            }
            Some(command)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const URL: &str = "http://127.0.0.1:8301/go/x";

    fn shown(named: &str) -> Vec<String> {
        named_candidates(named, URL).iter().map(|command| format!("{command:?}").replace('"', "")).collect()
    }

    #[test]
    fn the_variable_names_commands_in_order() {
        assert_eq!(shown("firefox"), [format!("firefox {URL}")]);
        assert_eq!(shown("a --new-tab %s:b -x"), [format!("a --new-tab {URL}"), format!("b -x {URL}")]);
        assert_eq!(shown(" : "), Vec::<String>::new());
    }

    #[test]
    fn when_every_command_fails_it_is_told() {
        let (sender, arrivals) = mpsc::channel();
        open(named_candidates("false:/nowhere/browser", URL), || false, sender);
        let told = arrivals.recv_timeout(Duration::from_secs(20));
        assert!(matches!(told, Ok(Arrival::NotOpened)), "{told:?}");
    }

    #[test]
    fn the_first_command_that_works_or_brought_the_browser_is_enough() {
        for (named, fetched) in [("false:true:false", false), ("false", true)] {
            let (sender, arrivals) = mpsc::channel();
            open(named_candidates(named, URL), move || fetched, sender);
            // The channel closes without a word.
            let told = arrivals.recv_timeout(Duration::from_secs(20));
            assert!(matches!(told, Err(mpsc::RecvTimeoutError::Disconnected)), "{named}: {told:?}");
        }
    }
}
