//! Which logins were meant for this daemon and a provider of it: those bound to a public URL, to the pin and to the provider.

use std::sync::Arc;

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use jiff::Timestamp;

use crate::identity::ProviderSettings;
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

    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Whether the login of `verifier`, which is finished at `now`, was started by a client that dialled and proved this
    /// daemon, and chose `provider` there.
    pub fn admit(&self, verifier: &BoundVerifier, provider: &ProviderSettings, now: Timestamp) -> bool {
        let pins = self.proofs.pins_at(now);
        let ProviderSettings { name, issuer, .. } = provider;
        self.origins.iter().any(|origin| {
            let is_public = self.proofs.is_public(origin.host());
            let is_bound = |pin| verifier.is_bound_to(&LoginBinding { origin, pin, provider: name, issuer });
            pins.iter().any(|pin| is_bound(Some(pin))) || (is_public && is_bound(None))
        })
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::super::tests::settings;
    use super::*;
    use crate::identity::Allow;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    /// Whether a login is admitted that was bound to this origin, pin, provider and issuer.
    fn admits(
        bindings: &Bindings,
        (host, pin): (&str, Option<&Pin>),
        (provider, issuer): (&str, &str),
    ) -> bool {
        let bound = LoginBinding { origin: &origin(host), pin, provider, issuer };
        bindings.admit(&BoundVerifier::mint(&bound), &settings(Allow::Everyone), Timestamp::MIN)
    }

    const OKTA: (&str, &str) = ("okta", "https://okta.test");

    #[test]
    fn a_login_for_one_of_the_names_and_the_pin_is_admitted() {
        let pin = Pin::of_public_key(b"ours");
        let proofs = Arc::new(Proofs::new(pin));
        let bindings = Bindings::new(vec![origin("new.test"), origin("old.test")], proofs);
        assert!(admits(&bindings, ("old.test", Some(&pin)), OKTA));
        assert!(admits(&bindings, ("new.test", Some(&pin)), OKTA));
    }

    #[test]
    fn a_login_for_another_daemon_is_not() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let bindings = Bindings::new(vec![origin("infra.test")], Arc::new(Proofs::new(ours)));
        assert!(!admits(&bindings, ("infra.test", Some(&theirs)), OKTA));
        assert!(!admits(&bindings, ("infra.test", None), OKTA));
        assert!(!admits(&bindings, ("other.test", Some(&ours)), OKTA));
    }

    #[test]
    fn login_with_another_provider_or_issuer_is_not_admitted() {
        let ours = Pin::of_public_key(b"ours");
        let bindings = Bindings::new(vec![origin("infra.test")], Arc::new(Proofs::new(ours)));
        for other in
            [("other", "https://okta.test"), ("okta", "https://other.test"), ("okta", "https://okta.test/")]
        {
            assert!(!admits(&bindings, ("infra.test", Some(&ours)), other), "{other:?}");
        }
    }

    #[test]
    fn for_a_name_with_a_public_certificate_no_pin_is_expected() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let proofs = Arc::new(Proofs::new(ours));
        proofs.set_public(vec!["infra.test".to_owned()]);
        let bindings = Bindings::new(vec![origin("infra.test"), origin("10.0.0.1")], proofs);
        assert!(admits(&bindings, ("infra.test", None), OKTA));
        assert!(admits(&bindings, ("infra.test", Some(&ours)), OKTA), "who pinned it goes on as before");
        assert!(!admits(&bindings, ("infra.test", Some(&theirs)), OKTA));
        assert!(!admits(&bindings, ("10.0.0.1", None), OKTA));
    }
}
