//! One sign-in through the browser, from the loopback listener to the page that reports success (RFC 8252).
//!
//! The listener is bound first, so that no other program can bind the port before the browser returns. The browser's
//! request is held until the daemon has opened the session, so success is reported only once it is true.

mod authorization_url;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod handover;
mod instructions;
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
use std::time::{Duration, Instant};

use infra_shared::api::{Provider, StartLoginRequest, StartLoginResponse};
use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::random;
use secrecy::SecretString;

use crate::settings::Environment;
use crate::terminal::Terminal;
use authorization_url::ExpectedParameters;
use handover::HandoverMethod;
use redirect::LoopbackRedirect;

pub use authorization_url::{AuthorizationURL, InvalidAuthorizationURL};
pub use redirect::ports as redirect_ports;
pub use response::AuthorizationError;
pub use wait::PendingLogin;

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

/// Why a sign-in failed.
#[derive(Debug)]
pub enum LoginError {
    NoRedirectURI,
    /// None of the registered ports is free, for these reasons.
    PortsTaken {
        ports: Vec<u16>,
        reasons: Vec<io::Error>,
    },
    InvalidAuthorizationURL(InvalidAuthorizationURL),
    ProviderError(AuthorizationError),
    /// The response came from a different issuer (RFC 9207 §2.4).
    OtherIssuer,
    /// No program opened a browser, and there is no terminal to show the address.
    NoBrowser,
    /// The address cannot be handed to a browser, and there is no terminal to show it.
    Handover(io::Error),
    TimedOut(Duration),
    Interrupted,
    /// The listener cannot start.
    Listener(io::Error),
}

/// A sign-in that has not opened a browser. Its port is bound.
pub struct BrowserLogin<'a> {
    setup: &'a Setup<'a>,
    deadline: Instant,
    redirect: LoopbackRedirect,
    verifier: BoundVerifier,
    request: ExpectedParameters,
}

impl<'a> BrowserLogin<'a> {
    /// Binds a registered port and mints the secrets of this sign-in.
    pub fn prepare(setup: &'a Setup<'a>) -> Result<Self, LoginError> {
        let deadline = Instant::now() + setup.timeout;
        let redirect = LoopbackRedirect::bind(&setup.provider.redirect_uris, setup.terminal.interactive)?;
        let Provider { name: provider, issuer, .. } = setup.provider;
        let verifier =
            BoundVerifier::mint(&LoginBinding { origin: setup.origin, pin: setup.pin, provider, issuer });
        let request = ExpectedParameters {
            redirect_uri: redirect.uri(),
            state: random::alphanumeric(STATE_CHARACTERS),
            code_challenge: verifier.challenge(),
        };
        Ok(Self { setup, deadline, redirect, verifier, request })
    }

    /// The request that starts this sign-in at the daemon.
    pub fn start_request(&self) -> StartLoginRequest {
        StartLoginRequest {
            provider: self.setup.provider.name.clone(),
            redirect_uri: self.request.redirect_uri.clone(),
            state: self.request.state.clone(),
            code_challenge: self.request.code_challenge.clone(),
        }
    }

    /// Returns the URL in the daemon's response if it is for this sign-in.
    pub fn check(&self, started: &StartLoginResponse) -> Result<AuthorizationURL, LoginError> {
        let checked = self.request.check(&started.authorization_url, &self.setup.provider.issuer);
        checked.map_err(LoginError::InvalidAuthorizationURL)
    }

    /// Opens the browser at `url`, or asks the user to open one elsewhere.
    pub fn open(self, url: AuthorizationURL, ticket: SecretString) -> Result<PendingLogin<'a>, LoginError> {
        let method = HandoverMethod::find(&self.setup.browser, &self.setup.environment);
        PendingLogin::begin(self, url, ticket, method)
    }
}
