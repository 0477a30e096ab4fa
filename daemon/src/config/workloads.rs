//! `workloads`: CI jobs, pods and machines that get audience tokens for tokens of their platform.

use infra_shared::api::WORKLOAD;
use jiff::SignedDuration;
use url::Url;

use crate::identity::{ClaimRule, ProviderSettings, WorkloadSettings};
use crate::services::ServiceSettings;

use super::error::FaultAt;
use super::section::{Field, Section, words};
use super::{backends, duration, provider, remote};

const EXAMPLE: &str = "workloads: [{name: ci, issuer: https://token.actions.githubusercontent.com, audiences: \
                       [https://infra.example.com], claims: {repository_id: \"123456\"}, services: [grafana]}]";
const CLAIMS_EXPECTED: &str = "claims and their values, such as `{repository_id: \"123456\", ref: refs/heads/main}`; a list \
                               of values accepts any of them";
const AUDIENCES_EXPECTED: &str =
    "a list of up to 8 audiences, exactly as in the tokens, such as `[https://infra.example.com]`";
const LONGEST_AUDIENCE: usize = 256;
const LONGEST_VALUE: usize = 1024;
const MOST_CLAIMS: usize = 32;
const MOST_VALUES: usize = 64;
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// Claims that the daemon checks itself.
const OWN_CLAIMS: [&str; 6] = ["iss", "aud", "exp", "iat", "nbf", "jti"];

/// How a platform names what runs. A name can be registered again by another owner after a rename or a deletion; an ID
/// cannot.
struct Platform {
    name: &'static str,
    /// A rule needs one of them.
    ids: &'static [&'static str],
    example: &'static str,
}

const GITHUB: Platform = Platform {
    name: "GitHub",
    ids: &["repository_id", "repository_owner_id"],
    example: "repository_id: \"123456\"",
};
const GITLAB: Platform =
    Platform { name: "GitLab", ids: &["project_id", "namespace_id"], example: "project_id: \"123456\"" };
/// Claims of GitLab only, which has many hosts.
const GITLAB_CLAIMS: [&str; 7] = [
    "project_path",
    "namespace_path",
    "job_project_path",
    "job_namespace_path",
    "user_login",
    "user_path",
    "ci_config_ref_uri",
];

/// Reads the rules, and adds them to the services that they name.
pub(super) fn read(
    field: &Field<'_>,
    providers: &[ProviderSettings],
    services: &mut [ServiceSettings],
) -> Result<Vec<WorkloadSettings>, FaultAt> {
    let mut workloads: Vec<WorkloadSettings> = Vec::new();
    for item in field.list(&format!("a list of up to 64 rules, such as `{EXAMPLE}`"))? {
        let section = item.section("workload")?;
        let workload = workload(&section, providers, services)?;
        if workloads.iter().any(|other| other.name == workload.name) {
            return Err(section.require("name", "name: ci")?.wrong("a name that no other workload has"));
        }
        // The keys of an issuer are fetched once for all its rules.
        let differs = |other: &&WorkloadSettings| {
            other.issuer == workload.issuer && other.authorities != workload.authorities
        };
        if let Some(other) = workloads.iter().find(differs) {
            let expected = format!(
                "the same certificates as in the workload `{}`, which has the same issuer",
                other.name
            );
            return Err(section
                .find("caFile")
                .map_or_else(|| item.wrong(&*expected), |it| it.wrong(&*expected)));
        }
        for service in services.iter_mut().filter(|service| workload.services.contains(&service.name)) {
            service.workloads.push(workload.name.clone());
        }
        workloads.push(workload);
    }
    Ok(workloads)
}

fn workload(
    section: &Section<'_>,
    providers: &[ProviderSettings],
    services: &[ServiceSettings],
) -> Result<WorkloadSettings, FaultAt> {
    let name = section
        .require("name", "name: ci")?
        .parsed("a name of lower-case letters, digits and dashes, such as `ci`", backends::name)?;
    let issuer = issuer(&section.require("issuer", "issuer: https://token.actions.githubusercontent.com")?)?;
    let audiences = audiences(
        &section.require("audiences", "audiences: [https://infra.example.com]")?,
        &issuer,
        providers,
    )?;
    let claims_field = section.require("claims", "claims: {repository_id: \"123456\"}")?;
    let claims = claims(&claims_field)?;
    if let Some(platform) = platform(&issuer, &claims) {
        check_ids(&platform, &claims, &claims_field)?;
    }
    let services = service_names(&section.require("services", "services: [grafana]")?, services)?;
    let lifetime = section.find("lifetime").map_or(Ok(LONGEST), |field| {
        field.parsed("a duration from 1m to 15m, such as `15m`", |text| {
            duration::parse(text).filter(|lifetime| (SHORTEST..=LONGEST).contains(lifetime))
        })
    })?;
    let ca_file = section.find("caFile").filter(|_| issuer == WorkloadSettings::CLUSTER);
    if let Some(field) = ca_file {
        return Err(field.wrong("absent, because the pod's own files prove the API server"));
    }
    let authorities = section.find("caFile").map(|field| remote::authorities(&field)).transpose()?;
    Ok(WorkloadSettings { name, issuer, audiences, claims, services, lifetime, authorities })
}

fn issuer(field: &Field<'_>) -> Result<String, FaultAt> {
    if field.is_text() && field.text("an issuer")? == WorkloadSettings::CLUSTER {
        return Ok(WorkloadSettings::CLUSTER.to_owned());
    }
    provider::issuer(field, "https://token.actions.githubusercontent.com")
}

