//! Puts a daemon together from its configuration: the one place that knows every room.

mod public_urls;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api;
use crate::config::Config;
use crate::control::{ControlSocket, Identity};
use crate::identity::{IdentityError, Provider};
use crate::keys::{FieldSealer, KeyError, Keys, Place};
use crate::listener::{self, ListenerLimits};
use crate::platform::{self, DataDirectoryLock, PlatformError};
use crate::sessions::{Bindings, Sessions};
use crate::store::{ProviderRow, Store, StoreError};
use crate::tls::{LocalAuthority, TlsError};
use crate::upkeep;

/// Why a daemon cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("provider `{name}`: {source}")]
    Provider { name: String, source: IdentityError },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot open the control socket in {data_dir}: {source}")]
    ControlSocket { data_dir: String, source: std::io::Error },
}

/// A data directory in exclusive use, with its keys and its store open.
pub struct DataDirectory {
    _lock: DataDirectoryLock,
    keys: Keys,
    store: Store,
}

/// A daemon that listens, and is ready to [`run`](Self::run).
pub struct Daemon {
    data_directory: DataDirectory,
    listener: TcpListener,
    control: ControlSocket,
    authority: Arc<LocalAuthority>,
    tls: Arc<rustls::ServerConfig>,
    sessions: Arc<Sessions>,
    public_urls: Vec<Origin>,
    address: SocketAddr,
    clock: Arc<dyn Clock>,
}

impl DataDirectory {
    /// Takes the data directory for this process alone, and opens what is in it, or creates it.
    pub async fn open(config: &Config) -> Result<Self, AssemblyError> {
        platform::ensure_private_directory(&config.data_dir)?;
        let lock = platform::lock_data_directory(&config.data_dir)?;
        let keys = Keys::open_or_create(&config.data_dir, &config.root_keys).await?;
        let store = Store::open(&config.data_dir.join(keys.database_file()), &keys.database_key())?;
        Ok(Self { _lock: lock, keys, store })
    }

    /// The daemon's certification authority, with a leaf for the hosts of `public_urls`.
    pub async fn authority(
        &self,
        public_urls: &[Origin],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<LocalAuthority>, AssemblyError> {
        let names = public_urls::host_names(public_urls);
        Ok(LocalAuthority::load_or_create(self.store.clone(), self.keys.field_sealer(), clock, names).await?)
    }
}

impl Daemon {
    /// Opens the data directory, binds the address and starts nothing yet. Sessions whose provider or user left the
    /// configuration are ended before anybody can ask for them.
    pub async fn assemble(config: Config, clock: Arc<dyn Clock>) -> Result<Self, AssemblyError> {
        let data_directory = DataDirectory::open(&config).await?;
        let (listener, address) = bind(config.listen)?;
        let public_urls = public_urls::of(&config, address);
        let authority = data_directory.authority(&public_urls, clock.clone()).await?;
        let tls = authority.server_config(config.minimum_tls)?;

        let sealer = data_directory.keys.field_sealer();
        let rows: Vec<ProviderRow> =
            config.providers.iter().map(|settings| provider_row(settings, &sealer)).collect();
        let providers = config
            .providers
            .into_iter()
            .map(|settings| {
                let name = settings.name.clone();
                Provider::new(settings, config.backends.clone(), clock.clone())
                    .map_err(|source| AssemblyError::Provider { name, source })
            })
            .collect::<Result<Vec<_>, _>>()?;

        let sessions = Arc::new(Sessions::new(
            data_directory.store.clone(),
            data_directory.keys.ticket_key(),
            providers,
            Bindings::new(public_urls.clone(), vec![authority.pin()]),
            config.sessions,
            clock.clone(),
        ));
        if !data_directory.store.has_no_other_providers_than(&rows)? {
            let ended = sessions.end_sessions_outside_configuration().await?;
            tracing::info!(
                ended,
                "the providers changed: ended sessions whose provider or user left the configuration"
            );
        }
        // Last: a start that did not come so far is followed by one that looks again.
        data_directory.store.replace_providers(rows).await?;
        let control = bind_control(&config.data_dir)?;
        Ok(Self { data_directory, listener, control, authority, tls, sessions, public_urls, address, clock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What users type, the one to tell them first.
    pub fn public_urls(&self) -> &[Origin] {
        &self.public_urls
    }

    /// By what users prove it.
    pub fn pin(&self) -> Pin {
        self.authority.pin()
    }

    /// The certificate of its certification authority as PEM.
    pub fn authority_pem(&self) -> String {
        self.authority.certificate_pem()
    }

    /// Serves until `stop` is done, then lets what is under way end.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let (stopping, stopped) = watch::channel(false);
        let identity = Identity { public_urls: self.public_urls, pin: self.authority.pin() };
        let control = tokio::spawn(self.control.serve(identity, until(stopped.clone())));
        let upkeep =
            tokio::spawn(upkeep::run(self.data_directory.store.clone(), self.authority, self.clock.clone()));
        let waiting = tokio::spawn(async move {
            stop.await;
            stopping.send_replace(true);
        });

        let router = api::router(self.sessions);
        listener::serve(self.listener, self.tls, router, ListenerLimits::default(), until(stopped)).await;
        upkeep.abort();
        waiting.abort();
        // Both end by themselves: the one was aborted, the other was told.
        let _ = tokio::join!(upkeep, control);
    }
}

/// What users type to reach a daemon of this configuration, as far as can be said before it listens.
pub fn expected_public_urls(config: &Config) -> Vec<Origin> {
    public_urls::of(config, config.listen)
}

/// Done when `stopped` says so, or when nobody is left to say it.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AssemblyError> {
    let failed = |source| AssemblyError::Listen { address, source };
    let listener = listener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bind_control(data_dir: &Path) -> Result<ControlSocket, AssemblyError> {
    ControlSocket::bind(data_dir)
        .map_err(|source| AssemblyError::ControlSocket { data_dir: data_dir.display().to_string(), source })
}

/// The row of a provider. For `plaintext` its reference is the secret itself: it is sealed like one, always.
fn provider_row(settings: &crate::identity::ProviderSettings, sealer: &FieldSealer) -> ProviderRow {
    let place =
        Place { table: "providers", row: &settings.name, column: "client_secret_reference", version: 1 };
    ProviderRow {
        name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        admission: serde_json::to_string(&settings.allow).expect("lists of texts are JSON"),
        client_secret_reference: sealer
            .seal(place, settings.client_secret.expose().expose_secret().as_bytes()),
    }
}
