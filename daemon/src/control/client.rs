//! Asks the daemon that holds a data directory, over its control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Identity, socket_path};

/// The daemon is on this machine and answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why the running daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the running infrad cannot be asked: {0}")]
    Unreachable(#[from] io::Error),
    #[error("the running infrad did not answer within {} s", PATIENCE.as_secs())]
    TooSlow,
    #[error("the running infrad did not give the expected answer: is it of another version?")]
    Unexpected,
}

/// By what users reach and prove the daemon that holds `data_dir`.
pub async fn ask_identity(data_dir: &Path) -> Result<Identity, ControlError> {
    let body = timeout(PATIENCE, fetch(data_dir, "/identity")).await.map_err(|_| ControlError::TooSlow)??;
    serde_json::from_slice(&body).map_err(|_| ControlError::Unexpected)
}

async fn fetch(data_dir: &Path, path: &str) -> Result<Bytes, ControlError> {
    let stream = UnixStream::connect(socket_path(data_dir)).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| ControlError::Unexpected)?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, "infrad")
        .body(Empty::<Bytes>::new())
        .expect("a fixed request is well formed");
    let answer = sender.send_request(request).await.map_err(|_| ControlError::Unexpected)?;
    let is_ok = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    connection.abort();
    match body {
        Ok(body) if is_ok => Ok(body.to_bytes()),
        _ => Err(ControlError::Unexpected),
    }
}
