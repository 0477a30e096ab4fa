//! Tries everything that a login will need of a provider, as far as that goes without a person.

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::random;
use reqwest::header::LOCATION;
use secrecy::SecretString;
use url::Url;

use super::discovery::Metadata;
use super::{
    AuthorizationRequest, CodeGrant, IdentityError, OFFLINE_ACCESS, Provider, authorization_url,
    code_exchange,
};
use crate::outbound::Authorization;
use crate::secrets::ReadReason;

/// What was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub outcome: Outcome,
}

/// How it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Works,
    /// Not tried, or without a clear answer.
    Unknown {
        cause: String,
    },
    Fails {
        cause: String,
        advice: String,
        is_away: bool,
    },
}

/// No page of a provider that matters here is longer.
const MAX_BYTES: usize = 1024 * 1024;

impl Provider {
    /// Tries discovery, keys, client secret, client authentication and redirect URIs, in this order. What depends on
    /// something that failed is not tried. Nothing of a secret is in the findings.
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let secret_reference = self.settings.client_secret.to_string();
        let secret = self.backends.read(&self.settings.client_secret, ReadReason::Check).await;
        findings.push(Finding {
            what: format!("client secret {secret_reference}"),
            outcome: match &secret {
                Ok(_) => Outcome::Works,
                Err(error) => Outcome::Fails {
                    cause: error.to_string(),
                    advice: "correct `clientSecret`, or what it refers to".to_owned(),
                    is_away: matches!(error, crate::secrets::ReadError::Unreachable(_)),
                },
            },
        });
        let metadata = self.discovery.metadata(&self.outbound, &self.settings, self.clock.now()).await;
        let failed = |error: &IdentityError, advice: &str| Outcome::Fails {
            cause: error.to_string(),
            advice: advice.to_owned(),
            is_away: matches!(error, IdentityError::Unavailable(_)),
        };
        let metadata = match metadata {
            Ok(metadata) => {
                findings.push(Finding { what: "discovery".to_owned(), outcome: Outcome::Works });
                metadata
            }
            Err(error) => {
                let outcome = failed(&error, "check `issuer`, `caFile`, and the way to the provider");
                findings.push(Finding { what: "discovery".to_owned(), outcome });
                return findings;
            }
        };
        let keys = self.signing_keys.keys(&self.outbound, &metadata.jwks_uri, self.clock.now()).await;
        let outcome = keys
            .map_or_else(|error| failed(&error, "check the way to the provider's keys"), |_| Outcome::Works);
        findings.push(Finding { what: "signing keys".to_owned(), outcome });
        if self.settings.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            findings.push(Finding { what: "refresh tokens".to_owned(), outcome: refresh_tokens(&metadata) });
        }
        if secret.is_ok() {
            let outcome = self.try_client(&metadata).await;
            findings.push(Finding { what: "client authentication".to_owned(), outcome });
        }
        for uri in &self.settings.redirect_uris {
            let outcome = self.try_redirect_uri(&metadata, uri).await;
            findings.push(Finding { what: format!("redirect URI {uri}"), outcome });
        }
        findings
    }

    /// Exchanges a code that nobody issued: whoever is not the client is told so before the code is looked at.
    async fn try_client(&self, metadata: &Metadata) -> Outcome {
        let verifier = verifier();
        let (code, nonce) = (SecretString::from(random::alphanumeric(32)), SecretString::from("unused"));
        let redirect_uri = self.settings.redirect_uris.first().map_or("", String::as_str);
        let grant = CodeGrant { code: &code, verifier: &verifier, redirect_uri, nonce: &nonce };
        let reason = ReadReason::Check;
        let tried = code_exchange::exchange(
            &self.outbound,
            metadata,
            &self.settings,
            (&self.backends, reason),
            &grant,
        );
        match tried.await {
            Err(IdentityError::Refused(cause)) if cause.ends_with("invalid_grant") => Outcome::Works,
            Err(error @ IdentityError::ClientRefused { .. }) => Outcome::Fails {
                cause: error.to_string(),
                advice: "compare `clientID`, `clientAuthentication` and the secret with the provider's"
                    .to_owned(),
                is_away: false,
            },
            Err(error @ IdentityError::Unavailable(_)) => Outcome::Fails {
                cause: error.to_string(),
                advice: "try again in a while".to_owned(),
                is_away: true,
            },
            Err(error) => Outcome::Unknown { cause: error.to_string() },
            Ok(_) => Outcome::Unknown { cause: "the provider took a code that it never issued".to_owned() },
        }
    }

    /// Asks for a code without showing a page (`prompt=none`, OpenID Connect Core §3.1.2.1): to a redirect URI that is
    /// registered the provider sends even its refusal; to any other it must not (RFC 6749 §4.1.2.1).
    async fn try_redirect_uri(&self, metadata: &Metadata, redirect_uri: &str) -> Outcome {
        let (state, nonce) = (random::alphanumeric(43), SecretString::from(random::alphanumeric(43)));
        let challenge = verifier().challenge();
        let request =
            AuthorizationRequest { redirect_uri, state: &state, nonce: &nonce, code_challenge: &challenge };
        let mut url: Url =
            authorization_url::build(&metadata.authorization_endpoint, &self.settings, &request);
        url.query_pairs_mut().append_pair("prompt", "none");
        let answer = match self.outbound.get(&url, Authorization::None, MAX_BYTES).await {
            Ok(answer) => answer,
            Err(error) => {
                return Outcome::Fails {
                    cause: error.to_string(),
                    advice: "try again in a while".to_owned(),
                    is_away: true,
                };
            }
        };
        let leads_there = |location: &str| {
            location.strip_prefix(redirect_uri).is_some_and(|rest| rest.starts_with(['?', '#']))
        };
        // A redirect is never followed.
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        match (answer.status, location) {
            (300..=399, Some(location)) if leads_there(location) => Outcome::Works,
            (400..=499, _) => Outcome::Fails {
                cause: format!("the provider refuses it (status {})", answer.status),
                advice: "register exactly this redirect URI at the provider, or correct `redirectPorts`"
                    .to_owned(),
                is_away: false,
            },
            (status, _) => Outcome::Unknown {
                cause: format!("the provider does not say without a person (status {status})"),
            },
        }
    }
}

/// Whether sessions can be asked about again, as far as the provider says so without a person.
fn refresh_tokens(metadata: &Metadata) -> Outcome {
    match metadata.gives_refresh_tokens {
        Some(true) => Outcome::Works,
        Some(false) => Outcome::Fails {
            cause: "the provider does not say that it gives them".to_owned(),
            advice:
                "allow the grant type `refresh_token` and the scope `offline_access` for this client, or set \
                     `sessions.revalidateEvery` to null"
                    .to_owned(),
            is_away: false,
        },
        None => Outcome::Unknown { cause: "the provider does not say whether it gives them".to_owned() },
    }
}

/// One that no login uses.
fn verifier() -> BoundVerifier {
    let origin = "https://infrad.invalid".parse().expect("an address");
    BoundVerifier::mint(&LoginBinding { origin: &origin, pin: None, provider: "", issuer: "" })
}
