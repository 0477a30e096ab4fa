//! Waits for the browser or a pasted address. Only the expected response, the user or the timeout ends the wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use infra_shared::api::{FinishLoginRequest, LoginMethod};
use infra_shared::login_binding::BoundVerifier;
use secrecy::SecretString;

use super::authorization_url::AuthorizationURL;
use super::handover::{Handover, HandoverMethod};
use super::listener::{Event, Listener, Outcome};
use super::opener;
use super::pages::LoginSummary;
use super::pasted::{self, Keyboard};
use super::response::{ExpectedResponse, Response};
use super::{Browser, BrowserLogin, LoginError, Setup, instructions};
use crate::terminal::Progress;

/// A browser that opened has fetched the address within this time, even on a slow machine.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(10);

/// A sign-in that waits for its response. The browser's request is held until the sign-in succeeds. Drop shows failure
/// in the browser, restores the terminal and stops a browser that never came.
pub struct PendingLogin<'a> {
    setup: &'a Setup<'a>,
    deadline: Instant,
    expected: ExpectedResponse,
    verifier: BoundVerifier,
    url: AuthorizationURL,
    ticket: SecretString,
    port: u16,
    /// Whether this process listens on the port. Otherwise every port is in use.
    has_socket: bool,
    listener: Listener,
    events: Receiver<Event>,
    progress: Progress,
    keyboard: Option<Keyboard>,
    /// Whether the browser has fetched the address, and by when it should have.
    was_fetched: Arc<AtomicBool>,
    browser_due: Option<Instant>,
    /// Whether the user was asked to paste, and whether the URL was shown.
    is_paste_prompted: bool,
    is_url_printed: bool,
    handover: Option<Handover>,
}

impl<'a> PendingLogin<'a> {
    pub(super) fn begin(
        login: BrowserLogin<'a>,
        url: AuthorizationURL,
        ticket: SecretString,
        method: HandoverMethod,
    ) -> Result<Self, LoginError> {
        let BrowserLogin { setup, deadline, redirect, verifier, request } = login;
        let (terminal, port, has_socket) = (setup.terminal, redirect.port, redirect.socket.is_some());
        let expected = ExpectedResponse { state: request.state, issuer: setup.provider.issuer.clone() };
        let (sender, events) = mpsc::channel();
        let (peers, of_listener) = (method.allowed_peers(), sender.clone());
        let listener =
            Listener::start(redirect.socket, port, peers, expected.clone(), url.as_str(), of_listener)
                .map_err(LoginError::Listener)?;
        let keyboard = terminal
            .interactive
            .then(|| Keyboard::watch(pasted::min_length(port, &expected), sender.clone()));
        let mut pending = Self {
            setup,
            deadline,
            expected,
            verifier,
            url,
            ticket,
            port,
            has_socket,
            was_fetched: listener.was_fetched(),
            listener,
            events,
            progress: terminal.progress(deadline),
            keyboard,
            browser_due: None,
            is_paste_prompted: false,
            is_url_printed: false,
            handover: None,
        };
        if has_socket && setup.browser != Browser::Elsewhere {
            pending.open_browser(method, sender)?;
        } else {
            pending.print_instructions();
        }
        Ok(pending)
    }

    fn open_browser(&mut self, method: HandoverMethod, events: Sender<Event>) -> Result<(), LoginError> {
        let Setup { browser, path, home, terminal, .. } = self.setup;
        terminal.verbose(&format!("opening the browser for {}", self.url.as_str()));
        let handover = match method.hand_over(&self.listener.address(), home) {
            Ok(handover) => handover,
            Err(error) if !terminal.interactive => return Err(LoginError::Handover(error)),
            Err(error) => {
                self.warn_of_missing_browser(&format!("cannot pass the address to a browser: {error}"));
                return Ok(());
            }
        };
        let commands = opener::candidates(browser, handover.argument(), path.as_deref());
        self.listener.spawn(opener::open(commands, Arc::clone(&self.was_fetched), events));
        self.handover = Some(handover);
        self.browser_due = Some(Instant::now() + BROWSER_TIMEOUT);
        self.progress.show(if terminal.interactive {
            "sign in on the page in your browser; press Enter to show its address"
        } else {
            "sign in on the page in your browser"
        });
        Ok(())
    }

