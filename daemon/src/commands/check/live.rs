//! `infrad check --live`: tests every root key, certificate, secret and provider in the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::{counted, when};
use serde_json::{Value, json};

use super::{access, certificate, database, start};
use crate::commands::Context;
use crate::commands::service_access::{self, expect_inside};
use crate::config::Config;
use crate::control::{self, Operation};
use crate::failure::Failure;
use crate::identity::{CheckResult, Outcome, Provider, ProviderSettings, Workloads, describe_change};
use crate::keys::{self, KeyError};
use crate::services;
use crate::store::{EndpointHosts, RememberedEndpoints};
use crate::tls::{AcmeCheck, OtherSource, TlsError};

/// Timeout for the running daemon, which answers from memory.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// A result and its subject, such as the root keys or a provider.
pub(super) struct Tried {
    pub(super) about: String,
    pub(super) finding: CheckResult,
}

pub(super) async fn run(context: &Context, mut config: Config, json: bool) -> Result<ExitCode, Failure> {
    expect_inside(context, &config)?;
    context
        .terminal
        .say("testing root keys, certificates, secrets and providers; each test takes up to 10 s …");
    let mut tried = access::check_directories(context, &config);
    tried.extend(try_root_keys(&config).await);
    tried.extend(database::check(&config).await);
    tried.extend(try_certificates(context, &mut config).await);
    let config = &config;
    let problems = start::check(context, config, &tried).await;
    tried.extend(problems);
    tried.extend(try_credentials(config).await);
    let remembered = remembered_endpoints(config).await;
    for settings in &config.providers {
        let about = format!("provider {}", settings.name);
        match Provider::new(settings.clone(), config.backends.clone(), Arc::new(SystemClock)) {
            Ok(provider) => {
                let findings = provider.diagnose().await.into_iter();
                tried.extend(findings.map(|finding| Tried { about: about.clone(), finding }));
                if let Some(hosts) = provider.endpoint_hosts().await {
                    let before = remembered.get(&settings.name).and_then(Option::as_ref);
                    let finding = compare_hosts(settings, &hosts, before);
                    tried.push(Tried { about, finding });
                }
            }
            Err(error) => {
                let hint = "correct `caFile`".to_owned();
                let outcome = Outcome::Fails { cause: error.to_string(), hint, is_transient: false };
                tried.push(Tried { about, finding: CheckResult { what: "trust".to_owned(), outcome } });
            }
        }
    }
    tried.extend(super::contradictions(config));
    tried.extend(try_workloads(config).await);
    let text = if json { as_json(&tried) } else { as_table(&tried) + &verdict(&tried) };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(exit_code(&tried))
}

