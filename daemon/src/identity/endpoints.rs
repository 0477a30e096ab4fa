//! Restricts which hosts a provider's endpoints may use. Code and client secret are sent there, so metadata alone
//! cannot choose them.
//!
//! A non-public address is rejected unless the configuration names that host. The configuration can pin hosts. A
//! change is logged and audited.

use std::collections::BTreeSet;
use std::fmt::Write;

use infra_shared::plain_url;
use jiff::Timestamp;
use tokio::sync::Mutex;
use url::{Host, Url};

use super::metadata::Metadata;
use super::unusable::{self, Unusable};
use super::{IdentityError, ProviderSettings};
use crate::audit::{Audit, Event};
use crate::outbound::{Outbound, SSRFGuard};
use crate::store::{EndpointHosts, RememberedEndpoints, Store, StoreError};

/// Whether a text is a host as used in configurations: `HOST`, or `HOST:PORT` if the port is not 443.
pub fn is_endpoint_host(text: &str) -> bool {
    let url = plain_url::parse(&format!("https://{text}/")).filter(|_| !text.contains('*'));
    url.is_some_and(|url| host_and_port(&url).as_deref() == Some(text))
}

/// The host of a URL as shown in configurations and logs.
fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether an endpoint is on the issuer's own host and port.
fn is_at_issuer(endpoint: &Url, issuer: &str) -> bool {
    let issuer = Url::parse(issuer).ok().and_then(|issuer| host_and_port(&issuer));
    issuer.is_some() && issuer == host_and_port(endpoint)
}

/// The hosts in the configuration: the issuer's and those of `endpointHosts`.
pub(super) fn configured_hosts(settings: &ProviderSettings) -> Vec<Host<String>> {
    let host = |url: &str| Some(Url::parse(url).ok()?.host()?.to_owned());
    let pinned = settings.endpoint_hosts.iter().flatten().map(|pinned| format!("https://{pinned}/"));
    std::iter::once(settings.issuer.clone()).chain(pinned).filter_map(|url| host(&url)).collect()
}

/// Describes how `now` differs from `before`, for people: `token_endpoint from a.example to b.example`.
pub fn describe_change(before: &EndpointHosts, now: &EndpointHosts) -> String {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut text = String::new();
    for name in names {
        let (before, now) = (before.get(name), now.get(name));
        if before != now {
            let shown = |host: Option<&String>| host.map_or("none", String::as_str).to_owned();
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{separator}{name} from {} to {}", shown(before), shown(now));
        }
    }
    text
}

/// Policy and memory for one provider's endpoint hosts.
#[derive(Default)]
pub(super) struct Endpoints {
    /// `None` for the development provider, which runs on this machine.
    guard: Option<SSRFGuard>,
    /// The hosts seen last. `None` without a store.
    history: Option<EndpointHistory>,
}

struct EndpointHistory {
    store: Store,
    audit: Audit,
    /// The stored hosts, once read.
    remembered: Mutex<Option<RememberedEndpoints>>,
}

impl Metadata {
    fn endpoints(&self) -> impl Iterator<Item = (&'static str, &Url)> {
        let required = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
        ];
        required.into_iter().filter_map(|(name, url)| Some((name, url?)))
    }

    pub(super) fn hosts(&self) -> EndpointHosts {
        let hosts =
            self.endpoints().map(|(name, url)| (name.to_owned(), host_and_port(url).unwrap_or_default()));
        hosts.collect()
    }
}

impl Endpoints {
    pub(super) fn guarded_by(guard: Option<SSRFGuard>) -> Self {
        Self { guard, history: None }
    }

    /// Remembers hosts in `store` from now on.
    pub(super) fn remember_in(&mut self, store: Store, audit: Audit) {
        self.history = Some(EndpointHistory { store, audit, remembered: Mutex::default() });
    }

    /// Rejects metadata with a forbidden endpoint.
    pub(super) async fn check(
        &self,
        metadata: &Metadata,
        settings: &ProviderSettings,
        outbound: &Outbound,
    ) -> Result<(), IdentityError> {
        let unusable = |reason: String| Unusable::new(reason, unusable::PIN_HOST).within("discovery");
        for (name, url) in metadata.endpoints() {
            let host = host_and_port(url).unwrap_or_default();
            let is_pinned = settings.endpoint_hosts.as_ref().is_none_or(|pinned| pinned.contains(&host));
            if !is_pinned && !is_at_issuer(url, &settings.issuer) {
                return Err(unusable(format!(
                    "{name} is at {host}, which is neither the issuer's host nor listed in `endpointHosts`"
                ))
                .into());
            }
            if let Some(guard) = &self.guard {
                let admitted = guard.admit(url, outbound.is_direct(url)).await;
                admitted.map_err(|error| unusable(format!("{name}: {error}")))?;
            }
        }
        Ok(())
    }

