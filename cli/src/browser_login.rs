//! One login through the browser, from the loopback listener to the page that says "Logged in" (RFC 8252).
//!
//! The listener is bound before anything else happens, so that nobody else can have the port when the browser comes
//! back. The daemon is asked for the session while the browser's request is held: success is told once it is true.

mod authorization_url;
mod listener;
mod opener;
mod pages;
mod pasted;
mod redirect;
mod response;

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use infra_shared::api::{FinishLogin, Provider, StartLogin, StartedLogin};
use infra_shared::login_binding::BoundVerifier;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::random;
use secrecy::SecretString;

use crate::terminal::Terminal;
use authorization_url::Request;
use listener::{Arrival, Listener};
use redirect::Redirect;
use response::{Expected, Response};

pub use authorization_url::UnacceptableURL;
pub use response::Refusal;

/// 256 bits of `state` in 43 characters of 62.
const STATE_CHARACTERS: usize = 43;

/// What one login needs to know.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The daemon as it was dialled, and the pin by which it was proven, if any: the verifier is bound to both.
    pub origin: &'a Origin,
    pub pin: Option<&'a Pin>,
    pub provider: &'a Provider,
    pub browser: Browser,
    /// How long to wait for the person, at most 5 minutes.
    pub patience: Duration,
    pub terminal: Terminal,
}

/// How the browser gets to the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Browser {
    /// The command line that the variable `BROWSER` names.
    Named(String),
    /// Whatever the desktop opens URLs with.
    Desktop,
    /// None here: the URL is printed, with the `ssh -L` line, and the dead page's address may be pasted.
    Elsewhere,
}

/// The account to name in the terminal.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub account: String,
}

/// Why no login came of it. `E` is the error of the caller's own steps.
#[derive(Debug)]
pub enum LoginError<E> {
    /// The provider has no redirect URI `http://127.0.0.1:PORT/callback`.
    NoRedirectURI,
    /// None of the registered ports is free.
    PortsTaken(Vec<u16>),
    UnacceptableURL(UnacceptableURL),
    Refused(Refusal),
    /// The response came from another issuer than the login was for (RFC 9207 §2.4).
    OtherIssuer,
    /// The single-use address was fetched twice: somebody else may have followed it.
    OpenedTwice,
    NotInTime(Duration),
    Interrupted,
    /// The listener cannot run.
    Listener(io::Error),
    Caller(E),
}

/// What the browser brought back for this login.
struct Code {
    code: SecretString,
    iss: Option<String>,
}

/// Runs a login: binds a registered port, `start`s it at the daemon, opens the browser, waits for the awaited
/// response, and has it `finish`ed, which must also save the session; only then do browser and terminal say so.
/// `pending` is told the URL that other callers may show while they wait.
pub fn run<E>(
    setup: &Setup<'_>,
    start: impl FnOnce(StartLogin) -> Result<StartedLogin, E>,
    pending: impl FnOnce(&str),
    finish: impl FnOnce(FinishLogin) -> Result<SignedIn, E>,
) -> Result<SignedIn, LoginError<E>> {
    let deadline = Instant::now() + setup.patience;
    let may_paste = setup.browser == Browser::Elsewhere && setup.terminal.interactive;
    let redirect = Redirect::bind(&setup.provider.redirect_uris, may_paste)?;
    let verifier = BoundVerifier::mint(setup.origin, setup.pin);
    let request = Request {
        redirect_uri: redirect.uri(),
        state: random::alphanumeric(STATE_CHARACTERS),
        code_challenge: verifier.challenge(),
    };
    let started = start(StartLogin {
        provider: setup.provider.name.clone(),
        redirect_uri: request.redirect_uri.clone(),
        state: request.state.clone(),
        code_challenge: request.code_challenge.clone(),
    })
    .map_err(LoginError::Caller)?;
    let url = request
        .check(&started.authorization_url, &setup.provider.issuer)
        .map_err(LoginError::UnacceptableURL)?;
    pending(url.as_str());

    let expected = Expected { state: request.state, issuer: setup.provider.issuer.clone() };
    let (port, listens) = (redirect.port, redirect.socket.is_some());
    let (sender, arrivals) = mpsc::channel();
    let listener = Listener::start(redirect.socket, port, expected.clone(), url.as_str(), sender.clone())
        .map_err(LoginError::Listener)?;
    match &setup.browser {
        Browser::Elsewhere => {
            tell_url(setup.terminal, url.as_str(), port, listens);
            if may_paste {
                pasted::read(sender);
            }
        }
        browser => {
            setup.terminal.explain(&format!("opening the browser for {url}"));
            opener::open(opener::candidates(browser, &listener.address()), sender);
        }
    }

    let progress = setup.terminal.progress("waiting for you to sign in in the browser");
    let outcome = Wait { setup, expected: &expected, port, url: url.as_str(), arrivals, deadline }
        .for_code()
        .and_then(|response| {
            progress.change("asking for a session");
            let request = FinishLogin {
                ticket: started.ticket,
                code: response.code,
                code_verifier: verifier.expose().clone(),
                iss: response.iss,
            };
            finish(request).map_err(LoginError::Caller)
        });
    drop(progress);
    if let Ok(signed_in) = &outcome {
        setup.terminal.say(&format!("logged in to {} as {}", setup.origin, signed_in.account));
    }
    listener.conclude(outcome.is_ok());
    outcome
}

fn tell_url(terminal: Terminal, url: &str, port: u16, listens: bool) {
    terminal.tell(&format!("Open this address in a browser:\n\n  {url}\n"));
    if listens {
        terminal.say(&format!(
            "If that browser runs on another machine, forward the port to this one before:\n\n  \
             ssh -L {port}:127.0.0.1:{port} THIS_MACHINE\n"
        ));
    }
    if terminal.interactive {
        terminal.say(
            "Or sign in, and paste the address of the page that cannot be reached (http://127.0.0.1:…) here:",
        );
    }
}

/// The wait for the browser.
struct Wait<'a> {
    setup: &'a Setup<'a>,
    expected: &'a Expected,
    port: u16,
    url: &'a str,
    arrivals: Receiver<Arrival>,
    deadline: Instant,
}

impl Wait<'_> {
    /// Waits until the awaited response comes. Nothing else than that, the user, or time ends it.
    fn for_code<E>(&self) -> Result<Code, LoginError<E>> {
        let terminal = self.setup.terminal;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let response = match self.arrivals.recv_timeout(left) {
                Ok(Arrival::Response(response)) => response,
                Ok(Arrival::Pasted(line)) => {
                    if let Some(response) = pasted::response(&line, self.port, self.expected) {
                        response
                    } else {
                        terminal.tell("that is not the address that this login waits for: try again");
                        continue;
                    }
                }
                Ok(Arrival::Foreign) => {
                    terminal.say("the response of another login came, and was ignored: still waiting");
                    continue;
                }
                Ok(Arrival::NotOpened) => {
                    terminal.tell(&format!(
                        "no browser could be opened: open this address yourself\n\n  {}\n",
                        self.url
                    ));
                    continue;
                }
                Ok(Arrival::OpenedTwice) => return Err(LoginError::OpenedTwice),
                Ok(Arrival::Interrupted) => return Err(LoginError::Interrupted),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(LoginError::NotInTime(self.setup.patience));
                }
            };
            return match response {
                Response::Code { code, iss } => Ok(Code { code, iss }),
                Response::Refused(refusal) => Err(LoginError::Refused(refusal)),
                Response::OtherIssuer => Err(LoginError::OtherIssuer),
            };
        }
    }
}
