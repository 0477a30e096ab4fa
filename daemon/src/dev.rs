//! The parts of `infrad dev`: a development identity provider on loopback and a command that runs with it.

mod command;
mod grants;
mod http;
mod provider;
mod sign_in_page;
mod signing;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use infra_shared::clock::SystemClock;
use secrecy::SecretString;
use tiny_http::Server;

use provider::{Client, Provider};

pub use command::run_command;

/// An OpenID Provider with two users, for development only. It accepts anyone who claims to be `alice` or `bob`.
/// Stops when dropped.
pub struct DevelopmentProvider {
    issuer: String,
    server: Arc<Server>,
}

impl DevelopmentProvider {
    /// Starts the provider on a free port of 127.0.0.1 for one client.
    pub fn start(
        client_id: &str,
        client_secret: &SecretString,
        redirect_uris: &[String],
    ) -> io::Result<Self> {
        let server = Server::http((Ipv4Addr::LOCALHOST, 0)).map_err(io::Error::other)?;
        let port =
            server.server_addr().to_ip().map(|address| address.port()).expect("it listens on an IP address");
        let host = format!("127.0.0.1:{port}");
        let issuer = format!("http://{host}");
        let client = Client {
            id: client_id.to_owned(),
            secret: client_secret.clone(),
            redirect_uris: redirect_uris.to_vec(),
        };
        let mut provider = Provider::new(issuer.clone(), client, Arc::new(SystemClock));
        let server = Arc::new(server);
        let serving = Arc::clone(&server);
        // Never joined, because an unfinished request may block it.
        thread::spawn(move || {
            // `recv` fails once the server is unblocked.
            while let Ok(request) = serving.recv() {
                http::serve(&mut provider, &host, request);
            }
        });
        Ok(Self { issuer, server })
    }

    /// The issuer, `http://127.0.0.1:PORT`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl Drop for DevelopmentProvider {
    fn drop(&mut self) {
        self.server.unblock();
    }
}
