//! The daemon's side of the control socket.

use std::future::Future;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use axum::{Json, Router};
use hyper::body::Frame;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{Operation, OperationResult, SocketPath};
use crate::listener::names_one_host;

const PART_BYTES: usize = 64 * 1024;
const PARTS_AHEAD: usize = 4;
/// An operation is a word and a name.
const OPERATION_BYTES: usize = 64 * 1024;

/// The bound socket. Its file is removed when serving ends.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket and replaces the one of an earlier daemon. The caller must hold the lock of `data_dir`.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let SocketPath { real: path, short, .. } = &SocketPath::of(data_dir)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is 0700, so no other user can reach the socket before its mode is set.
        let listener = UnixListener::bind(short)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.clone() })
    }

    /// Whether [`Self::bind`] would succeed in a directory that can be written. Makes nothing.
    pub fn check(data_dir: &Path) -> io::Result<()> {
        match data_dir.join(super::SOCKET).symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            _ => Ok(()),
        }
    }

    /// Serves operations with `perform` until `stop` completes.
    pub async fn serve<F>(
        self,
        perform: impl Fn(Operation) -> F + Clone + Send + Sync + 'static,
        stop: impl Future<Output = ()> + Send + 'static,
    ) where
        F: Future<Output = OperationResult> + Send + 'static,
    {
        let operations = move |Json(operation): Json<Operation>| {
            let result = perform(operation);
            async move { respond(result.await) }
        };
        let router = Router::new()
            .route("/operations", post(operations))
            .layer(DefaultBodyLimit::max(OPERATION_BYTES))
            .layer(from_fn(reject_unclear_host));
        if let Err(error) = axum::serve(SameUser(self.listener), router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the control socket failed");
        }
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Rejects a request that does not name exactly one host, as every listener does.
async fn reject_unclear_host(request: Request, next: Next) -> Response {
    if names_one_host(request.version(), request.uri(), request.headers()) {
        next.run(request).await
    } else {
        StatusCode::BAD_REQUEST.into_response()
    }
}

fn respond(result: OperationResult) -> Response {
    match result {
        OperationResult::Json(value) => Json(value).into_response(),
        OperationResult::Failed(failure) => (StatusCode::UNPROCESSABLE_ENTITY, Json(failure)).into_response(),
        OperationResult::File(file) => {
            let (parts, sent) = mpsc::channel(PARTS_AHEAD);
            tokio::task::spawn_blocking(move || send(file, &parts));
            Body::new(FileBody(sent)).into_response()
        }
    }
}

/// Reads the file at the pace of the receiver.
fn send(mut file: Box<dyn Read + Send>, parts: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; PART_BYTES];
    loop {
        let part = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())),
            Err(error) => Err(error),
        };
        let is_last = part.is_err();
        if parts.blocking_send(part).is_err() || is_last {
            return;
        }
    }
}

/// The parts of a file as a response body. An error aborts the connection, so that the client detects a truncated
/// file.
struct FileBody(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// Accepts only connections from the daemon's own user and root, even if the socket's mode was changed.
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
                        tracing::warn!(user = peer.uid(), "rejected another user at the control socket");
                    }
                    Err(error) => tracing::warn!(%error, "rejected an unknown user at the control socket"),
                },
                // Usually out of file descriptors. Wait until some are closed.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection at the control socket");
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
    use super::*;
    use crate::control::{ControlError, OperationFailure, call, call_for_file};

    async fn perform(operation: Operation) -> OperationResult {
        match operation {
            Operation::KeyStatus | Operation::Status => OperationResult::json(&"an answer"),
            Operation::Backup => OperationResult::File(Box::new(io::Cursor::new(vec![7; 300_000]))),
            _ => OperationResult::Failed(OperationFailure {
                cause: "no".to_owned(),
                is_transient: true,
                hint: None,
            }),
        }
    }

    #[tokio::test]
    async fn daemon_responds_on_private_socket() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = ControlSocket::bind(directory.path()).expect("a socket");
        let mode =
            std::fs::metadata(directory.path().join("control.sock")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(socket.serve(perform, async { stopped.await.unwrap_or(()) }));
        let answer: String = call(directory.path(), Operation::KeyStatus).await.expect("an answer");
        assert_eq!(answer, "an answer");
        let mut file = Vec::new();
        call_for_file(directory.path(), Operation::Backup, &mut file).await.expect("a file");
        assert_eq!(file, vec![7; 300_000]);
        let failed = call::<String>(directory.path(), Operation::Rotate).await;
        assert!(matches!(failed, Err(ControlError::Failed(failure)) if failure.is_transient));

        stop.send(()).expect("the server waits for it");
        serving.await.expect("a clean end");
        assert!(!directory.path().join("control.sock").exists());
    }

    #[tokio::test]
    async fn socket_with_long_path_is_reachable() {
        let directory = tempfile::tempdir().expect("a directory");
        let long = directory.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&long).expect("a directory");
        let socket = ControlSocket::bind(&long).expect("a socket");
        assert!(long.join("control.sock").exists());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(socket.serve(perform, async { stopped.await.unwrap_or(()) }));
        let answer: String = call(&long, Operation::KeyStatus).await.expect("an answer");
        assert_eq!(answer, "an answer");
        stop.send(()).expect("the server waits for it");
        serving.await.expect("a clean end");
        assert!(!long.join("control.sock").exists());
    }

    #[tokio::test]
    async fn socket_of_earlier_daemon_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(ControlSocket::bind(directory.path()).expect("a socket"));
        let asked = call::<String>(directory.path(), Operation::Status).await;
        assert!(matches!(asked, Err(ControlError::Unreachable(_))));
        ControlSocket::bind(directory.path()).expect("the same place again");
    }
}
