//! Connects to the first host that accepts writes, and proves which server it is.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use infra_shared::http;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::ExposeSecret;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{AccessProblem, READ_ONLY, describe};
use super::limited_stream::{Answers, Limited, LimitedTls, Refused};
use super::settings::{ClientCertificate, DatabaseHost, PostgresSettings};
use crate::platform::{self, blocking};
use crate::store::StoreError;

/// How long one address may take to accept a connection.
const TO_ONE_ADDRESS: Duration = Duration::from_secs(1);
/// How long all hosts may take together until one can be used, whatever their servers do. Less than the wait of a caller.
/// They share it equally. One host has all of it, because a busy server may take seconds for the handshakes.
const TO_ALL_HOSTS: Duration = Duration::from_millis(4500);
/// How long a cancel request may take.
const TO_CANCEL: Duration = Duration::from_secs(2);
/// A server that is cut off without a word is noticed after this time.
const UNANSWERED: Duration = Duration::from_secs(5);
const LARGEST_FILE: usize = 64 * 1024;

/// Why there is no connection to one host.
#[derive(Debug, Clone)]
pub struct ConnectFailure {
    pub cause: String,
    pub problem: AccessProblem,
}

impl ConnectFailure {
    pub(super) fn unanswered(limit: Duration) -> Self {
        let cause = format!("it did not answer within {:.1} s", limit.as_secs_f32());
        Self { cause, problem: AccessProblem::Unreachable }
    }
}

impl From<tokio_postgres::Error> for ConnectFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self { cause: describe(&error), problem: AccessProblem::of(&error) }
    }
}

/// Opens connections for the pool.
#[derive(Debug)]
pub(in crate::store) struct Connector {
    settings: PostgresSettings,
    /// Without a client certificate: that one is read for each connection.
    tls: ClientConfig,
    /// The host that was connected to last. It is tried first.
    last: AtomicUsize,
    /// Of all connections.
    answers: Answers,
}

impl Connector {
    pub(super) fn new(settings: PostgresSettings) -> Result<Self, StoreError> {
        // TLS 1.2 too, because poolers and managed databases may be older. Both versions have forward secrecy here.
        let mut tls = http::client_config(&settings.trust, true).map_err(|error| {
            StoreError::Unavailable { cause: error.to_string(), problem: AccessProblem::UnknownAuthority }
        })?;
        // The name of the protocol (IANA), which newer servers check.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { settings, tls, last: AtomicUsize::new(0), answers: Answers::default() })
    }

    pub(super) fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Connects to this host, whether it accepts writes or not.
    pub(super) async fn connect_to(
        &self,
        host: &DatabaseHost,
        attributes: TargetSessionAttrs,
    ) -> Result<Client, ConnectFailure> {
        let mut configuration = self.configuration(host).await?;
        let answers = self.answers.clone();
        match host {
            DatabaseHost::TCP { .. } => {
                configuration.target_session_attrs(attributes);
                let tls = MakeRustlsConnect::new(self.tls().await?);
                let (client, connection) = configuration.connect(LimitedTls { tls, answers }).await?;
                run(connection);
                Ok(client)
            }
            DatabaseHost::Socket { directory, port } => {
                let stream = Limited::new(open_socket(directory, *port).await?, answers);
                let (client, connection) = configuration.connect_raw(stream, NoTls).await?;
                run(connection);
                if attributes == TargetSessionAttrs::ReadWrite {
                    expect_writable(&client).await?;
                }
                Ok(client)
            }
        }
    }

    /// The host that was connected to last.
    pub(super) fn last_host(&self) -> Option<String> {
        self.settings.hosts.get(self.last.load(Ordering::Relaxed)).map(ToString::to_string)
    }

    /// Stops the statement of this client, which may otherwise wait on the server for ever.
    pub(super) async fn cancel(&self, host: &DatabaseHost, client: &Client) {
        let token = client.cancel_token();
        let canceling = async {
            match host {
                DatabaseHost::TCP { .. } => match self.tls().await {
                    Ok(tls) => token.cancel_query(MakeRustlsConnect::new(tls)).await.ok(),
                    Err(_) => None,
                },
                DatabaseHost::Socket { directory, port } => match open_socket(directory, *port).await {
                    Ok(stream) => token.cancel_query_raw(stream, NoTls).await.ok(),
                    Err(_) => None,
                },
            }
        };
        // If it fails, the server notices the closed connection later.
        let _ = timeout(TO_CANCEL, canceling).await;
    }

    pub(super) async fn cancel_at_last_host(&self, client: &Client) {
        if let Some(host) = self.settings.hosts.get(self.last.load(Ordering::Relaxed)) {
            self.cancel(host, client).await;
        }
    }

