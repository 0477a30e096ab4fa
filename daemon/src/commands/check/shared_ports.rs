//! Finds redirect ports that several providers share (RFC 9700 §4.4.2.2: a distinct redirect URI per provider).

use std::collections::BTreeMap;

use url::Url;

use crate::identity::ProviderSettings;

/// Providers that share redirect ports.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct SharedPorts {
    ports: Vec<u16>,
    providers: Vec<String>,
}

/// Returns each group of providers once, with all ports that exactly these share.
pub(super) fn find(providers: &[ProviderSettings]) -> Vec<SharedPorts> {
    let mut users: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for provider in providers {
        for port in provider.redirect_uris.iter().filter_map(|uri| Url::parse(uri).ok()?.port()) {
            users.entry(port).or_default().push(provider.name.clone());
        }
    }
    let mut groups: BTreeMap<Vec<String>, Vec<u16>> = BTreeMap::new();
    for (port, names) in users.into_iter().filter(|(_, names)| names.len() > 1) {
        groups.entry(names).or_default().push(port);
    }
    groups.into_iter().map(|(providers, ports)| SharedPorts { ports, providers }).collect()
}

impl SharedPorts {
    pub(super) fn text(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        format!(
            "note: the providers {} share the redirect ports {}; give each its own `redirectPorts`, so that a \
             response of one provider cannot reach a login with another",
            self.providers.join(", "),
            ports.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = "\
version: 1
dataDir: /srv/infrad
keys: [{kind: native, config: {path: /etc/infra/root.key}}]
providers:
";

    fn shared(ports: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("infrad.yaml");
        let entry = |(name, ports): &(&str, &str)| {
            format!(
                "  - {{name: {name}, kind: okta, issuer: https://{name}.test, clientID: a, clientSecret: env:A, \
                 redirectPorts: [{ports}]}}\n"
            )
        };
        let entries: String = ports.iter().map(entry).collect();
        std::fs::write(&path, format!("{FILE}{entries}")).expect("a file");
        let config = Config::read(&path).expect("a valid configuration");
        find(&config.providers).iter().map(SharedPorts::text).collect()
    }

    #[test]
    fn shared_redirect_ports_are_named_with_their_providers() {
        assert!(shared(&[("a", "8301"), ("b", "8302, 8303")]).is_empty());
        let notes = shared(&[("a", "8301, 8302"), ("b", "8302, 8301, 8303"), ("c", "8303, 8304")]);
        let [first, second] = notes.as_slice() else { panic!("two notes: {notes:?}") };
        assert!(first.contains("providers a, b share the redirect ports 8301, 8302;"), "{first}");
        assert!(second.contains("providers b, c share the redirect ports 8303;"), "{second}");
    }
}
