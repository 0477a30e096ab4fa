//! Waits for the browser or a pasted address. Only the expected response, the user or the timeout ends the wait.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use infra_shared::api::LoginMethod;
use secrecy::SecretString;
use url::Url;

use super::handover::{Handover, HandoverMethod};
use super::listener::{Event, Listener};
use super::opener::{self, BrowserLauncher};
use super::pasted::{self, Keyboard};
use super::response::{ExpectedResponse, Response};
use super::{Browser, LoginError, Setup, advice};
use crate::terminal::Progress;

/// A browser that opened has fetched the address within this time, even on a slow machine.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the browser returned for this sign-in.
pub(super) struct ReceivedCode {
    pub(super) code: SecretString,
    pub(super) iss: Option<String>,
    pub(super) login_method: LoginMethod,
}

/// The wait. Drop restores the terminal and stops a browser that never came.
pub(super) struct Wait<'a> {
    setup: &'a Setup<'a>,
    expected: ExpectedResponse,
    port: u16,
    /// Whether this process listens on the port.
    listens: bool,
    url: Url,
    events: Receiver<Event>,
    deadline: Instant,
    progress: Progress,
    keyboard: Option<Keyboard>,
    /// Whether the browser fetched the address, and by when it should have.
    was_fetched: Box<dyn Fn() -> bool>,
    browser_due: Cell<Option<Instant>>,
    /// Whether the user was asked to paste, and whether the URL was shown.
    is_asked: Cell<bool>,
    is_shown: Cell<bool>,
    _launcher: Option<(BrowserLauncher, Handover)>,
}

impl<'a> Wait<'a> {
    /// Opens the browser, or asks the user to open one elsewhere. Without a listener every port is in use.
    pub(super) fn begin(
        setup: &'a Setup<'a>,
        expected: ExpectedResponse,
        url: Url,
        listening: Option<(&Listener, HandoverMethod)>,
        port: u16,
        deadline: Instant,
        (sender, events): (Sender<Event>, Receiver<Event>),
    ) -> Self {
        let terminal = setup.terminal;
        let keyboard = terminal
            .interactive
            .then(|| Keyboard::watch(pasted::min_length(port, &expected), sender.clone()));
        let opened = listening.filter(|_| setup.browser != Browser::Elsewhere);
        let launcher = opened.and_then(|(listener, method)| {
            terminal.verbose(&format!("opening the browser for {url}"));
            let handover = method.hand_over(&listener.address(), setup.home).ok()?;
            let commands = opener::candidates(&setup.browser, handover.argument(), setup.path.as_deref());
            Some((BrowserLauncher::begin(commands, listener.was_fetched(), sender), handover))
        });
        let opened = opened.filter(|_| launcher.is_some());
        let was_fetched: Box<dyn Fn() -> bool> = match opened {
            Some((listener, _)) => Box::new(listener.was_fetched()),
            None => Box::new(|| false),
        };
        let wait = Self {
            setup,
            expected,
            port,
            listens: listening.is_some(),
            url,
            events,
            deadline,
            progress: terminal.progress(deadline),
            keyboard,
            was_fetched,
            browser_due: Cell::new(launcher.as_ref().map(|_| Instant::now() + BROWSER_TIMEOUT)),
            is_asked: Cell::new(false),
            is_shown: Cell::new(false),
            _launcher: launcher,
        };
        match (opened, terminal.interactive) {
            (None, _) => wait.request_other_browser(),
            (Some(_), true) => wait.show("sign in on the page in your browser; Enter shows its address"),
            (Some(_), false) => wait.show("sign in on the page in your browser"),
        }
        wait
    }

    /// Shows the current step.
    pub(super) fn show(&self, what: &'static str) {
        self.progress.show(what);
    }

    /// Waits for the expected response.
    pub(super) fn receive_code<E>(&self) -> Result<ReceivedCode, LoginError<E>> {
        let terminal = self.setup.terminal;
        loop {
            let until = self.browser_due.get().map_or(self.deadline, |due| due.min(self.deadline));
            let left = until.saturating_duration_since(Instant::now());
            let (response, login_method) = match self.events.recv_timeout(left) {
                Ok(Event::Response(response)) => (response, LoginMethod::Browser),
                Ok(Event::Pasted(line)) => {
                    if let Some(response) = pasted::response(&line, self.port, &self.expected) {
                        (response, LoginMethod::Paste)
                    } else {
                        terminal.print("that is not the address that this login waits for: try again");
                        continue;
                    }
                }
                Ok(Event::EmptyLine) => {
                    self.request_other_browser();
                    continue;
                }
                Ok(Event::Notice(notice)) => {
                    terminal.info(advice::notice_message(notice, self.keyboard.is_some()));
                    continue;
                }
                Ok(Event::NotOpened) if !terminal.interactive => return Err(LoginError::NoBrowser),
                Ok(Event::NotOpened) => {
                    self.report_missing_browser("no browser could be opened");
                    continue;
                }
                Ok(Event::Interrupted) => {
                    if self.is_asked.get() {
                        // Start a new line after the `^C` that the terminal shows.
                        terminal.info("");
                    }
                    return Err(LoginError::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) if until < self.deadline => {
                    self.browser_due.set(None);
                    if !(self.was_fetched)() {
                        self.report_missing_browser("no browser has come for this login yet");
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(LoginError::TimedOut(self.setup.timeout));
                }
            };
            return match response {
                Response::Code { code, iss } => Ok(ReceivedCode { code, iss, login_method }),
                Response::Refused(refusal) => Err(LoginError::Refused(refusal)),
                Response::OtherIssuer => Err(LoginError::OtherIssuer),
            };
        }
    }

    fn report_missing_browser(&self, why: &str) {
        if self.is_shown.get() {
            return;
        }
        // The spinner must not overwrite typed text.
        self.progress.clear();
        self.setup.terminal.warn(why);
        self.request_other_browser();
    }

    /// Prints the URL and how a browser elsewhere gets back here. Accepts the address of an unreachable page from now
    /// on.
    fn request_other_browser(&self) {
        self.browser_due.set(None);
        self.is_shown.set(true);
        self.progress.clear();
        let Setup { environment, terminal, .. } = self.setup;
        terminal.print(&format!("Open this address in a browser:\n\n  {}\n", self.url));
        let may_paste = self.keyboard.is_some();
        if self.listens
            && let Some(instructions) = advice::return_instructions(environment, self.port, may_paste)
        {
            terminal.print(&instructions);
        }
        if let Some(keyboard) = &self.keyboard {
            let left = self.deadline.saturating_duration_since(Instant::now());
            terminal.print(&advice::paste(environment, self.port, self.listens, left));
            keyboard.ask();
            self.is_asked.set(true);
        }
    }
}
