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

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use infra_shared::api::{FinishLogin, Provider, StartLogin, StartedLogin};
use infra_shared::login_binding::BoundVerifier;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::printable::printable;
use infra_shared::random;
use secrecy::SecretString;
use url::Url;

use crate::terminal::{Progress, Terminal};
use authorization_url::Request;
use listener::{Arrival, Listener};
use redirect::Redirect;
use response::{Expected, Response};

pub use authorization_url::UnacceptableURL;
pub use redirect::ports as redirect_ports;
pub use response::Refusal;

/// 256 bits of `state` in 43 characters of 62.
const STATE_CHARACTERS: usize = 43;
/// POSIX knows no longer one.
const MAX_HOST_NAME: usize = 255;

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

/// The programs that would be tried, in order, to open an address.
pub fn openers(browser: &Browser) -> Vec<OsString> {
    let commands = opener::candidates(browser, "http://127.0.0.1/");
    commands.iter().map(|command| command.get_program().to_owned()).collect()
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
/// response, has it `finish`ed by the daemon, and has what came of it `save`d, which answers who is signed in; only then
/// do browser and terminal say so. What `finish` answered is dropped when the login turns out not to be safe.
/// `pending` is told the URL that other callers may show while they wait.
pub fn run<S, E>(
    setup: &Setup<'_>,
    start: impl FnOnce(StartLogin) -> Result<StartedLogin, E>,
    pending: impl FnOnce(&str),
    finish: impl FnOnce(FinishLogin) -> Result<S, E>,
    save: impl FnOnce(S) -> Result<String, E>,
) -> Result<(), LoginError<E>> {
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
    let wait = Wait {
        setup,
        expected,
        port,
        listens,
        url,
        sender,
        arrivals,
        deadline,
        progress: setup.terminal.progress(),
    };
    match &setup.browser {
        Browser::Elsewhere => wait.ask_for_another_browser(),
        browser => {
            setup.terminal.explain(&format!("opening the browser for {}", wait.url));
            let commands = opener::candidates(browser, &listener.address());
            opener::open(commands, listener.was_fetched(), wait.sender.clone());
            wait.progress.show(
                "waiting for you to sign in in the browser (nothing opened? interrupt, and try --no-browser)",
            );
        }
    }
    let outcome = wait.for_code().and_then(|response| {
        wait.progress.show("asking for a session");
        let request = FinishLogin {
            ticket: started.ticket,
            code: response.code,
            code_verifier: verifier.expose().clone(),
            iss: response.iss,
        };
        let opened = finish(request).map_err(LoginError::Caller)?;
        // Meanwhile the browser may have come, and somebody else may have been there before it.
        if wait.was_opened_twice() {
            return Err(LoginError::OpenedTwice);
        }
        save(opened).map_err(LoginError::Caller)
    });
    drop(wait);
    if let Ok(account) = &outcome {
        setup.terminal.say(&format!("logged in to {} as {account}", setup.origin));
    }
    listener.conclude(outcome.is_ok());
    outcome.map(|_| ())
}

/// The wait for the browser.
struct Wait<'a> {
    setup: &'a Setup<'a>,
    expected: Expected,
    port: u16,
    /// Whether this process listens on the port.
    listens: bool,
    url: Url,
    sender: Sender<Arrival>,
    arrivals: Receiver<Arrival>,
    deadline: Instant,
    progress: Progress,
}

impl Wait<'_> {
    /// Tells the URL, how a browser elsewhere gets back here, and takes the address of the page that did not.
    fn ask_for_another_browser(&self) {
        let (terminal, port) = (self.setup.terminal, self.port);
        terminal.tell(&format!("Open this address in a browser:\n\n  {}\n", self.url));
        if self.listens {
            let machine = rustix::system::uname();
            let machine = printable(&machine.nodename().to_string_lossy(), MAX_HOST_NAME);
            terminal.tell(&format!(
                "If the browser runs on another machine than this one, forward the port from there first:\n\n  \
                 ssh -L {port}:127.0.0.1:{port} {machine}\n"
            ));
        }
        if terminal.interactive {
            let before = if self.listens { "Or sign in" } else { "No port is free here: sign in" };
            terminal.tell(&format!(
                "{before}, and paste the address of the page that cannot be reached (http://127.0.0.1:{port}/…) here:"
            ));
            pasted::read(self.sender.clone());
        }
    }

    /// Whether the single-use address was fetched a second time while the daemon was asked.
    fn was_opened_twice(&self) -> bool {
        self.arrivals.try_iter().any(|arrival| matches!(arrival, Arrival::OpenedTwice))
    }

    /// Waits until the awaited response comes. Nothing else than that, the user, or time ends it.
    fn for_code<E>(&self) -> Result<Code, LoginError<E>> {
        let terminal = self.setup.terminal;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let response = match self.arrivals.recv_timeout(left) {
                Ok(Arrival::Response(response)) => response,
                Ok(Arrival::Pasted(line)) => {
                    if let Some(response) = pasted::response(&line, self.port, &self.expected) {
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
                    // What is typed must not be drawn over.
                    self.progress.clear();
                    terminal.warn("no browser could be opened");
                    self.ask_for_another_browser();
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
