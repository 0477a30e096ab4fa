//! Derives the public URLs of the daemon if the configuration names none.

use std::net::{IpAddr, SocketAddr};

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::origin::Origin;

use crate::config::Config;
use crate::tls::{CertificateFiles, OtherSource};

/// The configured public URLs, or else those expected to reach a daemon bound to `bound`. The preferred one comes
/// first.
pub(super) fn of(config: &Config, bound: SocketAddr) -> Vec<Origin> {
    if !config.public_urls.is_empty() {
        return config.public_urls.clone();
    }
    let domains = match &config.https.source {
        OtherSource::Acme(acme) => acme.domains.clone(),
        OtherSource::Files(files) => named(files),
        OtherSource::None => Vec::new(),
    };
    let domains = domains.iter().filter_map(|domain| domain.parse::<Origin>().ok());
    let domains: Vec<Origin> = domains.map(|origin| origin.with_port(bound.port())).collect();
    let others = expected(bound, &host_name()).into_iter().filter(|origin| !domains.contains(origin));
    domains.iter().cloned().chain(others).collect()
}

/// DNS names in the certificate files. Ignores errors, which are reported when the files are opened.
fn named(files: &CertificateFiles) -> Vec<String> {
    let names = files.names(SystemClock.now()).unwrap_or_default();
    names.into_iter().filter(|name| !name.contains('*') && name.parse::<IpAddr>().is_err()).collect()
}

/// Hosts of `public_urls` as certificates name them.
pub(super) fn host_names(public_urls: &[Origin]) -> Vec<String> {
    let mut names = Vec::new();
    for origin in public_urls {
        let name = origin.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn expected(bound: SocketAddr, host_name: &str) -> Vec<Origin> {
    let address = bound.ip();
    let hosts: Vec<String> = if address.is_unspecified() {
        vec![host_name.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
    } else if address.is_loopback() {
        vec![address.to_string(), "localhost".to_owned()]
    } else {
        vec![host_name.to_owned(), address.to_string()]
    };
    // Skips invalid host names (with an underscore, or only digits), which certificates cannot contain either.
    hosts
        .iter()
        .filter_map(
            |host| if host.contains(':') { format!("[{host}]").parse().ok() } else { host.parse().ok() },
        )
        .map(|origin: Origin| origin.with_port(bound.port()))
        .collect()
}

/// The name of this host, as the operating system has it.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected_of(bound: &str) -> Vec<String> {
        expected(bound.parse().expect("an address"), "gate").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unspecified_address_prefers_host_name() {
        assert_eq!(
            expected_of("[::]:443"),
            ["https://gate", "https://localhost", "https://127.0.0.1", "https://[::1]"]
        );
    }

    #[test]
    fn loopback_address_omits_host_name() {
        assert_eq!(expected_of("127.0.0.1:8443"), ["https://127.0.0.1:8443", "https://localhost:8443"]);
    }

    #[test]
    fn single_address_has_host_name_and_address() {
        assert_eq!(expected_of("10.1.2.3:443"), ["https://gate", "https://10.1.2.3"]);
    }

    #[test]
    fn numeric_host_name_is_omitted() {
        let bound = "0.0.0.0:443".parse().expect("an address");
        let expected: Vec<String> = expected(bound, "100200300").iter().map(ToString::to_string).collect();
        assert_eq!(expected, ["https://localhost", "https://127.0.0.1", "https://[::1]"]);
    }

    #[test]
    fn certificate_names_are_unique_and_without_brackets() {
        let origins = ["a.test", "a.test:8443", "[::1]:443"].map(|text| text.parse().expect("an origin"));
        assert_eq!(host_names(&origins), ["a.test", "::1"]);
    }
}
