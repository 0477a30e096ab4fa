//! Sends operations to the running daemon over its control socket.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Operation, OperationFailure, SocketPath};
use crate::platform;

/// The timeout of long operations. A rotation rewrites every row, and a backup reads every one.
const PATIENCE: Duration = Duration::from_mins(10);
/// The timeout of all other operations.
const SHORT_PATIENCE: Duration = Duration::from_secs(15);
/// The timeout between two parts of a file.
const PART_PATIENCE: Duration = Duration::from_secs(30);
/// Enough for the sessions of a hundred thousand users.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why the request to the running daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("cannot connect to the running infrad: {0}")]
    Unreachable(#[source] io::Error),
    #[error("the running infrad (process {process}) did not respond within {} s", .patience.as_secs())]
    TooSlow { process: String, patience: Duration },
    /// It stopped or was killed meanwhile.
    #[error("the running infrad ended before it responded")]
    Ended,
    #[error(
        "the running infrad sent an unexpected response: it is probably another version than this command; restart \
         it"
    )]
    Unexpected,
    #[error("cannot write the response of the running infrad: {0}")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Failed(#[from] OperationFailure),
}

/// Sends `operation` to the daemon of `data_dir` and returns its response.
pub async fn call<T: DeserializeOwned>(data_dir: &Path, operation: Operation) -> Result<T, ControlError> {
    let patience = if operation.is_long() { PATIENCE } else { SHORT_PATIENCE };
    if operation.is_long() {
        expect_answers(data_dir).await?;
    }
    let asking = async {
        let mut answer = post(data_dir, operation).await?;
        let body = Limited::new(&mut answer.body, MAX_ANSWER_BYTES);
        body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|_| ControlError::Unexpected)
    };
    let body = timeout(patience, asking).await.map_err(|_| too_slow(data_dir, patience))??;
    serde_json::from_slice(&body).map_err(|_| ControlError::Unexpected)
}

/// Sends an operation whose response is a file, and writes the file to `to`.
pub async fn call_for_file(
    data_dir: &Path,
    operation: Operation,
    mut to: impl Write,
) -> Result<(), ControlError> {
    expect_answers(data_dir).await?;
    let asking = timeout(PATIENCE, post(data_dir, operation)).await;
    let mut answer = asking.map_err(|_| too_slow(data_dir, PATIENCE))??;
    loop {
        let frame = timeout(PART_PATIENCE, answer.body.frame()).await;
        let frame = frame.map_err(|_| too_slow(data_dir, PART_PATIENCE))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| broken_off(&error))?;
        if let Some(part) = frame.data_ref() {
            to.write_all(part).map_err(ControlError::Write)?;
        }
    }
}

/// The failure of a connection on which the response did not arrive.
fn broken_off(error: &hyper::Error) -> ControlError {
    let is_closed = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let is_reset = error.source().is_some_and(<dyn Error>::is::<io::Error>);
    if is_closed || is_reset { ControlError::Ended } else { ControlError::Unexpected }
}

/// Before something that may take minutes: a daemon that hangs is noticed soon.
async fn expect_answers(data_dir: &Path) -> Result<(), ControlError> {
    let asking = timeout(SHORT_PATIENCE, post(data_dir, Operation::Status)).await;
    asking.map_err(|_| too_slow(data_dir, SHORT_PATIENCE))?.map(drop)
}

fn too_slow(data_dir: &Path, patience: Duration) -> ControlError {
    let process = platform::lock_holder(data_dir).ok().flatten().unwrap_or_else(|| "unknown".to_owned());
    ControlError::TooSlow { process, patience }
}

/// A successful response and its connection.
struct Answer {
    body: Incoming,
    connection: AbortHandle,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn post(data_dir: &Path, operation: Operation) -> Result<Answer, ControlError> {
    let path = SocketPath::of(data_dir).map_err(ControlError::Unreachable)?;
    let stream = UnixStream::connect(&path.short).await.map_err(ControlError::Unreachable)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| ControlError::Unexpected)?;
    let connection = tokio::spawn(connection).abort_handle();
    let body = serde_json::to_vec(&operation).expect("an operation is plain JSON");
    let request = hyper::Request::post("/operations")
        .header(hyper::header::HOST, "infrad")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a fixed request is well formed");
    let answer = sender.send_request(request).await.map_err(|error| broken_off(&error))?;
    let status = answer.status();
    let mut answer = Answer { body: answer.into_body(), connection };
    if status.is_success() {
        return Ok(answer);
    }
    let failure = Limited::new(&mut answer.body, MAX_ANSWER_BYTES).collect().await;
    let failure = failure.map_err(|_| ControlError::Unexpected)?.to_bytes();
    let failure: OperationFailure = serde_json::from_slice(&failure).map_err(|_| ControlError::Unexpected)?;
    Err(failure.into())
}
