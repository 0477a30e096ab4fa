//! An `infra login` that waits for its browser. The test plays the browser.

use std::time::Duration;

use reqwest::blocking::Client;
use url::Url;

use crate::browser::{Browser, client, follow_to_callback};
use crate::https::{parameter, parameters};
use crate::program::{Call, Ran, RecordingBrowser, Running};
use crate::provider::Provider;

/// How long `infra` may take to open a browser.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// `infra login`, waiting on its loopback listener.
pub struct PendingLogin {
    pub running: Running,
    pub browser: RecordingBrowser,
    /// The URL that the browser was asked to open: the single-use loopback address.
    pub local_url: String,
    /// The redirect target of that address.
    pub authorization_url: Url,
    client: Client,
}

/// The provider's authorization response, before the browser delivers it to the listener.
#[derive(Debug, Clone)]
pub struct AuthorizationResponse {
    pub redirect_uri: String,
    pub parameters: Vec<(String, String)>,
}

impl PendingLogin {
    /// Starts `login` with a browser that follows no redirects, and requests the single-use address in its
    /// place.
    pub fn begin(login: Call<'_>) -> Self {
        let browser = RecordingBrowser::recording();
        let mut running = login.browser(&browser).start();
        let opened = crate::wait::until(OPEN_TIMEOUT, || {
            let opened = browser.opened().first().cloned();
            assert!(opened.is_some() || running.is_running(), "no browser was opened\n{}", running.output());
            opened
        });
        let local_url =
            opened.unwrap_or_else(|| panic!("no browser was opened in time\n{}", running.output()));
        let client = client(&[]).expect("no authorities, nothing to fail");
        let response = client.get(&local_url).send().unwrap_or_else(|error| panic!("{local_url}: {error:?}"));
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.unwrap_or_else(|| panic!("{local_url} redirects nowhere: {response:?}"));
        let authorization_url = Url::parse(location).expect("an absolute URL");
        Self { running, browser, local_url, authorization_url, client }
    }

    /// Returns a parameter of the authorization request.
    #[track_caller]
    pub fn parameter(&self, name: &str) -> String {
        let query = parameters(self.authorization_url.query().unwrap_or_default().as_bytes());
        parameter(&query, name).unwrap_or_else(|| panic!("no {name} in {}", self.authorization_url))
    }

    pub fn redirect_uri(&self) -> String {
        self.parameter("redirect_uri")
    }

    /// Signs in at the provider and returns the response without delivering it.
    pub fn sign_in(&self, provider: &Provider) -> AuthorizationResponse {
        AuthorizationResponse::of(self.authorization_url.as_str(), provider)
    }

    /// Sends a response to the listener, and returns the status and page of its reply.
    #[track_caller]
    pub fn respond(&self, response: &AuthorizationResponse) -> (u16, String) {
        self.get(&response.url())
    }

    /// Requests a path of the listener, and follows redirects to the last page as a browser does.
    #[track_caller]
    pub fn get(&self, url: &str) -> (u16, String) {
        let get = |url: &str| self.client.get(url).send().unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let mut answer = get(url);
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        if let Some(path) = location.filter(|location| location.starts_with('/')) {
            let next = answer.url().join(path).expect("a path of the listener");
            answer = get(next.as_str());
        }
        (answer.status().as_u16(), answer.text().unwrap_or_default())
    }

    /// Returns `true` while the login waits.
    pub fn is_waiting(&mut self) -> bool {
        self.running.is_running()
    }

    pub fn wait(self) -> Ran {
        self.running.wait()
    }
}

impl AuthorizationResponse {
    /// Signs in at the provider with this authorization request.
    pub fn of(authorization_url: &str, provider: &Provider) -> Self {
        let browser =
            Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] };
        let followed =
            follow_to_callback(authorization_url, &browser).unwrap_or_else(|error| panic!("{error}"));
        let last = followed.urls.last().expect("at least the first URL");
        let url = Url::parse(last).expect("a URL that was followed");
        assert_eq!(url.path(), "/callback", "the provider gave no response: {followed:?}");
        let parameters = parameters(url.query().unwrap_or_default().as_bytes());
        let redirect_uri = format!("http://127.0.0.1:{}/callback", url.port().expect("a port"));
        Self { redirect_uri, parameters }
    }

    #[track_caller]
    pub fn parameter(&self, name: &str) -> String {
        parameter(&self.parameters, name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Returns the response with another value of a parameter.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.without(name);
        changed.parameters.push((name.to_owned(), value.to_owned()));
        changed
    }

    /// Returns the response without a parameter.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.parameters.retain(|(parameter, _)| parameter != name);
        changed
    }

    /// The callback URL that the browser would request.
    pub fn url(&self) -> String {
        let mut url = Url::parse(&self.redirect_uri).expect("an address on loopback");
        url.query_pairs_mut().extend_pairs(&self.parameters);
        url.to_string()
    }
}
