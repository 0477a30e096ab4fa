//! Builds TLS client configurations and HTTP clients.

use std::sync::Arc;

use reqwest::dns::Resolve;

use rustls::ClientConfig;
#[cfg(feature = "blocking")]
use rustls::NamedGroup;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

#[cfg(feature = "blocking")]
use super::resolver::Resolver;
use super::verifier::Verifier;
#[cfg(feature = "blocking")]
use super::{KeyExchange, Way};
use super::{Limits, NoClient, Proxies, Trust};

/// Builds a TLS client configuration that accepts only `trust`. Requires TLS 1.3, or 1.2 with `allow_tls12`.
pub fn client_config(trust: &Trust, allow_tls12: bool) -> Result<ClientConfig, NoClient> {
    config_with(Arc::new(aws_lc_rs::default_provider()), trust, allow_tls12)
}

/// Like [`client_config`], without the hybrid key exchange.
#[cfg(feature = "blocking")]
fn classical_config(trust: &Trust, allow_tls12: bool) -> Result<ClientConfig, NoClient> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
    config_with(Arc::new(provider), trust, allow_tls12)
}

fn config_with(
    provider: Arc<CryptoProvider>,
    trust: &Trust,
    allow_tls12: bool,
) -> Result<ClientConfig, NoClient> {
    // RFC 9852: new protocols require TLS 1.3. Identity providers may be older.
    let versions: &[_] = if allow_tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("aws-lc-rs speaks both versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust, provider)?)
        .with_no_client_auth();
    // A connection carries one exchange, so HTTP/2 would only make the programs larger.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, NoClient> {
    Ok(match trust {
        Trust::System => Arc::new(
            rustls_platform_verifier::Verifier::new(provider)
                .map_err(|error| NoClient::SystemAuthorities(error.to_string()))?,
        ),
        _ => Arc::new(Verifier::new(trust, provider)?),
    })
}

/// Builds a client that follows no redirects, never retries, and sends nothing to a server that `trust` rejects.
///
/// `allow_tls12` is for identity providers; daemons use TLS 1.3 unless the operator configures otherwise. A connection
/// closes after one exchange, because the buffers of an idle connection would keep secrets in memory.
pub fn async_client(
    trust: &Trust,
    limits: Limits,
    allow_tls12: bool,
    proxies: &Proxies,
) -> Result<reqwest::Client, NoClient> {
    let builder = builder(client_config(trust, allow_tls12)?, limits, proxies);
    Ok(builder.pool_max_idle_per_host(0).build().expect(FIXED))
}

/// Like [`async_client`], but `resolver` looks up the names of proxies and of servers reached directly.
pub fn resolving_client(
    trust: &Trust,
    limits: Limits,
    allow_tls12: bool,
    proxies: &Proxies,
    resolver: impl Resolve + 'static,
) -> Result<reqwest::Client, NoClient> {
    let builder = builder(client_config(trust, allow_tls12)?, limits, proxies);
    Ok(builder.pool_max_idle_per_host(0).dns_resolver(Arc::new(resolver)).build().expect(FIXED))
}

/// Like [`async_client`], for a program without an asynchronous runtime.
#[cfg(feature = "blocking")]
pub fn blocking_client(
    trust: &Trust,
    limits: Limits,
    allow_tls12: bool,
    way: Way,
) -> Result<reqwest::blocking::Client, NoClient> {
    blocking_client_with(trust, limits, allow_tls12, (way, KeyExchange::default()))
}

/// Like [`blocking_client`], with a choice of key exchange. DNS lookups run on threads that can be abandoned.
#[cfg(feature = "blocking")]
pub fn blocking_client_with(
    trust: &Trust,
    limits: Limits,
    allow_tls12: bool,
    (way, key_exchange): (Way, KeyExchange),
) -> Result<reqwest::blocking::Client, NoClient> {
    let tls = match key_exchange {
        KeyExchange::Hybrid => client_config(trust, allow_tls12)?,
        KeyExchange::Classical => classical_config(trust, allow_tls12)?,
    };
    let proxies = match way {
        Way::Direct => Proxies::none(),
        Way::Proxy => Proxies::from_environment(),
    };
    let builder = builder(tls, limits, &proxies).dns_resolver(Resolver::default());
    // The timeout of `builder` covers the whole exchange. The blocking client's own restarts with every read of the
    // body.
    Ok(reqwest::blocking::ClientBuilder::from(builder).timeout(limits.total).build().expect(FIXED))
}

#[expect(clippy::disallowed_methods, reason = "the one place that builds clients")]
fn builder(tls: ClientConfig, limits: Limits, proxies: &Proxies) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .proxy(proxies.for_client())
        .tls_backend_preconfigured(tls)
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT)
}

const FIXED: &str = "a client of fixed settings can be built";
const USER_AGENT: &str = concat!("infra/", env!("CARGO_PKG_VERSION"));
