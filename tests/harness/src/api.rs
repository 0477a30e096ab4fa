//! A client of the daemon's API, for requests that `infra` never sends.

mod pinned;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::api::Problem;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use reqwest::blocking::{Client, RequestBuilder};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

/// A client of one daemon, authenticated by its pin.
#[derive(Debug, Clone)]
pub struct Api {
    origin: Origin,
    client: Client,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Api {
    pub fn pinned(origin: &Origin, pin: Pin) -> Self {
        let client = Client::builder()
            .tls_backend_preconfigured(pinned::client_config(pin))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client of known parts");
        Self { origin: origin.clone(), client }
    }

    /// Starts building a request.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path}", self.origin))
    }

    pub fn get(&self, path: &str) -> Answered {
        Answered::of(self.request("GET", path))
    }

    pub fn get_as(&self, path: &str, token: &str) -> Answered {
        Answered::of(self.request("GET", path).bearer_auth(token))
    }

    pub fn delete_as(&self, path: &str, token: &str) -> Answered {
        Answered::of(self.request("DELETE", path).bearer_auth(token))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answered {
        Answered::of(self.request("POST", path).json(body))
    }
}

/// Opens a raw TLS connection to a pinned server, for requests that no HTTP client sends.
pub fn connect(origin: &Origin, pin: Pin) -> impl Read + Write {
    let name = ServerName::try_from(origin.host().to_owned()).expect("a host name or an address");
    let connection =
        ClientConnection::new(Arc::new(pinned::client_config(pin)), name).expect("a sound configuration");
    let socket = TcpStream::connect((origin.host(), origin.port())).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    StreamOwned::new(connection, socket)
}

impl Answered {
    /// Sends a request and reads the response. Fails the test without a response.
    #[track_caller]
    pub fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).unwrap_or_else(|error| panic!("the daemon did not answer: {error:?}"))
    }

    pub fn try_of(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.text()? })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Returns the problem in the response, after checking media type, status, code and request ID (RFC 9457
    /// §3).
    #[track_caller]
    pub fn problem(&self) -> Problem {
        let media_type = self.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with(infra_shared::api::MEDIA_TYPE), "no problem: {self:?}");
        let problem: Problem =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no problem ({error}): {self:?}"));
        assert_eq!(problem.status, self.status, "the status in the body is another: {self:?}");
        assert_eq!(problem.code.status(), self.status, "the code goes with another status: {self:?}");
        assert!(!problem.request_id.is_empty() && !problem.title.is_empty(), "an empty member: {self:?}");
        problem
    }
}
