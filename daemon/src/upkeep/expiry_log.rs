//! Logs that a certificate expires soon or has expired: at the start, when that begins, and once a day from then on.

use jiff::{SignedDuration, Timestamp};

use crate::tls::{CertificateState, Expiry, Source};

const RUNBOOK: &str = "docs/runbooks.md#a-certificate-expires-or-has-expired";
const PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// What was logged last, and when.
#[derive(Default)]
pub(super) struct ExpiryLog(Vec<(Source, Expiry, Timestamp)>);

impl ExpiryLog {
    pub(super) fn look(&mut self, certificates: &[CertificateState], now: Timestamp) {
        for (source, expiry, expires_at) in self.due(certificates, now) {
            let source = source.name();
            if expiry == Expiry::Past {
                tracing::error!(source, %expires_at, runbook = RUNBOOK, "the certificate has expired, and clients reject it");
            } else {
                tracing::warn!(source, %expires_at, runbook = RUNBOOK, "the certificate expires soon");
            }
        }
    }

    /// The certificates to log now.
    fn due(&mut self, certificates: &[CertificateState], now: Timestamp) -> Vec<(Source, Expiry, Timestamp)> {
        let mut due = Vec::new();
        for certificate in certificates {
            let source = certificate.source;
            let last = self.0.iter().position(|(logged, ..)| *logged == source);
            let (Some(expiry), Some(expires_at)) = (certificate.expiry(now), certificate.expires_at) else {
                continue;
            };
            let is_recent = last
                .and_then(|last| self.0.get(last))
                .is_some_and(|(_, logged, at)| *logged == expiry && now.duration_since(*at) < PAUSE);
            if expiry != Expiry::Later && is_recent {
                continue;
            }
            if let Some(last) = last {
                self.0.swap_remove(last);
            }
            if expiry != Expiry::Later {
                self.0.push((source, expiry, now));
                due.push((source, expiry, expires_at));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_logged_when_it_begins_and_once_a_day() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let certificate = serde_json::from_value::<CertificateState>(serde_json::json!({
            "source": "files", "names": [], "issuedAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-03-12T00:00:00Z",
            "daysLeft": 1, "failures": 0, "lastError": null, "lastErrorAt": null, "waitingFor": null,
        }))
        .expect("a state");
        let mut log = ExpiryLog::default();
        for (now, expected) in [
            ("2026-02-01T00:00:00Z", None),
            ("2026-03-08T00:00:00Z", Some(Expiry::Soon)),
            ("2026-03-08T23:59:00Z", None),
            ("2026-03-09T00:00:00Z", Some(Expiry::Soon)),
            ("2026-03-12T00:00:00Z", Some(Expiry::Past)),
            ("2026-03-12T00:01:00Z", None),
        ] {
            let due = log.due(std::slice::from_ref(&certificate), at(now));
            assert_eq!(due.first().map(|(_, expiry, _)| *expiry), expected, "{now}");
        }
    }
}
