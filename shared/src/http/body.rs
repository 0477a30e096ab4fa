//! Reads bodies from remote servers up to a limit.

use super::BodyError;

/// Reads a body of at most `limit` bytes.
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    check_announced(response.content_length(), limit)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Like [`read_body`], for a program without an asynchronous runtime.
#[cfg(feature = "blocking")]
pub fn read_body_blocking(response: reqwest::blocking::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    use std::io::Read;

    check_announced(response.content_length(), limit)?;
    let mut body = Vec::new();
    // One byte more than allowed distinguishes a body at the limit from one beyond it.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    response.take(most).read_to_end(&mut body).map_err(BodyError::Interrupted)?;
    if body.len() > limit { Err(BodyError::TooLarge { limit }) } else { Ok(body) }
}

/// Rejects a body whose Content-Length exceeds the limit before reading it.
fn check_announced(length: Option<u64>, limit: usize) -> Result<(), BodyError> {
    match length.map(usize::try_from) {
        Some(Ok(length)) if length <= limit => Ok(()),
        None => Ok(()),
        Some(_) => Err(BodyError::TooLarge { limit }),
    }
}
