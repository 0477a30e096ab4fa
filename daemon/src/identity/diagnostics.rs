//! Checks everything that a login needs from a provider, as far as possible without a user.

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::random;
use jiff::fmt::rfc2822;
use reqwest::header::{ACCEPT, AGE, DATE, HeaderValue, LOCATION};
use secrecy::SecretString;

use super::discovery;
use super::id_token::LEEWAY;
use super::metadata::Metadata;
use super::{AuthorizationRequest, CodeExchange, IdentityError, OFFLINE_ACCESS, Provider, authorization_url};
use crate::outbound::{Method, Request};
use crate::secrets::ReadReason;
use crate::store::EndpointHosts;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    pub what: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Works,
    /// The check was skipped, or its result is unclear.
    Unknown {
        cause: String,
    },
    Fails {
        cause: String,
        hint: String,
        is_transient: bool,
    },
}

/// RFC 9110 §12.5.1: as a browser sends it. Some providers refuse a sign-in page to programs.
const ACCEPTED_BY_BROWSERS: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Longer than any relevant page of a provider.
const MAX_BYTES: usize = 1024 * 1024;

impl Provider {
    /// Checks discovery, keys, client secret, client authentication and redirect URIs, in this order. Skips checks
    /// that depend on a failed one. Findings contain no secrets.
    pub async fn diagnose(&self) -> Vec<CheckResult> {
        let mut findings = Vec::new();
        let secret_reference = self.settings.client_secret.to_string();
        let secret = self.backends.read(&self.settings.client_secret, ReadReason::Check).await;
        findings.push(CheckResult {
            what: format!("client secret {secret_reference}"),
            outcome: match &secret {
                Ok(_) => Outcome::Works,
                Err(error) => Outcome::Fails {
                    cause: error.to_string(),
                    hint: error.hint().to_owned(),
                    is_transient: error.is_transient(),
                },
            },
        });
        let metadata = self.discovery.metadata(&self.outbound, &self.settings, self.clock.now()).await;
        let failed = |error: &IdentityError| Outcome::Fails {
            cause: error.cause(),
            hint: error.hint().to_owned(),
            is_transient: matches!(error, IdentityError::Unavailable(_)),
        };
        let metadata = match metadata {
            Ok(metadata) => {
                findings.push(CheckResult { what: "discovery".to_owned(), outcome: Outcome::Works });
                findings.push(self.compare_clocks().await);
                metadata
            }
            Err(error) => {
                findings.push(CheckResult { what: "discovery".to_owned(), outcome: failed(&error) });
                return findings;
            }
        };
        let keys = self.signing_keys.keys(self.key_source(&metadata), self.clock.now()).await;
        let outcome = keys.map_or_else(|error| failed(&error), |_| Outcome::Works);
        findings.push(CheckResult { what: "signing keys".to_owned(), outcome });
        if metadata.signs_with_allowed == Some(false) {
            let outcome = Outcome::Fails {
                cause: "the provider offers none of the algorithms in `signingAlgorithms`".to_owned(),
                hint: "add one of those that its metadata list as `id_token_signing_alg_values_supported`"
                    .to_owned(),
                is_transient: false,
            };
            findings.push(CheckResult { what: "signing algorithms".to_owned(), outcome });
        }
        if self.settings.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            findings
                .push(CheckResult { what: "refresh tokens".to_owned(), outcome: refresh_tokens(&metadata) });
        }
        if secret.is_ok() {
            let outcome = self.try_client(&metadata).await;
            findings.push(CheckResult { what: "client authentication".to_owned(), outcome });
        }
        for uri in &self.settings.redirect_uris {
            let outcome = self.try_redirect_uri(&metadata, uri).await;
            findings.push(CheckResult { what: format!("redirect URI {uri}"), outcome });
        }
        findings
    }

    /// Returns the hosts of the provider's endpoints, if discovery succeeds.
    pub async fn endpoint_hosts(&self) -> Option<EndpointHosts> {
        Some(self.metadata().await.ok()?.hosts())
    }

    /// Compares the `Date` of a response with the local clock, allowing for the round trip.
    async fn compare_clocks(&self) -> CheckResult {
        let what = "clock".to_owned();
        let response = match discovery::request(&self.outbound, &self.settings.issuer).await {
            Ok(response) => response,
            Err(error) => {
                return CheckResult { what, outcome: Outcome::Unknown { cause: error.to_string() } };
            }
        };
        let text = |name| response.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let date = text(DATE).and_then(|text| rfc2822::parse(text).ok());
        // RFC 9111 §5.1: how long a cache held the response.
        let age = text(AGE).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
        let Some(date) = date else {
            let cause = "the provider's response has no `Date` header".to_owned();
            return CheckResult { what, outcome: Outcome::Unknown { cause } };
        };
        let theirs = date.timestamp().as_second().saturating_add(age);
        CheckResult { what, outcome: clocks(self.clock.now().as_second().saturating_sub(theirs)) }
    }

    /// Exchanges an invented code: the provider rejects a wrong client before it checks the code.
    async fn try_client(&self, metadata: &Metadata) -> Outcome {
        let verifier = verifier();
        let (code, nonce) = (SecretString::from(random::alphanumeric(32)), SecretString::from("unused"));
        let redirect_uri = self.settings.redirect_uris.first().map_or("", String::as_str);
        let code_exchange = CodeExchange { code: &code, verifier: &verifier, redirect_uri, nonce: &nonce };
        match self.exchange_code(metadata, ReadReason::Check, &code_exchange, &mut None).await {
            Err(IdentityError::Rejected(cause)) if cause.ends_with("invalid_grant") => Outcome::Works,
            Err(error @ IdentityError::InvalidClient { .. }) => Outcome::Fails {
                cause: error.to_string(),
                hint: "compare `clientID`, `clientAuthentication` and the secret with the client's settings at the \
                         provider"
                    .to_owned(),
                is_transient: false,
            },
            Err(error @ IdentityError::Unavailable(_)) => Outcome::Fails {
                cause: error.to_string(),
                hint: "try again in a few minutes; if it keeps failing, check your network and the provider's \
                         status page".to_owned(),
                is_transient: true,
            },
            Err(error) => Outcome::Unknown { cause: error.cause() },
            Ok(_) => Outcome::Unknown { cause: "the provider accepted a code that it never issued".to_owned() },
        }
    }

    /// Requests a code without showing a page (`prompt=none`, OpenID Connect Core §3.1.2.1). The provider sends
    /// errors to a registered redirect URI, and must not redirect to any other (RFC 6749 §4.1.2.1).
    async fn try_redirect_uri(&self, metadata: &Metadata, redirect_uri: &str) -> Outcome {
        let (state, nonce) = (random::alphanumeric(43), SecretString::from(random::alphanumeric(43)));
        let challenge = verifier().challenge();
        let request =
            AuthorizationRequest { redirect_uri, state: &state, nonce: &nonce, code_challenge: &challenge };
        let mut url = match authorization_url::build(metadata, &self.settings, &request) {
            Ok(url) => url,
            Err(error) => return Outcome::Unknown { cause: error.cause() },
        };
        url.query_pairs_mut().append_pair("prompt", "none");
        let request = Request::new(Method::GET, url).header(ACCEPT, ACCEPTED_BY_BROWSERS);
        let response = match self.outbound.send(&request, MAX_BYTES).await {
            Ok(response) => response,
            Err(error) => {
                return Outcome::Fails {
                    cause: error.to_string(),
                    hint: "try again in a few minutes; if it keeps failing, check your network and the provider's \
                             status page".to_owned(),
                    is_transient: true,
                };
            }
        };
        let leads_there = |location: &str| {
            location.strip_prefix(redirect_uri).is_some_and(|rest| rest.starts_with(['?', '#']))
        };
        // Redirects are not followed.
        let location = response.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        match (response.status, location) {
            (300..=399, Some(location)) if leads_there(location) => Outcome::Works,
            // RFC 6749 §4.1.2.1 requires an error page for the user; 400 means the same for a program.
            (400, _) => Outcome::Fails {
                cause: "the provider rejects it (status 400)".to_owned(),
                hint: "register exactly this redirect URI at the provider, or correct `redirectPorts`"
                    .to_owned(),
                is_transient: false,
            },
            (status, _) => Outcome::Unknown {
                cause: format!("the provider reveals this only during a real sign-in (status {status})"),
            },
        }
    }
}

