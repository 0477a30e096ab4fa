//! Logins for tests: through `infra`, or step by step through the daemon's API.

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::random;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::api::{Answered, Api};
use crate::daemon::Daemon;
use crate::pending_login::AuthorizationResponse;
use crate::program::{Call, Ran, RecordingBrowser, User};
use crate::provider::Provider;

/// `infra login` at this daemon, with its fingerprint, on a machine without a keyring.
pub fn call<'a>(user: &'a User, daemon: &Daemon) -> Call<'a> {
    user.infra(["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-keyring"])
}

/// Signs in with `infra` and a cooperating browser. Fails the test on any error.
#[track_caller]
pub fn succeed(user: &User, daemon: &Daemon, provider: &Provider) -> Ran {
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    call(user, daemon).browser(&browser).run().expect(0)
}

/// Returns the output of `infra token`.
#[track_caller]
pub fn token(user: &User) -> String {
    user.infra(["token"]).run().expect(0).stdout.trim_end().to_owned()
}

/// A login through the daemon's API, with each step under the test's control.
#[derive(Debug, Clone)]
pub struct Started {
    pub ticket: String,
    pub code_verifier: String,
    pub authorization_url: String,
    api: Api,
}

impl Started {
    /// Starts a login with the correct binding to the daemon.
    #[track_caller]
    pub fn at(daemon: &Daemon) -> Self {
        Self::bound_to(daemon, &daemon.parsed_origin(), Some(&daemon.pin()))
    }

    /// Starts a login with the provider of this name.
    #[track_caller]
    pub fn with_provider(daemon: &Daemon, provider: &str) -> Self {
        Self::over(&daemon.api(), daemon, provider)
    }

    /// Like [`Self::with_provider`], with an existing client and its connections.
    #[track_caller]
    pub fn over(api: &Api, daemon: &Daemon, provider: &str) -> Self {
        let bound = LoginBinding {
            origin: &daemon.parsed_origin(),
            pin: Some(&daemon.pin()),
            provider,
            issuer: daemon.issuer(provider),
        };
        Self::start(api, daemon, provider, &BoundVerifier::mint(&bound))
    }

    /// Starts a login with a verifier bound to this origin and pin.
    #[track_caller]
    pub fn bound_to(daemon: &Daemon, origin: &Origin, pin: Option<&Pin>) -> Self {
        let bound = LoginBinding { origin, pin, provider: "okta", issuer: daemon.issuer("okta") };
        Self::with_binding(daemon, "okta", &bound)
    }

    /// Starts a login with `provider` and a verifier with this binding, even if the binding names another
    /// provider.
    #[track_caller]
    pub fn with_binding(daemon: &Daemon, provider: &str, binding: &LoginBinding<'_>) -> Self {
        Self::start(&daemon.api(), daemon, provider, &BoundVerifier::mint(binding))
    }

    #[track_caller]
    fn start(api: &Api, daemon: &Daemon, provider: &str, verifier: &BoundVerifier) -> Self {
        let (state, challenge) = (random::alphanumeric(43), verifier.challenge());
        let started = Self::with_challenge(api, daemon, provider, (&state, &challenge));
        Self { code_verifier: verifier.expose().expose_secret().to_owned(), ..started }
    }

    /// Starts a login with the `state` and code challenge of another login, but without its verifier.
    #[track_caller]
    pub fn with_challenge(
        api: &Api,
        daemon: &Daemon,
        provider: &str,
        (state, code_challenge): (&str, &str),
    ) -> Self {
        let port = *daemon.redirect_ports().first().expect("a port for redirects");
        let answered = api.post(
            "/v1/logins",
            &json!({
                "provider": provider,
                "redirectURI": format!("http://127.0.0.1:{port}/callback"),
                "state": state,
                "codeChallenge": code_challenge,
            }),
        );
        assert_eq!(answered.status, 200, "the login was not started: {answered:?}");
        let text = |name: &str| answered.json()[name].as_str().expect("a text").to_owned();
        Self {
            ticket: text("ticket"),
            code_verifier: String::new(),
            authorization_url: text("authorizationURL"),
            api: api.clone(),
        }
    }

    /// Signs in at the provider and returns the response for the browser.
    pub fn sign_in(&self, provider: &Provider) -> AuthorizationResponse {
        AuthorizationResponse::of(&self.authorization_url, provider)
    }

    /// The request body that finishes this login.
    #[track_caller]
    pub fn finish_body(&self, response: &AuthorizationResponse) -> Value {
        json!({
            "ticket": self.ticket,
            "code": response.parameter("code"),
            "codeVerifier": self.code_verifier,
            "iss": response.parameter("iss"),
        })
    }

    /// Finishes the login with this response.
    #[track_caller]
    pub fn finish(&self, response: &AuthorizationResponse) -> Answered {
        self.api.post("/v1/logins/finish", &self.finish_body(response))
    }
}

/// Completes a login through the daemon's API and returns the session token.
#[track_caller]
pub fn over_http(daemon: &Daemon, provider: &Provider) -> String {
    let started = Started::at(daemon);
    let finished = started.finish(&started.sign_in(provider));
    assert_eq!(finished.status, 201, "the login was refused: {finished:?}\n{}", daemon.log());
    finished.json()["token"].as_str().expect("a token").to_owned()
}
