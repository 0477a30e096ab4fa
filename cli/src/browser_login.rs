//! One sign-in through the browser, from the loopback listener to the page that reports success (RFC 8252).
//!
//! The listener is bound first, so that no other program can bind the port before the browser returns. The browser's
//! request is held until the daemon has opened the session, so success is reported only once it is true.

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

use crate::settings::Environment;
use crate::terminal::Terminal;
use authorization_url::AuthorizationRequest;
use handover::HandoverMethod;
use listener::{Listener, Outcome};
use pages::SignedIn;
use redirect::Redirect;
use response::ExpectedResponse;
use wait::Wait;

pub use authorization_url::InvalidAuthorizationURL;
pub use redirect::ports as redirect_ports;
pub use response::AuthorizationError;

/// `state` carries 256 bits: 43 characters from an alphabet of 62.
const STATE_CHARACTERS: usize = 43;

/// Inputs of one sign-in.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The daemon's origin as dialled, and the pin that proved it, if any. The verifier is bound to both and to the
    /// provider.
    pub origin: &'a Origin,
    pub pin: Option<&'a Pin>,
    pub provider: &'a Provider,
    pub browser: Browser,
    /// Where this process runs, and the `PATH` in which to find a program that opens the browser.
    pub environment: Environment,
    pub path: Option<OsString>,
    /// A private directory. The file that hands over the address is written here if no other channel is private.
    pub home: &'a Path,
    /// How long to wait for the user, at most 5 minutes.
    pub timeout: Duration,
    pub terminal: Terminal,
}

/// Which browser opens the sign-in page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Browser {
    /// The commands that the variable `BROWSER` names.
    Named(String),
    /// The desktop's default browser.
    Desktop,
    /// The Windows browser, when this process runs in WSL.
    Windows,
    /// None on this machine. Print the URL and the `ssh -L` command; the user may paste the address of the unreachable
    /// page.
    Elsewhere,
}

/// Lists the programs that a sign-in would try, in order, to open an address.
pub fn openers(browser: &Browser, path: Option<&OsStr>) -> Vec<OsString> {
    let commands = opener::candidates(browser, "http://127.0.0.1/", path);
    commands.iter().map(|command| command.get_program().to_owned()).collect()
}

/// Why a sign-in failed. `E` is the error of the caller's own steps.
#[derive(Debug)]
pub enum LoginError<E> {
    NoRedirectURI,
    /// None of the registered ports is free.
    PortsTaken(Vec<u16>),
    InvalidAuthorizationURL(InvalidAuthorizationURL),
    Refused(AuthorizationError),
    /// The response came from a different issuer (RFC 9207 §2.4).
    OtherIssuer,
    /// No program opened a browser, and there is no terminal to show the address.
    NoBrowser,
    TimedOut(Duration),
    Interrupted,
    /// The listener cannot start.
    Listener(io::Error),
    Caller(E),
}

/// Runs a sign-in. Binds a registered port, calls `start` at the daemon, opens the browser and waits for the response.
/// Then calls `finish` at the daemon and `save`, which returns the account name. Only then do the browser and the
/// terminal report success. `pending` receives the URL that concurrent `infra login` processes may show while they
/// wait.
pub fn run<S, E>(
    setup: &Setup<'_>,
    start: impl FnOnce(StartLogin) -> Result<StartedLogin, E>,
    pending: impl FnOnce(&str),
    finish: impl FnOnce(FinishLogin) -> Result<S, E>,
    save: impl FnOnce(S) -> Result<String, E>,
) -> Result<(), LoginError<E>> {
    let deadline = Instant::now() + setup.timeout;
    let redirect = Redirect::bind(&setup.provider.redirect_uris, setup.terminal.interactive)?;
    let Provider { name: provider, issuer, .. } = setup.provider;
    let verifier =
        BoundVerifier::mint(&LoginBinding { origin: setup.origin, pin: setup.pin, provider, issuer });
    let request = AuthorizationRequest {
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
        .map_err(LoginError::InvalidAuthorizationURL)?;
    pending(url.as_str());

    let expected = ExpectedResponse { state: request.state, issuer: setup.provider.issuer.clone() };
    let (sender, events) = mpsc::channel();
    let (port, listens) = (redirect.port, redirect.socket.is_some());
    let method = HandoverMethod::find(&setup.browser, &setup.environment);
    let listener = Listener::start(
        redirect.socket,
        port,
        method.allowed_peers(),
        expected.clone(),
        url.as_str(),
        sender.clone(),
    )
    .map_err(LoginError::Listener)?;
    let listening = listens.then_some((&listener, method));
    let wait = Wait::begin(setup, expected, url, listening, port, deadline, (sender, events));
    let outcome = wait.receive_code().and_then(|response| {
        wait.show("asking for a session");
        let request = FinishLogin {
            ticket: started.ticket,
            code: response.code,
            code_verifier: verifier.expose().clone(),
            iss: response.iss,
            device: Some(advice::host_name()).filter(|name| !name.is_empty()),
            login_method: response.login_method,
        };
        finish(request).and_then(save).map_err(LoginError::Caller)
    });
    drop(wait);
    match outcome {
        Ok(account) => {
            setup.terminal.info(&format!("logged in to {} as {account}", setup.origin));
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
