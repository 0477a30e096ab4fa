//! `infrad check`: reads the configuration and says what it means, without a network and without reading a secret.

use std::process::ExitCode;

use crate::commands::Context;
use crate::config::Config;
use crate::failure::Failure;
use crate::identity::ProviderSettings;
use crate::keys::RootKeySettings;

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    context.terminal.data(report(&config)).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// What the configuration means, without any value of a secret.
fn report(config: &Config) -> String {
    let mut lines: Vec<String> = config.providers.iter().map(provider).collect();
    lines.push(format!("data directory: {}", config.data_dir.display()));
    lines.extend(
        config
            .root_keys
            .iter()
            .map(|RootKeySettings::Native { path }| format!("root key: {}", path.display())),
    );
    lines.push("configuration is good".to_owned());
    lines.join("\n") + "\n"
}

fn provider(provider: &ProviderSettings) -> String {
    // A reference prints itself without a plaintext value.
    format!(
        "provider {}: issuer {}, client secret {}",
        provider.name, provider.issuer, provider.client_secret
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
version: 1
dataDir: /srv/infrad
keys: [{kind: native, config: {path: /etc/infra/root.key}}]
providers:
  - name: okta
    kind: okta
    issuer: https://example.okta.com
    clientID: 0oa1b2c3
    clientSecret: plaintext:canary-5b1d0c
";

    #[test]
    fn the_report_names_providers_and_places_and_no_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("infrad.yaml");
        std::fs::write(&path, FILE).expect("a file");
        let report = report(&Config::read(&path).expect("a good configuration"));
        for part in [
            "provider okta: issuer https://example.okta.com, client secret ",
            "data directory: /srv/infrad\n",
            "root key: /etc/infra/root.key\n",
            "\nconfiguration is good\n",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!report.contains("canary"), "{report}");
    }
}
