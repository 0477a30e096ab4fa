//! `infrad check`: explains the configuration and checks, without a network, that the service can use the files it
//! names. With `--live`, tests everything that it names.

mod access;
mod certificate;
mod credentials;
mod database;
mod live;
mod local_secrets;
mod shared_ports;
mod start;

use std::process::ExitCode;

use crate::commands::{Context, when};
use crate::config::{Config, SCHEMA};
use crate::failure::Failure;
use crate::identity::{CheckResult, Outcome, ProviderSettings, WorkloadSettings};
use crate::keys::{self, RootKeySettings};
use crate::platform::Unit;
use crate::tls::OtherSource;
use live::Tried;

pub(super) async fn run(context: &Context, live: bool, json: bool) -> Result<ExitCode, Failure> {
    let mut config = context.read_config()?;
    access::expect_user_of_data(context, &config)?;
    if live {
        return live::run(context, config, json).await;
    }
    let mut found = access::check(context, &config);
    let is_rejected = |tried: &Tried| tried.about == "https" && fails(tried);
    // The contents do not matter while the service cannot read the files.
    if !found.iter().any(is_rejected)
        && let OtherSource::Files(files) = config.https.source.clone()
    {
        let outcome = certificate::check(context, &mut config, &files);
        if outcome != Outcome::Works {
            found.push(access::tried(
                "https",
                format!("certificate {}", files.certificate.display()),
                outcome,
            ));
        }
    }
    local_secrets::expect_usable(context, &config).await?;
    found.extend(local_secrets::unset_variables(context, &config).await);
    let problems = start::check(context, &config, &found).await;
    found.extend(problems);
    found.extend(contradictions(&config));
    let text = if json { report_as_json(&config, &found) } else { report(&config, &found) };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(live::exit_code(&found))
}

/// What is wrong with the root key that systemd hands to the unit. Only root sees its source.
pub(super) fn root_key_problem(config: &Config, unit: &Unit) -> Option<String> {
    match credentials::check_root_keys(config, unit)?.finding.outcome {
        Outcome::Fails { cause, .. } => {
            Some(cause.strip_prefix("root key: ").map(str::to_owned).unwrap_or(cause))
        }
        _ => None,
    }
}

pub(super) fn print_schema(context: &Context) -> Result<ExitCode, Failure> {
    context.terminal.data(SCHEMA).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn report_as_json(config: &Config, found: &[Tried]) -> String {
    let providers: Vec<_> = config
        .providers
        .iter()
        .map(|provider| {
            serde_json::json!({
                "name": provider.name,
                "issuer": provider.issuer,
                "clientSecret": provider.client_secret.to_string(),
            })
        })
        .collect();
    let root_keys: Vec<String> = config.root_keys.iter().map(RootKeySettings::describe).collect();
    let workloads = config
        .workloads
        .iter()
        .map(|rule| serde_json::json!({"name": rule.name, "issuer": rule.issuer, "services": rule.services}));
    let report = serde_json::json!({
        "schema": 1,
        "providers": providers,
        "workloads": workloads.collect::<Vec<_>>(),
        "sharedRedirectPorts": shared_ports::find(&config.providers),
        "https": https(config),
        "dataDir": config.data_dir.display().to_string(),
        "rootKeys": root_keys,
        "warnings": config.warnings,
        "problems": live::checks_as_json(found),
    });
    format!("{report:#}\n")
}

/// Describes in one line how HTTPS is served.
fn https(config: &Config) -> String {
    match &config.https.source {
        OtherSource::None => "the daemon's own CA".to_owned(),
        OtherSource::Acme(acme) => {
            format!("ACME certificates for {} from {}", acme.domains.join(", "), acme.directory)
        }
        OtherSource::Files(files) => match certificate::validity(config, files) {
            Ok(validity) => {
                let until = when(validity.expires_at);
                format!("the certificate in {}, valid until {until}", files.certificate.display())
            }
            Err(_) => format!("the certificate in {}", files.certificate.display()),
        },
    }
}

/// Describes the configuration without secret values.
fn report(config: &Config, found: &[Tried]) -> String {
    let mut lines: Vec<String> = config.providers.iter().map(provider).collect();
    lines.extend(shared_ports::find(&config.providers).iter().map(shared_ports::SharedPorts::text));
    lines.extend(config.workloads.iter().map(workload));
    lines.push(format!("https: {}", https(config)));
    lines.push(format!("data directory: {}", config.data_dir.display()));
    lines.extend(config.database.as_ref().map(|settings| {
        format!("{}, as {}: `infrad check --live` tests it", settings.describe(), settings.user)
    }));
    let is_new = matches!(keys::is_unused(&config.data_dir), Ok(true));
    lines.extend(config.root_keys.iter().enumerate().map(|(position, root_key)| {
        let state = match root_key.missing_file() {
            Some(_) if config.database.is_some() => {
                " (missing: copy it from the host that has it; for a new store, `infrad database create` creates it)"
            }
            Some(_) if is_new && position == 0 => " (missing: the first start creates it)",
            Some(_) => " (missing)",
            None => "",
        };
        format!("root key: {}{state}", root_key.describe())
    }));
    let text = lines.join("\n") + "\n" + &live::as_table(found);
    let last = match (found.is_empty(), found.iter().any(fails)) {
        (true, _) => {
            "configuration is valid; run `infrad check --live` to test providers and secret backends as well"
        }
        (false, true) => {
            "configuration is valid, but the service would not work as configured: see `failed` above"
        }
        (false, false) => "configuration is valid, as far as this user can see: see `unknown` above",
    };
    text + last + "\n"
}

fn fails(tried: &Tried) -> bool {
    matches!(tried.finding.outcome, Outcome::Fails { .. })
}

fn provider(provider: &ProviderSettings) -> String {
    // The reference prints itself without a plaintext value.
    format!(
        "provider {}: issuer {}, client secret {}",
        provider.name, provider.issuer, provider.client_secret
    )
}

fn workload(workload: &WorkloadSettings) -> String {
    let (name, issuer, services) = (&workload.name, &workload.issuer, workload.services.join(", "));
    format!("workload {name}: issuer {issuer}, services {services}")
}

/// Rules that can never match, as far as the configuration shows.
fn contradictions(config: &Config) -> impl Iterator<Item = Tried> {
    config.workloads.iter().filter_map(|rule| {
        let (about, cause) = (format!("workload {}", rule.name), rule.contradiction()?.to_owned());
        let hint =
            "add the audience that the workload requests its tokens for, such as this daemon's address"
                .to_owned();
        let outcome = Outcome::Fails { cause, hint, is_transient: false };
        Some(Tried { about, finding: CheckResult { what: "rule".to_owned(), outcome } })
    })
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
    fn report_names_providers_and_paths_but_no_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("infrad.yaml");
        std::fs::write(&path, FILE).expect("a file");
        let report = report(&Config::read(&path).expect("a good configuration"), &[]);
        for part in [
            "provider okta: issuer https://example.okta.com, client secret ",
            "data directory: /srv/infrad\n",
            "root key: /etc/infra/root.key",
            "https: the daemon's own CA\n",
            "\nconfiguration is valid; run ",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!report.contains("canary"), "{report}");
    }
}
