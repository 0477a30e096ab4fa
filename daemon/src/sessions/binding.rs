//! Decides if a login was meant for this daemon and provider. It must be bound to a public URL, a pin and the provider.

use std::sync::Arc;

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use jiff::Timestamp;

use crate::identity::ProviderSettings;
use crate::tls::DaemonIdentity;

/// Origins at which clients may dial this daemon, and what proves its identity there.
#[derive(Clone)]
pub struct Bindings {
    origins: Vec<Origin>,
    daemon_identity: Arc<DaemonIdentity>,
}

impl Bindings {
    /// A login must be bound to one of the daemon's pins. Otherwise the client may have accepted another daemon in its
    /// place. No pin is required for a name with a certificate from a public CA.
    pub fn new(origins: Vec<Origin>, daemon_identity: Arc<DaemonIdentity>) -> Self {
        Self { origins, daemon_identity }
    }

    pub fn daemon_identity(&self) -> &DaemonIdentity {
        &self.daemon_identity
    }

    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Whether the client that created `verifier` dialled and authenticated this daemon and chose `provider`. `now` is
    /// the time at which the login finishes.
    pub fn matches(&self, verifier: &BoundVerifier, provider: &ProviderSettings, now: Timestamp) -> bool {
        let pins = self.daemon_identity.pins_at(now);
        let ProviderSettings { name, issuer, .. } = provider;
        self.origins.iter().any(|origin| {
            let is_public = self.daemon_identity.is_public(origin.host());
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

    /// Whether the daemon accepts a login bound to this origin, pin, provider and issuer.
    fn admits(
        bindings: &Bindings,
        (host, pin): (&str, Option<&Pin>),
        (provider, issuer): (&str, &str),
    ) -> bool {
        let bound = LoginBinding { origin: &origin(host), pin, provider, issuer };
        bindings.matches(&BoundVerifier::mint(&bound), &settings(Allow::Everyone), Timestamp::MIN)
    }

    const OKTA: (&str, &str) = ("okta", "https://okta.test");

    #[test]
    fn login_bound_to_any_public_url_and_pin_is_accepted() {
        let pin = Pin::of_public_key(b"ours");
        let daemon_identity = Arc::new(DaemonIdentity::new(pin));
        let bindings = Bindings::new(vec![origin("new.test"), origin("old.test")], daemon_identity);
        assert!(admits(&bindings, ("old.test", Some(&pin)), OKTA));
        assert!(admits(&bindings, ("new.test", Some(&pin)), OKTA));
    }

    #[test]
    fn login_bound_to_another_daemon_is_rejected() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let bindings = Bindings::new(vec![origin("infra.test")], Arc::new(DaemonIdentity::new(ours)));
        assert!(!admits(&bindings, ("infra.test", Some(&theirs)), OKTA));
        assert!(!admits(&bindings, ("infra.test", None), OKTA));
        assert!(!admits(&bindings, ("other.test", Some(&ours)), OKTA));
    }

    #[test]
    fn login_bound_to_another_provider_or_issuer_is_rejected() {
        let ours = Pin::of_public_key(b"ours");
        let bindings = Bindings::new(vec![origin("infra.test")], Arc::new(DaemonIdentity::new(ours)));
        for other in
            [("other", "https://okta.test"), ("okta", "https://other.test"), ("okta", "https://okta.test/")]
        {
            assert!(!admits(&bindings, ("infra.test", Some(&ours)), other), "{other:?}");
        }
    }

    #[test]
    fn public_certificate_needs_no_pin() {
        let (ours, theirs) = (Pin::of_public_key(b"ours"), Pin::of_public_key(b"theirs"));
        let daemon_identity = Arc::new(DaemonIdentity::new(ours));
        daemon_identity.set_public(vec!["infra.test".to_owned()]);
        let bindings = Bindings::new(vec![origin("infra.test"), origin("10.0.0.1")], daemon_identity);
        assert!(admits(&bindings, ("infra.test", None), OKTA));
        assert!(
            admits(&bindings, ("infra.test", Some(&ours)), OKTA),
            "a client that pinned the CA can still sign in"
        );
        assert!(!admits(&bindings, ("infra.test", Some(&theirs)), OKTA));
        assert!(!admits(&bindings, ("10.0.0.1", None), OKTA));
    }
}
