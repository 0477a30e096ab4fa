//! Fuzz targets for files in `~/.infra` and responses of a daemon. Run by `tests/fuzz`.
#![cfg_attr(
    all(test, windows),
    expect(dead_code, reason = "the corpora need the harness, which is for Unix")
)]

use infra_shared::api::{FinishLoginResponse, Problem, Server, StartLoginResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Config, Sessions};

/// A target's name, and the function that handles one input.
type Target = (&'static str, fn(&[u8]));

pub(crate) const FUZZ_TARGETS: &[Target] =
    &[("client_files", client_files), ("daemon_answers", daemon_answers)];

fn client_files(input: &[u8]) {
    says_the_same_again::<Config>(input);
    says_the_same_again::<Sessions>(input);
    if let Ok(sessions) = serde_json::from_slice::<Sessions>(input) {
        for (server, session) in &sessions.sessions {
            // The token's trust record is either usable or rejected.
            let _ = session.trust.to_trust();
            assert_eq!(server.to_string().parse().as_ref(), Ok(server));
            assert_eq!(session.token.expose().len(), 41);
        }
    }
}

fn daemon_answers(input: &[u8]) {
    says_the_same_again::<Server>(input);
    says_the_same_again::<StartLoginResponse>(input);
    says_the_same_again::<FinishLoginResponse>(input);
    says_the_same_again::<Problem>(input);
}

fn says_the_same_again<T: Serialize + DeserializeOwned>(input: &[u8]) {
    let Ok(contents) = serde_json::from_slice::<T>(input) else { return };
    let printed = serde_json::to_vec_pretty(&contents).expect("JSON");
    let again: T = serde_json::from_slice(&printed)
        .unwrap_or_else(|error| panic!("{error}: {}", printed.escape_ascii()));
    assert_eq!(serde_json::to_vec_pretty(&again).expect("JSON"), printed);
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn corpora_and_mutations_hold_invariants() {
        infra_harness::fuzz::replay(super::FUZZ_TARGETS);
    }
}
