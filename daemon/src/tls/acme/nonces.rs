//! Steps that are done again where the authority does not take its own nonce (RFC 8555 §6.5).

use instant_acme::Problem;

/// How often a step is tried; each of these tries is three requests.
pub(super) const TRIES: usize = 8;

/// Does a step again while the authority refuses its nonce: nothing has happened there then. (A function of an
/// asynchronous closure could not run on a task: nobody can say yet that what it returns may change threads.)
macro_rules! with_nonces {
    ($step:expr) => {{
        let mut tries = 1;
        loop {
            match $step.await {
                Err(error)
                    if tries < $crate::tls::acme::nonces::TRIES
                        && $crate::tls::acme::nonces::is_nonce_refused(&error) =>
                {
                    tries += 1
                }
                done => break done,
            }
        }
    }};
}

pub(super) use with_nonces;

pub(super) fn is_nonce_refused(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem) if is_kind(problem, "badNonce"))
}

/// RFC 8555 §6.7.
pub(super) fn is_kind(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref().and_then(|text| text.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}
