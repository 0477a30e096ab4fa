//! What the daemon announces about its certificates, and how it follows the other members of a shared store.

use std::sync::PoisonError;
use std::time::Duration;

use infra_shared::ca_rollover::Statement;
use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};

use super::{Certificates, Other};
use crate::keys::TICKET_LIFETIME;
use crate::store::CertificatesVersion;
use crate::tls::TlsError;
use crate::tls::acme::Stored;
use crate::tls::chain::covers;

/// How long another member may serve the previous CA or certificate.
const FOLLOWING: Duration = Duration::from_secs(5);
/// How long an announcement is valid, how often it is renewed, and when one that failed is retried.
const ANNOUNCEMENT_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
const ANNOUNCEMENT_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
const ANNOUNCEMENT_RETRY: SignedDuration = SignedDuration::from_mins(1);

/// The number of an announcement.
#[derive(Clone, Copy)]
enum Numbering {
    /// A higher one if the announcement changed.
    New,
    /// That of the same announcement of another member. Without one, the announcement stays as it was.
    Existing,
}

impl Certificates {
    /// Adopts what other members change in a shared store.
    pub(super) async fn follow_members(&self) {
        let (mut followed, mut is_failing) = (None, false);
        while self.store.is_shared() {
            match self.follow(&mut followed).await {
                Ok(()) => is_failing = false,
                Err(_) if is_failing => {}
                Err(error) if error.is_lost_authority() => {
                    is_failing = true;
                    tracing::error!(
                        %error,
                        "keeping the CA of this daemon, and storing it again: find out who can write to the database"
                    );
                }
                // The heartbeat logs an outage.
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "cannot read the certificates that other members may have changed");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot read the certificates that other members may have changed");
                }
            }
            tokio::time::sleep(FOLLOWING).await;
        }
    }

    /// Reads certificates and the announcement if they changed since `followed`.
    pub(in crate::tls) async fn follow(
        &self,
        followed: &mut Option<CertificatesVersion>,
    ) -> Result<(), TlsError> {
        // Read first, so that a change in between is followed the next time.
        let version = self.store.certificates_version().await?;
        if version == *followed {
            return Ok(());
        }
        let mut is_changed = self.local.reload().await.inspect_err(|error| {
            if error.is_lost_authority() {
                self.local_history.failed(self.clock.now(), &error.to_string());
            }
        })?;
        if let Other::Acme(acme) = &self.other {
            is_changed |= acme.serve_stored().await? == Stored::New;
        }
        // Members with different configurations announce different things: only an own change gets a new number.
        self.publish_as(if is_changed { Numbering::New } else { Numbering::Existing }).await?;
        *followed = version;
        Ok(())
    }

    pub(super) fn is_announcement_due(&self) -> bool {
        let announce_at = *self.announce_at.lock().unwrap_or_else(PoisonError::into_inner);
        let left = announce_at.duration_since(self.clock.now());
        // A clock that was set back does not delay it.
        left <= SignedDuration::ZERO || left > ANNOUNCEMENT_INTERVAL
    }

    fn announce_in(&self, time: SignedDuration) {
        let at = self.clock.now().checked_add(time).unwrap_or(Timestamp::MAX);
        *self.announce_at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    pub(super) async fn publish_or_log(&self) {
        if let Err(error) = self.publish().await {
            self.announce_in(ANNOUNCEMENT_RETRY);
            tracing::error!(%error, "cannot update the announcement of certificates");
        }
    }

    pub(in crate::tls) async fn publish(&self) -> Result<(), TlsError> {
        self.publish_as(Numbering::New).await
    }

    /// Publishes the current certificates and the announced ones, for logins and clients.
    async fn publish_as(&self, numbering: Numbering) -> Result<(), TlsError> {
        let _guard = self.publishing.lock().await;
        let now = self.clock.now();
        let authority = self.local.authority();
        let names = self.resolver.chain().map(|chain| chain.names.clone());
        self.daemon_identity.set_public(names.unwrap_or_default());
        // Logins that started under the previous CA may still finish.
        let until = now.checked_add(TICKET_LIFETIME).unwrap_or(Timestamp::MAX);
        self.daemon_identity.replace_pin(authority.pin(), until);
        // Another member may switch to the next CA some seconds earlier.
        self.daemon_identity.set_next_pin(self.local.next().map(|(pin, _)| pin));

        let mut statement = Statement {
            servers: self.servers.clone(),
            public: self.public_servers(),
            pin: self.local.next().map(|(pin, _)| pin),
            sequence: 0,
            iat: 0,
            exp: 0,
        };
        let says_something = statement.pin.is_some() || !statement.public.is_empty();
        let announced = if says_something {
            serde_json::to_string(&statement).expect("a statement is plain JSON")
        } else {
            String::new()
        };
        statement.sequence = match numbering {
            Numbering::New => self.store.number_announcement(announced, now).await?,
            Numbering::Existing => match self.store.find_announcement_number(&announced, now).await? {
                Some(number) => number,
                None => return Ok(()),
            },
        };
        statement.iat = now.as_second();
        statement.exp = now.checked_add(ANNOUNCEMENT_LIFETIME).unwrap_or(Timestamp::MAX).as_second();
        let signed = (statement.sequence > 0)
            .then(|| statement.sign(authority.certificate(), &authority.private_key()))
            .flatten();
        self.daemon_identity.announce(statement.sequence, signed);
        self.announce_in(ANNOUNCEMENT_INTERVAL);
        Ok(())
    }

    /// The public URLs whose certificate is publicly trusted.
    fn public_servers(&self) -> Vec<Origin> {
        let is_public = match &self.other {
            Other::None => false,
            Other::Acme(acme) => acme.is_public(),
            Other::Files(files) => files.is_public(),
        };
        // Only served names count. A name that never resolved here may belong to another operator.
        let Some(chain) = self.resolver.chain().filter(|_| is_public) else { return Vec::new() };
        let is_public = |origin: &&Origin| covers(&chain.names, origin.host());
        self.servers.iter().filter(is_public).cloned().collect()
    }
}
