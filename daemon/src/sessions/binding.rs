//! Which logins were meant for this daemon: those bound to one of its public URLs and to its pin.

use infra_shared::login_binding::BoundVerifier;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;

/// The origins and pins by which a client may have dialled and proven this daemon.
#[derive(Debug, Clone)]
pub struct Bindings {
    origins: Vec<Origin>,
    pins: Vec<Pin>,
}

impl Bindings {
    /// With `pins`, a login must be bound to one of them: whoever accepted this daemon otherwise accepted somebody else
    /// in its place. Without, the daemon serves with a certificate that public roots vouch for, and none is expected.
    pub fn new(origins: Vec<Origin>, pins: Vec<Pin>) -> Self {
        Self { origins, pins }
    }

    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Whether the login of `verifier` was started by a client that dialled and proved this daemon.
    pub fn admit(&self, verifier: &BoundVerifier) -> bool {
        self.origins.iter().any(|origin| {
            if self.pins.is_empty() {
                verifier.is_bound_to(origin, None)
            } else {
                self.pins.iter().any(|pin| verifier.is_bound_to(origin, Some(pin)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn a_login_for_one_of_the_names_and_the_pin_is_admitted() {
        let pin = Pin::of_public_key(b"ours");
        let bindings = Bindings::new(vec![origin("new.test"), origin("old.test")], vec![pin]);
        assert!(bindings.admit(&BoundVerifier::mint(&origin("old.test"), Some(&pin))));
        assert!(bindings.admit(&BoundVerifier::mint(&origin("new.test"), Some(&pin))));
    }

    #[test]
    fn a_login_for_another_daemon_is_not() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let bindings = Bindings::new(vec![origin("infra.test")], vec![ours]);
        assert!(!bindings.admit(&BoundVerifier::mint(&origin("infra.test"), Some(&theirs))));
        assert!(!bindings.admit(&BoundVerifier::mint(&origin("infra.test"), None)));
        assert!(!bindings.admit(&BoundVerifier::mint(&origin("other.test"), Some(&ours))));
    }

    #[test]
    fn with_a_public_certificate_no_pin_is_expected() {
        let bindings = Bindings::new(vec![origin("infra.test")], Vec::new());
        assert!(bindings.admit(&BoundVerifier::mint(&origin("infra.test"), None)));
        assert!(
            !bindings.admit(&BoundVerifier::mint(&origin("infra.test"), Some(&Pin::of_public_key(b"x"))))
        );
    }
}