    /// Waits for the expected response. Returns the request that finishes the sign-in.
    pub fn receive_code(&mut self) -> Result<FinishLoginRequest, LoginError> {
        let terminal = self.setup.terminal;
        let (response, login_method) = loop {
            let until = self.browser_due.map_or(self.deadline, |due| due.min(self.deadline));
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Response(response)) => break (response, LoginMethod::Browser),
                Ok(Event::Pasted(line)) => match pasted::response(&line, self.port, &self.expected) {
                    Some(response) => break (response, LoginMethod::Paste),
                    None => terminal.print(&pasted::rejection(&line, self.port, &self.url)),
                },
                Ok(Event::EmptyLine) => self.print_instructions(),
                Ok(Event::Notice(notice)) => {
                    terminal.info(instructions::notice_message(notice, self.keyboard.is_some()));
                }
                Ok(Event::NotOpened) if !terminal.interactive => return Err(LoginError::NoBrowser),
                Ok(Event::NotOpened) => self.warn_of_missing_browser("cannot open a browser"),
                Ok(Event::Interrupted) => return Err(self.interrupted()),
                // The listener holds a sender, so the channel is never disconnected.
                Err(_) if until < self.deadline => {
                    self.browser_due = None;
                    if !self.was_fetched.load(Ordering::SeqCst) {
                        self.warn_of_missing_browser("no browser has opened the sign-in page yet");
                    }
                }
                Err(_) => return Err(LoginError::TimedOut(self.setup.timeout)),
            }
        };
        let (code, iss) = match response {
            Response::Code { code, iss } => (code, iss),
            Response::ProviderError(error) => return Err(LoginError::ProviderError(error)),
            Response::OtherIssuer => return Err(LoginError::OtherIssuer),
        };
        self.progress.show("finishing the sign-in");
        Ok(FinishLoginRequest {
            ticket: self.ticket.clone(),
            code,
            code_verifier: self.verifier.expose().clone(),
            iss,
            device: Some(instructions::host_name()).filter(|name| !name.is_empty()),
            login_method,
        })
    }

    /// Waits before the request that finishes the sign-in is repeated, unless the user interrupts.
    pub fn pause(&self, duration: Duration) -> Result<(), LoginError> {
        let end = Instant::now() + duration;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Event::Interrupted) => return Err(self.interrupted()),
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Shows success in the terminal and the browser.
    pub fn succeed(mut self, account: String) {
        self.stop();
        let Setup { origin, provider, terminal, .. } = self.setup;
        terminal.info(&format!("signed in to {origin} as {account}"));
        let (server, provider) = (origin.to_string(), provider.name.clone());
        self.listener.conclude(Outcome::LoggedIn(LoginSummary { account, server, provider }));
    }

    /// Restores the terminal and removes the file for the browser.
    fn stop(&mut self) {
        self.progress.clear();
        self.keyboard = None;
        self.handover = None;
    }

    fn interrupted(&self) -> LoginError {
        if self.is_paste_prompted {
            // Start a new line after the `^C` that the terminal shows.
            self.setup.terminal.info("");
        }
        LoginError::Interrupted
    }

    fn warn_of_missing_browser(&mut self, why: &str) {
        if self.is_url_printed {
            return;
        }
        // The spinner must not overwrite typed text.
        self.progress.clear();
        self.setup.terminal.warn(why);
        self.print_instructions();
    }

    /// Prints the URL and how a browser elsewhere gets back here. Accepts the address of an unreachable page from now
    /// on.
    fn print_instructions(&mut self) {
        self.browser_due = None;
        self.is_url_printed = true;
        self.progress.clear();
        let Setup { environment, terminal, .. } = self.setup;
        terminal.print(&format!("Open this address in a browser:\n\n  {}\n", self.url.as_str()));
        let may_paste = self.keyboard.is_some();
        if self.has_socket
            && let Some(instructions) = instructions::return_instructions(environment, self.port, may_paste)
        {
            terminal.print(&instructions);
        }
        if let Some(keyboard) = &self.keyboard {
            let left = self.deadline.saturating_duration_since(Instant::now());
            terminal.print(&instructions::paste(environment, self.port, self.has_socket, left));
            keyboard.prompt();
            self.is_paste_prompted = true;
        }
    }
}

impl Drop for PendingLogin<'_> {
    fn drop(&mut self) {
        self.stop();
        self.listener.conclude(Outcome::NotLoggedIn);
    }
}

#[cfg(test)]
mod tests;