    /// Compares the endpoint hosts with the remembered ones, and stores them. If the store fails, logs it and lets
    /// sign-ins continue.
    pub(super) async fn remember(&self, metadata: &Metadata, settings: &ProviderSettings, now: Timestamp) {
        let Some(history) = &self.history else { return };
        if let Err(error) = history.compare(metadata.hosts(), settings, now).await {
            tracing::error!(provider = settings.name, %error, "cannot store the hosts of a provider's endpoints");
        }
    }
}

impl EndpointHistory {
    async fn compare(
        &self,
        hosts: EndpointHosts,
        settings: &ProviderSettings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (name, issuer) = (&settings.name, &settings.issuer);
        let mut remembered = self.remembered.lock().await;
        if remembered.is_none() {
            *remembered = self.store.provider_endpoints(name).await?;
        }
        // If the issuer differs, the operator changed the configuration.
        let before = remembered.take().filter(|remembered| remembered.issuer == *issuer);
        let next = match before {
            Some(before) if before.hosts == hosts => {
                *remembered = Some(before);
                return Ok(());
            }
            Some(before) => {
                let change = describe_change(&before.hosts, &hosts);
                tracing::warn!(
                    provider = name,
                    change,
                    "the provider's endpoints moved to other hosts: if the provider did not announce this, an \
                     attacker may receive your users' sign-ins; pin the hosts with `endpointHosts`"
                );
                self.audit.record(&Event::EndpointsChanged { provider: name, issuer, change: &change });
                RememberedEndpoints { issuer: issuer.clone(), hosts, changed: Some((now, before.hosts)) }
            }
            None => RememberedEndpoints { issuer: issuer.clone(), hosts, changed: None },
        };
        *remembered = Some(next.clone());
        self.store.remember_provider_endpoints(name.clone(), next).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_includes_port_unless_443() {
        for good in ["login.example.com", "10.0.0.1", "keys.example.com:8443", "[2001:db8::1]", "[::1]:8443"]
        {
            assert!(is_endpoint_host(good), "{good}");
        }
        for bad in [
            "",
            "LOGIN.example.com",
            "https://a.test",
            "a.test/",
            "a.test/path",
            "a.test:443",
            "a b",
            "user@a.test",
            "a.test?b",
            "*.a.test",
            "2130706433",
        ] {
            assert!(!is_endpoint_host(bad), "{bad}");
        }
    }

    #[test]
    fn issuer_host_needs_no_pin_at_its_own_port() {
        for (endpoint, issuer, is_own) in [
            ("https://a.test/token", "https://a.test", true),
            ("https://a.test:443/token", "https://a.test/tenant", true),
            ("https://a.test:8443/token", "https://a.test:8443", true),
            ("https://a.test:8443/token", "https://a.test", false),
            ("https://a.test/token", "https://a.test:8443", false),
            ("https://b.test/token", "https://a.test", false),
        ] {
            let url = endpoint.parse().expect("a URL");
            assert_eq!(is_at_issuer(&url, issuer), is_own, "{endpoint} {issuer}");
        }
    }

    #[test]
    fn operator_hosts_are_issuer_and_pinned_hosts() {
        let mut settings = ProviderSettings::unreachable();
        assert_eq!(configured_hosts(&settings), [Host::parse("okta.test").expect("a host")]);
        settings.endpoint_hosts = Some(vec!["keys.test:8443".to_owned(), "[::1]".to_owned()]);
        let expected = ["okta.test", "keys.test", "[::1]"].map(|host| Host::parse(host).expect("a host"));
        assert_eq!(configured_hosts(&settings), expected);
    }

    #[test]
    fn endpoint_change_lists_differences() {
        let hosts = |pairs: &[(&str, &str)]| -> EndpointHosts {
            pairs.iter().map(|(name, host)| ((*name).to_owned(), (*host).to_owned())).collect()
        };
        let before = hosts(&[("jwks_uri", "a"), ("token_endpoint", "a"), ("userinfo_endpoint", "a")]);
        let now = hosts(&[("jwks_uri", "a"), ("token_endpoint", "b"), ("revocation_endpoint", "c")]);
        assert_eq!(
            describe_change(&before, &now),
            "revocation_endpoint from none to c, token_endpoint from a to b, userinfo_endpoint from a to none"
        );
        assert_eq!(describe_change(&now, &now), "");
    }
}
