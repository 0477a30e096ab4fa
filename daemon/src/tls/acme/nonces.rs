//! Retries requests whose nonce the authority rejected (RFC 8555 §6.5).

use instant_acme::Problem;

/// The maximum number of tries. Each try sends three requests.
pub(super) const TRIES: usize = 8;

/// Retries a step while the authority rejects its nonce, which means that the step had no effect. (A macro, because a
/// generic async closure cannot declare its future `Send`.)
macro_rules! with_nonces {
    ($step:expr) => {{
        let mut tries = 1;
        loop {
            match $step.await {
                Err(error)
                    if tries < $crate::tls::acme::nonces::TRIES
                        && $crate::tls::acme::nonces::is_nonce_rejected(&error) =>
                {
                    tries += 1
                }
                done => break done,
            }
        }
    }};
}

pub(super) use with_nonces;

pub(super) fn is_nonce_rejected(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem) if is_kind(problem, "badNonce"))
}

/// Compares a problem's type with an ACME error type (RFC 8555 §6.7).
pub(super) fn is_kind(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref().and_then(|text| text.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}