/// Evaluates how many seconds the local clock is ahead of the provider's.
fn clocks(ahead: i64) -> Outcome {
    if ahead.abs() <= LEEWAY {
        return Outcome::Works;
    }
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    Outcome::Fails {
        cause: format!("this host's clock is {} s {side} the provider's", ahead.abs()),
        hint: "synchronize this host's clock with NTP: `timedatectl set-ntp true`".to_owned(),
        is_transient: false,
    }
}

/// Whether sessions can be revalidated, as far as the metadata show.
fn refresh_tokens(metadata: &Metadata) -> Outcome {
    match metadata.offers_refresh_tokens {
        Some(true) => Outcome::Works,
        // Discovery §3: both lists may omit supported values.
        Some(false) => Outcome::Unknown {
            cause: "the provider's metadata do not list refresh tokens: allow the grant type `refresh_token` and the \
                    scope `offline_access` for this client; infrad logs a warning if a sign-in brings no refresh \
                    token"
                .to_owned(),
        },
        None => Outcome::Unknown { cause: "the provider's metadata do not say if it issues refresh tokens".to_owned() },
    }
}

/// A verifier that no login uses.
fn verifier() -> BoundVerifier {
    let origin = "https://infrad.invalid".parse().expect("an address");
    BoundVerifier::mint(&LoginBinding { origin: &origin, pin: None, provider: "", issuer: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_difference_beyond_leeway_is_reported() {
        for (ahead, told) in [
            (0, None),
            (-60, None),
            (60, None),
            (61, Some("61 s ahead of")),
            (-172_800, Some("172800 s behind")),
        ] {
            match (clocks(ahead), told) {
                (Outcome::Works, None) => {}
                (Outcome::Fails { cause, is_transient: false, .. }, Some(told)) => {
                    assert!(cause.contains(told), "{cause}");
                }
                (outcome, _) => panic!("{ahead}: {outcome:?}"),
            }
        }
    }
}
