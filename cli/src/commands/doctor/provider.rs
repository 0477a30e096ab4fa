//! Checks whether this machine can reach the identity providers.

use std::time::Duration;

use infra_shared::api::Provider;
use infra_shared::http::{Limits, Trust, Untrusted, Way, blocking_client_with, read_body_blocking};
use infra_shared::printable::{counted, printable};
use serde::Deserialize;
use url::Url;

use super::network::run_all;
use super::{Check, TIMEOUT};
use crate::daemon_client::{DaemonError, failure};
use crate::platform::CLOCK_HINT;
use crate::proxy::{self, Route};
use crate::settings;

const NAME: &str = "provider";
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(10) };
const MAX_METADATA_BYTES: usize = 256 * 1024;
const MAX_ISSUER: usize = 256;
const HINT: &str = "open the address in your browser; if it does not load there either, check your network, or ask the provider's \
                    administrator";

const CERTIFICATE_HINT: &str =
    "tell the provider's administrator: the clock of this machine agrees with the server's";

/// The checked part of provider metadata (OpenID Connect Discovery §3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
}

/// Maximum number of providers to check. A malicious server chooses their addresses, so it must not make this machine
/// connect to many.
const MAX_CHECKED: usize = 16;

/// Fetches each provider's metadata once, several concurrently.
pub(super) fn fetch_all(providers: &[Provider], is_clock_wrong: bool) -> Vec<Check> {
    let mut once: Vec<&Provider> = providers.iter().collect();
    once.sort_by_key(|provider| (&provider.name, &provider.issuer));
    once.dedup_by_key(|provider| (&provider.name, &provider.issuer));
    let left_out = once.len().saturating_sub(MAX_CHECKED);
    once.truncate(MAX_CHECKED);
    let jobs = once.iter().map(|provider| {
        let issuer = provider.issuer.clone();
        Box::new(move || fetch(&issuer)) as Box<dyn FnOnce() -> _ + Send>
    });
    let results = run_all(jobs.collect());
    let asked =
        once.into_iter().zip(results).map(|(provider, answer)| check(provider, answer, is_clock_wrong));
    let not_asked = || {
        let what = format!("{} not checked: the limit is {MAX_CHECKED}", counted(left_out, "more provider"));
        Check::skipped(NAME, None, what)
    };
    asked.chain((left_out > 0).then(not_asked)).collect()
}

/// Result of fetching a provider's metadata.
enum FetchResult {
    Matches,
    /// Plain HTTP: the development provider on this machine.
    PlainHTTP,
    /// The response is not this provider's metadata. Contains the issuer that it names, if it is metadata.
    Mismatch(Option<String>),
    Failed(DaemonError),
}

fn fetch(issuer: &str) -> FetchResult {
    // OpenID Connect Discovery §4.1: remove trailing slashes of the issuer.
    let Ok(url) = Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
    else {
        return FetchResult::Mismatch(None);
    };
    if url.scheme() != "https" {
        return FetchResult::PlainHTTP;
    }
    let way = match proxy::route(&url) {
        Route::Direct => Way::Direct,
        Route::Through(_) => Way::Proxy,
        Route::Barred(error) => return FetchResult::Failed(DaemonError::Proxy(error)),
    };
    let client = match blocking_client_with(&Trust::System, LIMITS, true, (way, settings::key_exchange())) {
        Ok(client) => client,
        Err(error) => return FetchResult::Failed(DaemonError::NoClient(error)),
    };
    let response = match client.get(url).send() {
        Ok(response) => response,
        Err(error) => return FetchResult::Failed(failure(&error)),
    };
    let body = read_body_blocking(response, MAX_METADATA_BYTES).unwrap_or_default();
    match serde_json::from_slice::<Metadata>(&body) {
        Ok(metadata) if metadata.issuer == issuer => FetchResult::Matches,
        metadata => FetchResult::Mismatch(metadata.ok().map(|metadata| metadata.issuer)),
    }
}

fn check(provider: &Provider, answer: Option<FetchResult>, is_clock_wrong: bool) -> Check {
    let subject = Some(format!("{} ({})", provider.name, printable(&provider.issuer, MAX_ISSUER)));
    let wrong =
        |what: &str, why: Option<String>, hint: &str| Check::wrong(NAME, subject.clone(), what, why, hint);
    match answer {
        Some(FetchResult::Matches) => Check::ok(NAME, subject, "it can be reached from here"),
        Some(FetchResult::PlainHTTP) => {
            Check::skipped(NAME, subject, "not checked: it uses plain HTTP, as a development provider may")
        }
        Some(FetchResult::Mismatch(found)) => wrong(
            "the response is not from this identity provider",
            Some(match found {
                Some(issuer) => format!("its metadata names the issuer {}", printable(&issuer, MAX_ISSUER)),
                None => "it contains no metadata; it may be the sign-in page of a network".to_owned(),
            }),
            HINT,
        ),
        Some(FetchResult::Failed(DaemonError::Untrusted(
            reason @ (Untrusted::Expired | Untrusted::NotYetValid),
        ))) => wrong(
            "its certificate is not valid by the clock of this machine",
            Some(reason.to_string()),
            if is_clock_wrong { CLOCK_HINT } else { CERTIFICATE_HINT },
        ),
        Some(FetchResult::Failed(error @ (DaemonError::Untrusted(_) | DaemonError::NoClient(_)))) => wrong(
            "its certificate is not trusted on this machine, and your browser may reject it too",
            Some(error.to_string()),
            "if a proxy of your organisation inspects TLS, add its certification authority to the system's certificate store",
        ),
        Some(FetchResult::Failed(error)) => {
            let hint = if let DaemonError::Proxy(error) = &error { proxy::hint(error) } else { HINT };
            wrong("it cannot be reached from here", Some(error.to_string()), hint)
        }
        None => {
            let why = format!("no response within {} s", TIMEOUT.as_secs());
            wrong("it cannot be reached from here", Some(why), HINT)
        }
    }
}