/// Audiences are compared byte for byte. An empty list accepts nothing.
fn audiences(
    field: &Field<'_>,
    issuer: &str,
    providers: &[ProviderSettings],
) -> Result<Vec<String>, FaultAt> {
    let audiences = field.texts(AUDIENCES_EXPECTED)?;
    let is_plain = |audience: &String| {
        audience.len() <= LONGEST_AUDIENCE
            && audience.trim() == audience
            && !audience.contains(char::is_control)
    };
    if !audiences.iter().all(is_plain) {
        return Err(field.wrong(AUDIENCES_EXPECTED));
    }
    // The ID token of a person's sign-in would prove a workload.
    let is_client = |audience: &String| {
        providers.iter().any(|provider| {
            provider.issuer == issuer
                && (provider.client_id == *audience || provider.additional_audiences.contains(audience))
        })
    };
    if audiences.iter().any(is_client) {
        return Err(field.wrong(
            "audiences other than those of a provider with the same issuer, whose ID tokens people get",
        ));
    }
    Ok(audiences)
}

fn claims(field: &Field<'_>) -> Result<Vec<ClaimRule>, FaultAt> {
    let entries = field.entries(CLAIMS_EXPECTED)?;
    // Without a claim, everything that the issuer knows would match.
    if !(1..=MOST_CLAIMS).contains(&entries.len()) {
        return Err(field.wrong(format!("1 to {MOST_CLAIMS} {CLAIMS_EXPECTED}")));
    }
    entries.into_iter().map(|(name, value)| claim(name, &value)).collect()
}

fn claim(name: &str, field: &Field<'_>) -> Result<ClaimRule, FaultAt> {
    if OWN_CLAIMS.contains(&name) {
        return Err(field.wrong(
            "absent, because infrad checks this claim itself: `issuer` and `audiences` set its values",
        ));
    }
    let expected = "a text or a list of texts, exactly as in the tokens";
    let values = if field.is_list() {
        field.texts(expected)?
    } else {
        vec![field.parsed(expected, |text| Some(text.to_owned()))?]
    };
    let is_plain = |value: &String| value.len() <= LONGEST_VALUE && !value.contains(char::is_control);
    if !(1..=MOST_VALUES).contains(&values.len()) || !values.iter().all(is_plain) {
        return Err(field.wrong(format!("{expected}, up to {MOST_VALUES} of them")));
    }
    // A pattern would never match, which its author might not notice.
    if values.iter().any(|value| value.contains('*')) {
        return Err(field.wrong(format!("{expected}, without `*`: there are no patterns")));
    }
    Ok(ClaimRule { name: name.to_owned(), values })
}

/// The platform whose names can be registered again. `None` for other issuers.
fn platform(issuer: &str, claims: &[ClaimRule]) -> Option<Platform> {
    let url = Url::parse(issuer).ok()?;
    let host = url.host_str().unwrap_or_default();
    let is_github = host == "token.actions.githubusercontent.com"
        || host.ends_with(".ghe.com")
        // GitHub Enterprise Server.
        || url.path().trim_end_matches('/').ends_with("/_services/token");
    if is_github {
        return Some(GITHUB);
    }
    let has = |claim: &ClaimRule| GITLAB_CLAIMS.contains(&claim.name.as_str());
    let is_subject = |claim: &ClaimRule| {
        claim.name == "sub" && claim.values.iter().any(|value| value.starts_with("project_path:"))
    };
    let is_gitlab = host == "gitlab.com" || claims.iter().any(|claim| has(claim) || is_subject(claim));
    is_gitlab.then_some(GITLAB)
}

fn check_ids(platform: &Platform, claims: &[ClaimRule], field: &Field<'_>) -> Result<(), FaultAt> {
    let ids: Vec<&ClaimRule> =
        claims.iter().filter(|claim| platform.ids.contains(&claim.name.as_str())).collect();
    if ids.is_empty() {
        return Err(field.wrong(format!(
            "claims with {}, such as `{}`: after a rename or a deletion, another owner can register the same names at {} \
             again, but never the same ID",
            words(platform.ids.iter().copied()),
            platform.example,
            platform.name
        )));
    }
    let is_number = |value: &String| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !ids.iter().all(|claim| claim.values.iter().all(is_number)) {
        return Err(field.wrong(format!(
            "claims whose {} have digits only: with anything else, the rule never matches",
            words(platform.ids.iter().copied())
        )));
    }
    let is_ref = |value: &String| value.starts_with("refs/");
    if platform.name == GITHUB.name
        && claims.iter().any(|claim| claim.name == "ref" && !claim.values.iter().all(is_ref))
    {
        return Err(field.wrong(
            "claims whose `ref` begins with `refs/`, as in GitHub's tokens: `refs/heads/main`; with \
                                anything else, the rule never matches",
        ));
    }
    Ok(())
}

fn service_names(field: &Field<'_>, services: &[ServiceSettings]) -> Result<Vec<String>, FaultAt> {
    let known: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    let expected = if known.is_empty() {
        "names of `services`, which the configuration does not have yet".to_owned()
    } else {
        format!("a list of services, each one of {}", words(known.iter().copied()))
    };
    let names = field.texts(&expected)?;
    let is_known = |name: &String| known.contains(&name.as_str());
    if names.is_empty() || !names.iter().all(is_known) {
        return Err(field.wrong(expected));
    }
    Ok(names)
}

/// Whether a provider's name would look like the prefix of workloads.
pub(super) fn is_reserved(name: &str) -> bool {
    WORKLOAD.strip_suffix(':') == Some(name)
}
