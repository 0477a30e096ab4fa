//! The daemon's side of the control socket.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

use super::{Identity, socket_path};

/// The bound socket. Its file goes once it is no longer served.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket. Only the holder of the lock of `data_dir` may: what an earlier daemon left there is replaced.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = socket_path(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is 0700: nobody else reaches the socket before its own mode is set.
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until `stop` is done.
    pub async fn serve(self, identity: Identity, stop: impl Future<Output = ()> + Send + 'static) {
        let router =
            Router::new().route("/identity", get(move || std::future::ready(Json(identity.clone()))));
        if let Err(error) = axum::serve(SameUser(self.listener), router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the control socket failed");
        }
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Accepts connections of the daemon's own user and of root alone, whatever the socket's mode has become.
struct SameUser(UnixListener);

impl Listener for SameUser {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            match self.0.accept().await {
                Ok((stream, address)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == own || peer.uid() == 0 => return (stream, address),
                    Ok(peer) => {
                        tracing::warn!(user = peer.uid(), "refused another user at the control socket");
                    }
                    Err(error) => tracing::warn!(%error, "refused an unknown user at the control socket"),
                },
                // Out of file descriptors, most likely: others may close some.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept at the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::*;
    use crate::control::{ControlError, ask_identity};

    fn identity() -> Identity {
        Identity {
            public_urls: vec!["infra.test:8443".parse().expect("an origin")],
            pin: Pin::of_public_key(b"a key"),
        }
    }

    #[tokio::test]
    async fn the_daemons_identity_is_told_over_a_private_socket() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = ControlSocket::bind(directory.path()).expect("a socket");
        let mode =
            std::fs::metadata(directory.path().join("control.sock")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(socket.serve(identity(), async { stopped.await.unwrap_or(()) }));
        assert_eq!(ask_identity(directory.path()).await.expect("an answer"), identity());

        stop.send(()).expect("the server waits for it");
        serving.await.expect("a clean end");
        assert!(!directory.path().join("control.sock").exists());
    }

    #[tokio::test]
    async fn a_socket_that_an_earlier_daemon_left_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(ControlSocket::bind(directory.path()).expect("a socket"));
        assert!(matches!(ask_identity(directory.path()).await, Err(ControlError::Unreachable(_))));
        ControlSocket::bind(directory.path()).expect("the same place again");
    }
}
