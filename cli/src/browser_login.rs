//! One login through the browser, from the loopback listener to the page that says "Logged in" (RFC 8252).
//!
//! The listener is bound before anything else happens, so that nobody else can have the port when the browser comes
//! back. The daemon is asked for the session while the browser's request is held: success is told once it is true.

mod advice;
mod authorization_url;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod handover;
mod listener;
mod opener;
mod pages;
mod pasted;
mod redirect;
mod response;
mod wait;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use infra_shared::api::{FinishLogin, Provider, StartLogin, StartedLogin};
use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::random;

use crate::settings::Place;
use crate::terminal::Terminal;
use authorization_url::Request;
use handover::Way;
use listener::{Listener, Outcome};
use pages::SignedIn;
use redirect::Redirect;
use response::Expected;
use wait::Wait;

pub use authorization_url::UnacceptableURL;
pub use redirect::ports as redirect_ports;
pub use response::Refusal;

/// 256 bits of `state` in 43 characters of 62.
const STATE_CHARACTERS: usize = 43;

/// What one login needs to know.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The daemon as it was dialled, and the pin by which it was proven, if any: the verifier is bound to both, and to the provider.
    pub origin: &'a Origin,
    pub pin: Option<&'a Pin>,
    pub provider: &'a Provider,
    pub browser: Browser,
    /// Where this process runs, and `PATH`, in which the browser's opener is looked for.
    pub place: Place,
    pub path: Option<OsString>,
    /// A private directory, for a file that leads the browser here where no other way is safe.
    pub home: &'a Path,
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
    /// The one of Windows, which this Linux runs inside.
    OfWindows,
    /// None here: the URL is printed, with the `ssh -L` line, and the dead page's address may be pasted.
    Elsewhere,
}

/// The programs that would be tried, in order, to open an address.
pub fn openers(browser: &Browser, path: Option<&OsStr>) -> Vec<OsString> {
    let commands = opener::candidates(browser, "http://127.0.0.1/", path);
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
    /// No program opened a browser, and there is no terminal that shows the address to somebody.
    NoBrowser,
    NotInTime(Duration),
    Interrupted,
    /// The listener cannot run.
    Listener(io::Error),
    Caller(E),
}

/// Runs a login: binds a registered port, `start`s it at the daemon, opens the browser, waits for the awaited
/// response, has it `finish`ed by the daemon, and has what came of it `save`d, which answers who is signed in; only then
/// do browser and terminal say so.
/// `pending` is told the URL that other callers may show while they wait.
pub fn run<S, E>(
    setup: &Setup<'_>,
    start: impl FnOnce(StartLogin) -> Result<StartedLogin, E>,
    pending: impl FnOnce(&str),
    finish: impl FnOnce(FinishLogin) -> Result<S, E>,
    save: impl FnOnce(S) -> Result<String, E>,
) -> Result<(), LoginError<E>> {
    let deadline = Instant::now() + setup.patience;
    let redirect = Redirect::bind(&setup.provider.redirect_uris, setup.terminal.interactive)?;
    let Provider { name: provider, issuer, .. } = setup.provider;
    let verifier =
        BoundVerifier::mint(&LoginBinding { origin: setup.origin, pin: setup.pin, provider, issuer });
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
    let (sender, arrivals) = mpsc::channel();
    let (port, listens) = (redirect.port, redirect.socket.is_some());
    let way = Way::find(&setup.browser, &setup.place);
    let listener = Listener::start(
        redirect.socket,
        port,
        way.admitted(),
        expected.clone(),
        url.as_str(),
        sender.clone(),
    )
    .map_err(LoginError::Listener)?;
    let listening = listens.then_some((&listener, way));
    let wait = Wait::begin(setup, expected, url, listening, port, deadline, (sender, arrivals));
    let outcome = wait.for_code().and_then(|response| {
        wait.show("asking for a session");
        let request = FinishLogin {
            ticket: started.ticket,
            code: response.code,
            code_verifier: verifier.expose().clone(),
            iss: response.iss,
            device: Some(advice::host_name()).filter(|name| !name.is_empty()),
            opened_by: response.opened_by,
        };
        finish(request).and_then(save).map_err(LoginError::Caller)
    });
    drop(wait);
    match outcome {
        Ok(account) => {
            setup.terminal.say(&format!("logged in to {} as {account}", setup.origin));
            let (server, provider) = (setup.origin.to_string(), setup.provider.name.clone());
            listener.conclude(Outcome::LoggedIn(SignedIn { account, server, provider }));
            Ok(())
        }
        Err(error) => {
            listener.conclude(Outcome::NotLoggedIn);
            Err(error)
        }
    }
}
