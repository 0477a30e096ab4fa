// Hello: an API that accepts audience tokens.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use reqwest::blocking::Client;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tiny_http::{Header, Request, Response, Server};

/// A part of the answer of POST /v1/introspect.
#[derive(Clone, Deserialize)]
struct User {
    active: bool,
    #[serde(default)]
    username: String,
}

struct Validator {
    client: Client,
    server: String,
    service: String,
    credential_file: String,
    /// By the SHA-256 of a valid token.
    recent: Mutex<HashMap<[u8; 32], (User, Instant)>>,
}

impl Validator {
    /// Returns the user of a token, or `None` if the token is invalid. An error means that the daemon gave no answer: the
    /// token may be valid, so answer 503.
    fn validate(&self, token: &str) -> Result<Option<User>, Box<dyn Error>> {
        let (asked, key) = (Instant::now(), <[u8; 32]>::from(Sha256::digest(token)));
        let known = self.recent.lock().ok().and_then(|recent| recent.get(&key).cloned());
        if let Some((user, until)) = known
            && asked < until
        {
            return Ok(Some(user));
        }
        // Read each time, so that you can replace it.
        let credential = fs::read_to_string(&self.credential_file)?;
        let response = self
            .client
            .post(format!("{}/v1/introspect", self.server))
            .basic_auth(&self.service, Some(credential.trim()))
            .form(&[("token", token)])
            .send()?;
        let status = response.status();
        if status == 413 {
            return Ok(None); // larger than any token
        }
        if status != 200 {
            // 401: the daemon rejects the credential, not the token.
            return Err(format!("{status}: {}", response.text()?).into());
        }
        let user: User = response.json()?;
        if !user.active {
            return Ok(None);
        }
        if let Ok(mut recent) = self.recent.lock() {
            if recent.len() >= 10_000 {
                recent.clear();
            }
            recent.insert(key, (user.clone(), asked + Duration::from_secs(1)));
        }
        Ok(Some(user))
    }
}

fn hello(validator: &Validator, request: Request) {
    let sent = request.headers().iter().find(|header| header.field.equiv("Authorization"));
    let sent = sent.and_then(|header| header.value.as_str().split_once(' '));
    let token = sent
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty())
        .map(|(_, token)| token);
    let (status, text, header) = match token.map_or(Ok(None), |token| validator.validate(token)) {
        Ok(Some(user)) => (200, format!("hello {}\n", user.username), "Cache-Control: no-store"),
        // RFC 6750 section 3.1.
        Ok(None) if token.is_some() => {
            (401, "no valid token\n".to_owned(), "WWW-Authenticate: Bearer error=\"invalid_token\"")
        }
        Ok(None) => (401, "no valid token\n".to_owned(), "WWW-Authenticate: Bearer"),
        Err(error) => {
            eprintln!("cannot validate a token: {error}");
            (503, "cannot validate your token: try again\n".to_owned(), "Retry-After: 1")
        }
    };
    let header: Header = header.parse().expect("a header");
    // The client may have left.
    let _ = request.respond(Response::from_string(text).with_status_code(status).with_header(header));
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = env::var("INFRA_SERVER")?;
    if !server.starts_with("https://") || server.ends_with('/') {
        return Err("INFRA_SERVER must be an https address without a slash at its end".into());
    }
    // The daemon closes idle connections after 30 s: close them first.
    let mut client =
        Client::builder().timeout(Duration::from_secs(5)).pool_idle_timeout(Duration::from_secs(20));
    if let Ok(file) = env::var("CA_FILE") {
        let pem = fs::read(&file).map_err(|error| format!("cannot use CA_FILE {file}: {error}"))?;
        client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
    }
    let validator = Validator {
        client: client.build()?,
        server,
        service: env::var("SERVICE")?,
        credential_file: env::var("CREDENTIAL_FILE")?,
        recent: Mutex::default(),
    };
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let server = Server::http(format!("127.0.0.1:{port}")).map_err(|error| error.to_string())?;
    println!("listening on http://127.0.0.1:{port}");
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| server.incoming_requests().for_each(|request| hello(&validator, request)));
        }
    });
    Ok(())
}
