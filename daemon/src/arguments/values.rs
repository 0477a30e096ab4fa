//! Reads the values of arguments whose form shows a typing error.

use infra_shared::token_text::SessionID;

use crate::config::parse_duration;

/// Parses a duration such as `30d`, a year at most, into seconds.
pub(super) fn overlap(text: &str) -> Result<u32, String> {
    const MOST: i64 = 366 * 24 * 3_600;
    let expected = "a duration up to a year, such as `30d`, `12h` or `0s`".to_owned();
    let duration = parse_duration(text).ok_or_else(|| expected.clone())?;
    Some(duration.as_secs())
        .filter(|seconds| (0..=MOST).contains(seconds))
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or(expected)
}

/// A head has a form, so that one that was pasted in part is not taken for a log that was changed.
pub(super) fn audit_head(text: &str) -> Result<String, String> {
    const DIGITS: usize = 64;
    let text = text.trim();
    if text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err(format!("a head has {DIGITS} hexadecimal digits, and this has {} characters", text.chars().count()))
}

/// Parses a session ID, or takes it out of a pasted token. An audience token's ID looks the same.
pub fn session_id(text: &str) -> Result<SessionID, &'static str> {
    let of_audience_token = || SessionID::parse(text.strip_prefix("infra_aud_")?.split('.').next()?);
    SessionID::from_argument(text).or_else(|error| of_audience_token().ok_or(error))
}