    async fn configuration(&self, host: &DatabaseHost) -> Result<Config, ConnectFailure> {
        let mut configuration = Config::new();
        match host {
            DatabaseHost::TCP { name, port } => {
                configuration.host(name).port(*port).ssl_mode(SslMode::Require);
            }
            DatabaseHost::Socket { .. } => {
                configuration.ssl_mode(SslMode::Disable);
            }
        }
        if let Some(password) = &self.settings.password {
            let read = password.backends.resolve(&password.reference).await;
            let read = read.map_err(|error| ConnectFailure {
                cause: format!("cannot read the password: {error}"),
                problem: AccessProblem::Password,
            })?;
            configuration.password(read.expose_secret());
        }
        configuration
            .dbname(&self.settings.name)
            .user(&self.settings.user)
            .application_name("infrad")
            .connect_timeout(TO_ONE_ADDRESS)
            .tcp_user_timeout(UNANSWERED)
            .keepalives_idle(UNANSWERED)
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3);
        Ok(configuration)
    }

    async fn tls(&self) -> Result<ClientConfig, ConnectFailure> {
        let mut tls = self.tls.clone();
        if let Some(certificate) = self.settings.client_certificate.clone() {
            let provider = Arc::clone(tls.crypto_provider());
            let read = blocking(move || {
                let (chain, key) = read(&certificate)?;
                let certified = CertifiedKey::from_der(chain, key, &provider);
                certified
                    .map_err(|error| format!("cannot use {}: {error}", certificate.certificate.display()))
            });
            tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(
                read.await.map_err(|cause| ConnectFailure { cause, problem: AccessProblem::Other })?,
            ));
        }
        Ok(tls)
    }
}

impl Manager for Connector {
    type Type = Client;
    type Error = StoreError;

    async fn create(&self) -> Result<Client, StoreError> {
        let (hosts, last) = (&self.settings.hosts, self.last.load(Ordering::Relaxed));
        let limit = TO_ALL_HOSTS / u32::try_from(hosts.len().max(1)).unwrap_or(u32::MAX);
        let mut failures = vec![String::new(); hosts.len()];
        let mut problem = AccessProblem::Unreachable;
        for (number, host) in hosts.iter().enumerate().cycle().skip(last).take(hosts.len()) {
            let connecting = self.connect_to(host, TargetSessionAttrs::ReadWrite);
            let connected = timeout(limit, connecting).await;
            let connected = connected.unwrap_or_else(|_| Err(ConnectFailure::unanswered(limit)));
            match connected {
                Ok(client) => {
                    self.last.store(number, Ordering::Relaxed);
                    return Ok(client);
                }
                Err(ConnectFailure { cause, problem: found }) => {
                    // A host that answers says more than one that does not.
                    if problem == AccessProblem::Unreachable {
                        problem = found;
                    }
                    if let Some(failure) = failures.get_mut(number) {
                        *failure = format!("{host}: {cause}");
                    }
                }
            }
        }
        Err(StoreError::Unavailable { cause: failures.join("; "), problem })
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<StoreError> {
        if client.is_closed() { Err(RecycleError::message("the connection is closed")) } else { Ok(()) }
    }
}

async fn open_socket(directory: &Path, port: u16) -> Result<UnixStream, ConnectFailure> {
    let connected = UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).await;
    connected.map_err(|error| ConnectFailure {
        cause: format!("error connecting to server: {error}"),
        problem: AccessProblem::Unreachable,
    })
}

/// As the library does for other hosts.
async fn expect_writable(client: &Client) -> Result<(), ConnectFailure> {
    let shown = client.simple_query("SHOW transaction_read_only").await?;
    let is_on = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("on"));
    if shown.iter().any(is_on) {
        return Err(ConnectFailure { cause: READ_ONLY.to_owned(), problem: AccessProblem::Standby });
    }
    Ok(())
}

/// Runs a connection until its client ends.
fn run(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move {
        let Err(error) = connection.await else { return };
        // The user of the connection learns only that it was closed.
        if let Some(reason) = Refused::in_causes(&error) {
            tracing::error!(%reason, "closed a connection to the database");
        } else {
            tracing::debug!("a connection to the database ended: {}", describe(&error));
        }
    });
}

fn read(files: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let read = |path: &Path, is_private| {
        platform::read_pem_file(path, LARGEST_FILE, is_private)
            .map_err(|cause| format!("cannot read {}: {cause}", path.display()))
    };
    let not_pem = |path: &Path, what: &str| format!("{} contains no {what} in PEM form", path.display());
    let chain =
        CertificateDer::pem_slice_iter(&read(&files.certificate, false)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let key = PrivateKeyDer::from_pem_slice(&read(&files.private_key, true)?);
    Ok((
        chain.ok_or_else(|| not_pem(&files.certificate, "certificate"))?,
        key.map_err(|_| not_pem(&files.private_key, "unencrypted private key"))?,
    ))
}