/// Endpoint hosts that the running daemon remembers for each provider. Empty if none runs.
async fn remembered_endpoints(config: &Config) -> BTreeMap<String, Option<RememberedEndpoints>> {
    let calling = control::call(&config.data_dir, Operation::ProviderEndpoints);
    tokio::time::timeout(CONTROL_TIMEOUT, calling).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Reports the endpoint hosts, and if they changed since the running daemon first saw them.
fn compare_hosts(
    settings: &ProviderSettings,
    hosts: &EndpointHosts,
    remembered: Option<&RememberedEndpoints>,
) -> CheckResult {
    let distinct: BTreeSet<&str> = hosts.values().map(String::as_str).collect();
    let what = format!("endpoint hosts {}", Vec::from_iter(distinct).join(", "));
    let remembered = remembered.filter(|it| it.issuer == settings.issuer);
    let change = match remembered {
        Some(it) if it.hosts != *hosts => Some(format!("now: {}", describe_change(&it.hosts, hosts))),
        Some(RememberedEndpoints { changed: Some((at, before)), .. }) => {
            Some(format!("on {}: {}", when(*at), describe_change(before, hosts)))
        }
        _ => None,
    };
    let outcome = match change {
        // The operator chose pinned hosts, so a change needs no warning.
        Some(change) if settings.endpoint_hosts.is_none() => Outcome::Unknown {
            cause: format!(
                "they changed {change}; if the provider announced this, set `endpointHosts` to the new hosts; \
                 otherwise ask the provider who changed them"
            ),
        },
        _ => Outcome::Works,
    };
    CheckResult { what, outcome }
}

/// Fetches metadata and keys of the issuers in `workloads`, and explains rules that never match.
async fn try_workloads(config: &Config) -> Vec<Tried> {
    let limits = &config.limits;
    match Workloads::new(config.workloads.clone(), &limits.exchanges, limits.provider_calls) {
        Ok(workloads) => {
            let findings = workloads.diagnose(SystemClock.now()).await.into_iter();
            findings.map(|(rule, finding)| Tried { about: format!("workload {rule}"), finding }).collect()
        }
        Err(error) => {
            let hint = "correct `caFile`".to_owned();
            let outcome = Outcome::Fails { cause: error.to_string(), hint, is_transient: false };
            let about = "workloads".to_owned();
            vec![Tried { about, finding: CheckResult { what: "trust".to_owned(), outcome } }]
        }
    }
}

async fn try_credentials(config: &Config) -> Vec<Tried> {
    let mut tried = Vec::new();
    for service in &config.services {
        for credential in &service.credentials {
            let outcome = match services::check_credential(credential, &config.backends).await {
                Ok(()) => Outcome::Works,
                Err(error) => Outcome::Fails {
                    is_transient: error.is_transient(),
                    cause: error.to_string(),
                    hint: error.hint().to_owned(),
                },
            };
            let about = format!("service {}", service.name);
            tried.push(Tried {
                about,
                finding: CheckResult { what: format!("credential {credential}"), outcome },
            });
        }
    }
    tried
}

async fn try_certificates(context: &Context, config: &mut Config) -> Vec<Tried> {
    let failed = |error: &TlsError, hint: &str| {
        let (cause, hint) = (error.to_string(), hint.to_owned());
        Outcome::Fails { cause, hint, is_transient: error.is_transient() }
    };
    let add =
        |what: String, outcome| Tried { about: "https".to_owned(), finding: CheckResult { what, outcome } };
    match config.https.source.clone() {
        OtherSource::None => Vec::new(),
        OtherSource::Files(files) => {
            let outcome = certificate::check(context, config, &files);
            vec![add(format!("certificate {}", files.certificate.display()), outcome)]
        }
        OtherSource::Acme(acme) => {
            let checks = acme.diagnose().await.into_iter().map(|AcmeCheck { what, outcome }| {
                let hint = "correct `tls.acme` or the DNS record; until then, the daemon serves a certificate of \
                              its own CA";
                add(what, outcome.map_or_else(|error| failed(&error, hint), |()| Outcome::Works))
            });
            checks.collect()
        }
    }
}

async fn try_root_keys(config: &Config) -> Vec<Tried> {
    let mut tried = Vec::new();
    let mut add = |what: String, outcome| {
        tried.push(Tried { about: "root key".to_owned(), finding: CheckResult { what, outcome } });
    };
    for root_key in &config.root_keys {
        let outcome = match root_key.round_trip(&config.data_dir).await {
            Ok(Some(())) => Outcome::Works,
            // The first start creates it.
            Ok(None)
                if config.database.is_none() && matches!(keys::is_unused(&config.data_dir), Ok(true)) =>
            {
                Outcome::Unknown { cause: "it does not exist yet; the first start creates it".to_owned() }
            }
            Ok(None) => {
                let error = KeyError::RootKeyMissing { path: root_key.describe() };
                // Another host made the key of a store that exists.
                let copy = config.database.as_ref().map(|_| MISSING_HERE.to_owned());
                let hint = service_access::keep_running(config, &error).or(copy).or_else(|| error.hint());
                failed(&error, &hint.unwrap_or_default())
            }
            Err(error) => {
                let advice = service_access::keep_running(config, &error).or_else(|| error.hint());
                let otherwise = "correct `keys`, or infrad's permissions at the key's server";
                failed(&error, advice.as_deref().unwrap_or(otherwise))
            }
        };
        add(root_key.describe(), outcome);
    }
    match keys::test_unwrapping(&config.data_dir, &config.root_keys).await {
        Ok(None) => {}
        Ok(Some(())) => add("unwraps the store's data key".to_owned(), Outcome::Works),
        Err(error) => add(
            "unwraps the store's data key".to_owned(),
            failed(
                &error,
                &service_access::keep_running(config, &error)
                    .or_else(|| error.hint())
                    .unwrap_or_else(|| "add the root key that wrapped it to `keys`".to_owned()),
            ),
        ),
    }
    tried
}

/// For a root key of a store in a database.
const MISSING_HERE: &str =
    "copy it from the host that has it; for a new store, `infrad database create` creates it";

fn failed(error: &KeyError, hint: &str) -> Outcome {
    Outcome::Fails { cause: error.to_string(), hint: hint.to_owned(), is_transient: error.is_transient() }
}

/// Permanent failures take precedence over temporary ones.
pub(super) fn exit_code(tried: &[Tried]) -> ExitCode {
    let failures: Vec<bool> = tried
        .iter()
        .filter_map(|tried| match &tried.finding.outcome {
            Outcome::Fails { is_transient, .. } => Some(*is_transient),
            _ => None,
        })
        .collect();
    match (failures.is_empty(), failures.iter().all(|is_transient| *is_transient)) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(4),
        (false, false) => ExitCode::FAILURE,
    }
}

