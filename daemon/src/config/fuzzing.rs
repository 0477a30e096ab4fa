//! Fuzz targets for operators' input: configurations and secret references.

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use secrecy::ExposeSecret;

use super::Config;
use super::directories::Directories;
use crate::secrets::Backends;

type Target = (&'static str, fn(&[u8]));

pub(crate) const FUZZ_TARGETS: &[Target] =
    &[("configuration", configuration), ("secret_reference", secret_reference), ("addresses", addresses)];

/// Marks a secret. No error may contain it.
const CANARY: &str = "canary";

fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let directories = Directories {
        data: Some("/data".into()),
        root_key: Some("/keys/root.key".into()),
        ..Directories::default()
    };
    match Config::parse(text, &directories) {
        Ok(config) => {
            assert!(!config.providers.is_empty());
            assert!(config.sessions.max_per_user >= 1);
            for provider in &config.providers {
                let shown = format!("{:?}", provider.client_secret);
                assert!(provider.client_secret.backend() != "plaintext" || shown == "plaintext:…", "{shown}");
            }
        }
        Err(fault) => {
            assert!(fault.place.line >= 1 && fault.place.column >= 1);
        }
    }
}

fn secret_reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let backends = Backends::built_in();
    match backends.parse(text) {
        Ok(reference) => {
            let whole = reference.expose();
            let again = backends.parse(whole.expose_secret()).expect("it is read again");
            assert_eq!(again.expose().expose_secret(), whole.expose_secret());
            let shown = format!("{reference} {reference:?}");
            assert!(reference.backend() != "plaintext" || !shown.contains(CANARY), "a secret shows: {shown}");
        }
        Err(error) => {
            assert!(!error.to_string().contains(CANARY), "the error shows a possible secret: {error}");
        }
    }
}

/// Checks that addresses and fingerprints have one canonical form.
fn addresses(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(origin) = text.parse::<Origin>() {
        let printed = origin.to_string();
        assert_eq!(printed.parse().as_ref(), Ok(&origin), "{text:?} {printed}");
        let url = origin.url("/v1/server");
        assert_eq!(url.scheme(), "https");
        assert_eq!(
            (url.host_str(), url.port_or_known_default()),
            (Some(origin.host()), Some(origin.port())),
            "{text:?}"
        );
        assert!(url.username().is_empty() && url.password().is_none() && url.path() == "/v1/server");
    }
    if let Ok(pin) = text.parse::<Pin>() {
        assert_eq!(pin.to_string().parse::<Pin>().ok(), Some(pin));
        assert_eq!(pin.to_string().len(), 71);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpora_and_mutations_hold_invariants() {
        infra_harness::fuzz::replay(super::FUZZ_TARGETS);
    }
}
