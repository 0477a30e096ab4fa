//! The sockets of a daemon and what it serves on each.

use std::net::SocketAddr;
use std::sync::Arc;

use infra_shared::origin::Origin;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lifecycle::{Lifecycle, Running};
use super::{AssemblyError, no_control_socket};
use crate::api;
use crate::config::Config;
use crate::control::ControlSocket;
use crate::listener::{self, App, ListenerLimits, Transport};
use crate::logging;
use crate::monitoring::{Watched, serve_monitoring};
use crate::platform::HandedSockets;
use crate::services::{self, Services};
use crate::tls::TlsServer;

/// A bound socket and the application behind it.
pub(super) struct Endpoint {
    listener: TcpListener,
    transport: Transport,
    app: App,
    pub(super) limits: ListenerLimits,
}

impl Endpoint {
    /// The API over HTTPS.
    pub(super) fn main(listener: TcpListener, tls: TlsServer, config: Config, running: &Running) -> Self {
        let networks = services::networks(&config.services);
        let services = Services::new(running.sessions.clone(), config.services, config.backends);
        let (router, fast_path) = api::build_router(running.sessions.clone(), services, &config.limits.api);
        let app = App {
            fast_path: Some(fast_path),
            router,
            requests: running.requests.clone(),
            proxies: config.proxies,
            services: networks,
            error_responses: api::error_responses(),
        };
        Self { listener, transport: Transport::Tls(tls), app, limits: config.limits.listener }
    }

    /// Plain HTTP, redirected to `public_urls`.
    pub(super) fn redirect(listener: TcpListener, config: &Config, public_urls: Vec<Origin>) -> Self {
        let app = App::without_counters(api::redirect(public_urls), config.proxies.clone());
        Self { listener, transport: Transport::Plain, app, limits: config.limits.listener.for_redirect() }
    }

    pub(super) async fn serve(self, stopped: watch::Receiver<bool>) {
        listener::serve(self.listener, self.transport, self.app, self.limits, until(stopped)).await;
    }
}

/// Serves operators on the control socket, and monitoring on the metrics address.
pub(super) fn serve_operators(
    config: &Config,
    handed: &mut HandedSockets,
    lifecycle: &Arc<Lifecycle>,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, AssemblyError> {
    let control = ControlSocket::bind(&config.data_dir)
        .map_err(|source| no_control_socket(&config.data_dir, source))?;
    let asked = lifecycle.clone();
    let perform = move |operation| {
        let lifecycle = asked.clone();
        async move { lifecycle.perform(operation).await }
    };
    let mut tasks = vec![tokio::spawn(control.serve(perform, until(stopped.clone())))];
    if let Some(address) = config.metrics {
        let (listener, _) = bind(address, handed, lifecycle)?;
        let (observed, asked) = (lifecycle.clone(), lifecycle.clone());
        let watched = Watched {
            secrets: config.backends.clone(),
            observe: Arc::new(move || observed.observe()),
            readiness: Arc::new(move || {
                let asked = asked.clone();
                Box::pin(async move { asked.not_ready_because().await })
            }),
            dropped_lines: logging::dropped_lines,
        };
        let limits = config.limits.listener.for_auxiliary_listener();
        let running = serve_monitoring(listener, watched, limits, until(stopped.clone()));
        tasks.push(tokio::spawn(running));
    }
    Ok(tasks)
}

/// Binds `address`, or takes the socket that the service manager passed for it.
pub(super) fn bind(
    address: SocketAddr,
    handed: &mut HandedSockets,
    lifecycle: &Lifecycle,
) -> Result<(TcpListener, SocketAddr), AssemblyError> {
    let failed = |source| AssemblyError::Listen { address, source };
    let listener = match handed.take_at(address) {
        Some(socket) => TcpListener::from_std(socket),
        None => listener::bind(address),
    };
    let listener = listener.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    lifecycle.listens_on(bound);
    Ok((listener, bound))
}

/// Completes when `stopped` becomes true or its sender is dropped.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