pub(super) fn as_table(tried: &[Tried]) -> String {
    let mut text = String::new();
    for Tried { about, finding } in tried {
        let (word, cause, hint) = match &finding.outcome {
            Outcome::Works => ("ok     ", None, None),
            Outcome::Unknown { cause } => ("unknown", Some(cause), None),
            Outcome::Fails { cause, hint, .. } => {
                // Some causes say it themselves.
                ("failed ", Some(cause), Some(hint).filter(|hint| !hint.is_empty()))
            }
        };
        let _ = writeln!(text, "{word}  {about}: {}", finding.what);
        for (name, line) in [("because", cause), ("try", hint)] {
            if let Some(line) = line {
                let _ = writeln!(text, "         {name}: {line}");
            }
        }
    }
    text
}

/// The last line: how many checks have which result.
fn verdict(tried: &[Tried]) -> String {
    let count =
        |is_it: fn(&Outcome) -> bool| tried.iter().filter(|tried| is_it(&tried.finding.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Fails { .. }));
    let unknown = count(|outcome| matches!(outcome, Outcome::Unknown { .. }));
    let ok = count(|outcome| matches!(outcome, Outcome::Works));
    let checks = counted(tried.len(), "check");
    if ok == tried.len() {
        return format!("{checks}: all ok\n");
    }
    let counts =
        [(failed, "failed"), (unknown, "unknown"), (ok, "ok")].into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    format!("{checks}: {}\n", counts.join(", "))
}

fn as_json(tried: &[Tried]) -> String {
    format!("{:#}\n", json!({ "schema": 1, "checks": checks_as_json(tried) }))
}

pub(super) fn checks_as_json(tried: &[Tried]) -> Vec<Value> {
    tried
        .iter()
        .map(|Tried { about, finding }| {
            let (status, cause, hint, is_transient) = match &finding.outcome {
                Outcome::Works => ("ok", None, None, false),
                Outcome::Unknown { cause } => ("unknown", Some(cause), None, false),
                Outcome::Fails { cause, hint, is_transient } => {
                    ("failed", Some(cause), Some(hint).filter(|hint| !hint.is_empty()), *is_transient)
                }
            };
            json!({
                "subject": about, "check": finding.what, "status": status, "cause": cause, "hint": hint,
                "retryable": is_transient,
            })
        })
        .collect()
}
