//! Which logins were meant for this daemon: those bound to one of its public URLs and to its pin.

use std::sync::Arc;

use infra_shared::login_binding::BoundVerifier;
use infra_shared::origin::Origin;
use jiff::Timestamp;

use crate::tls::Proofs;

/// The origins by which a client may have dialled this daemon, and what may have proven it there.
#[derive(Clone)]
pub struct Bindings {
    origins: Vec<Origin>,
    proofs: Arc<Proofs>,
}

impl Bindings {
    /// A login must be bound to one of the daemon's pins: whoever accepted it otherwise accepted somebody else in its
    /// place. None is expected for a name for which another authority vouches.
    pub fn new(origins: Vec<Origin>, proofs: Arc<Proofs>) -> Self {
        Self { origins, proofs }
    }

    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Whether the login of `verifier`, which is finished at `now`, was started by a client that dialled and proved this
    /// daemon.
    pub fn admit(&self, verifier: &BoundVerifier, now: Timestamp) -> bool {
        let pins = self.proofs.pins_at(now);
        self.origins.iter().any(|origin| {
            let is_public = self.proofs.is_public(origin.host());
            pins.iter().any(|pin| verifier.is_bound_to(origin, Some(pin)))
                || (is_public && verifier.is_bound_to(origin, None))
        })
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn a_login_for_one_of_the_names_and_the_pin_is_admitted() {
        let pin = Pin::of_public_key(b"ours");
        let proofs = Arc::new(Proofs::new(pin));
        let bindings = Bindings::new(vec![origin("new.test"), origin("old.test")], proofs);
        let admit = |host| bindings.admit(&BoundVerifier::mint(&origin(host), Some(&pin)), Timestamp::MIN);
        assert!(admit("old.test"));
        assert!(admit("new.test"));
    }

    #[test]
    fn a_login_for_another_daemon_is_not() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let bindings = Bindings::new(vec![origin("infra.test")], Arc::new(Proofs::new(ours)));
        let admit = |host, pin| bindings.admit(&BoundVerifier::mint(&origin(host), pin), Timestamp::MIN);
        assert!(!admit("infra.test", Some(&theirs)));
        assert!(!admit("infra.test", None));
        assert!(!admit("other.test", Some(&ours)));
    }

    #[test]
    fn for_a_name_with_a_public_certificate_no_pin_is_expected() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let proofs = Arc::new(Proofs::new(ours));
        proofs.set_public(vec!["infra.test".to_owned()]);
        let bindings = Bindings::new(vec![origin("infra.test"), origin("10.0.0.1")], proofs);
        let admit = |host, pin| bindings.admit(&BoundVerifier::mint(&origin(host), pin), Timestamp::MIN);
        assert!(admit("infra.test", None));
        assert!(admit("infra.test", Some(&ours)), "who pinned it goes on as before");
        assert!(!admit("infra.test", Some(&theirs)));
        assert!(!admit("10.0.0.1", None));
    }
}
