//! What identifies this daemon to clients: the pins that bind logins, and the current announcement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use infra_shared::pin::Pin;
use jiff::Timestamp;

use super::chain::covers;

/// Shared by the certificate source and the login checks.
pub struct DaemonIdentity {
    identity: RwLock<Inner>,
    /// The announcement's sequence number; 0 if there is none. Atomic, because every validation of a session reads it.
    sequence: AtomicU64,
}

struct Inner {
    pin: Pin,
    /// The previous CA. Logins started under it may still finish.
    retired: Option<(Pin, Timestamp)>,
    /// The next CA, which another member may use already.
    next: Option<Pin>,
    /// The names with a certificate from another authority.
    public: Vec<String>,
    statement: Option<String>,
}

impl DaemonIdentity {
    /// Returns the state of a daemon whose own CA, with this pin, covers all its names.
    pub fn new(pin: Pin) -> Self {
        let identity = Inner { pin, retired: None, next: None, public: Vec::new(), statement: None };
        Self { identity: RwLock::new(identity), sequence: AtomicU64::new(0) }
    }

    /// The pins that identify the daemon under `host`; none if another authority's certificate covers it.
    pub fn pins_of(&self, host: Option<&str>) -> Vec<Pin> {
        self.read(|identity| {
            if host.is_some_and(|host| covers(&identity.public, host)) {
                Vec::new()
            } else {
                vec![identity.pin]
            }
        })
    }

    /// The pins that a login finishing now may be bound to. Only this daemon has the keys for them.
    pub fn pins_at(&self, now: Timestamp) -> Vec<Pin> {
        self.read(|identity| {
            let retired = identity.retired.filter(|(_, until)| now < *until).map(|(pin, _)| pin);
            [Some(identity.pin), retired, identity.next].into_iter().flatten().collect()
        })
    }

    /// Whether another authority's certificate covers `host`.
    pub fn is_public(&self, host: &str) -> bool {
        self.read(|identity| covers(&identity.public, host))
    }

    /// The current announcement as a signed statement.
    pub fn statement(&self) -> Option<String> {
        self.read(|identity| identity.statement.clone())
    }

    /// The announcement's sequence number, if there is one.
    pub fn sequence(&self) -> Option<u64> {
        Some(self.sequence.load(Ordering::Relaxed)).filter(|sequence| *sequence > 0)
    }

    /// Switches to the CA with `pin`. The previous one stays valid until `until` for logins in progress.
    pub(super) fn replace_pin(&self, pin: Pin, until: Timestamp) {
        self.write(|identity| {
            if identity.pin != pin {
                identity.retired = Some((identity.pin, until));
                identity.pin = pin;
            }
        });
    }

    pub(super) fn set_next_pin(&self, next: Option<Pin>) {
        self.write(|identity| identity.next = next);
    }

    pub(crate) fn set_public(&self, names: Vec<String>) {
        self.write(|identity| identity.public = names);
    }

    pub(super) fn announce(&self, sequence: u64, statement: Option<String>) {
        self.write(|identity| identity.statement = statement);
        self.sequence.store(sequence, Ordering::Relaxed);
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.identity.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn publicly_trusted_names_have_no_pin() {
        let pin = Pin::of_public_key(b"a");
        let identity = DaemonIdentity::new(pin);
        identity.set_public(vec!["infra.test".to_owned(), "*.wild.test".to_owned()]);
        assert_eq!(identity.pins_of(Some("infra.test")), []);
        assert_eq!(identity.pins_of(Some("INFRA.test")), []);
        assert_eq!(identity.pins_of(Some("a.wild.test")), []);
        assert_eq!(identity.pins_of(Some("a.b.wild.test")), [pin]);
        assert_eq!(identity.pins_of(Some("other.test")), [pin]);
        assert_eq!(identity.pins_of(None), [pin]);
    }

    #[test]
    fn previous_and_next_pin_are_accepted_for_logins() {
        let (before, after) = (Pin::of_public_key(b"a"), Pin::of_public_key(b"b"));
        let identity = DaemonIdentity::new(before);
        identity.replace_pin(after, at(300));
        assert_eq!(identity.pins_at(at(299)), [after, before]);
        assert_eq!(identity.pins_at(at(300)), [after]);
        identity.replace_pin(after, at(900));
        assert_eq!(identity.pins_at(at(300)), [after], "nothing was replaced");
        identity.set_next_pin(Some(before));
        assert_eq!(identity.pins_at(at(300)), [after, before], "another member may have switched");
    }
}
