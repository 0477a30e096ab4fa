//! `services`: services that validate tokens, and the users they admit.

use ipnet::IpNet;

use crate::identity::{Allow, ProviderSettings};
use crate::services::{AllowedUsers, Cluster, ServiceKind, ServiceSettings};
use crate::sessions::{ProviderRule, TokenFormat};

use super::error::FaultAt;
use super::reference::References;
use super::section::{Field, Section, words};
use super::{allow, backends, limits};

const EXAMPLE: &str =
    "services: [{name: grafana, audience: https://grafana.example.com, allow: [{provider: okta}]}]";
const ALLOW_EXPECTED: &str = "`everyone`, or a list such as `[{provider: okta, groups: [engineering]}]`";
/// Every response contains the audience.
const LONGEST_AUDIENCE: usize = 255;
/// Of the groups in a signed token, which is sent with each request.
const LONGEST_GROUPS: usize = 1024;
/// Placeholder for the name of the user's provider.
const PROVIDER: &str = "{provider}";

pub(super) fn read(
    field: &Field<'_>,
    providers: &[ProviderSettings],
    has_public_url: bool,
    references: &mut References,
) -> Result<Vec<ServiceSettings>, FaultAt> {
    let mut services: Vec<ServiceSettings> = Vec::new();
    for item in field.list(&format!("a list such as `{EXAMPLE}`"))? {
        let section = item.section("service")?;
        let service = service(&section, providers, has_public_url, references)?;
        // Tokens are requested by audience or name, so both must be unique together.
        let is_taken = |text: &str| services.iter().any(|other| other.name == text || other.audience == text);
        if is_taken(&service.name) {
            return Err(section.require("name", "name: grafana")?.wrong("a name that no other service has"));
        }
        if is_taken(&service.audience) {
            let expected =
                "an audience that no other service has, so that a token is valid at one service only";
            return Err(section
                .find("audience")
                .map_or_else(|| item.wrong(expected), |field| field.wrong(expected)));
        }
        services.push(service);
    }
    Ok(services)
}

fn service(
    section: &Section<'_>,
    providers: &[ProviderSettings],
    has_public_url: bool,
    references: &mut References,
) -> Result<ServiceSettings, FaultAt> {
    let name = section
        .require("name", "name: grafana")?
        .parsed("a name of lower-case letters, digits and dashes, such as `grafana`", backends::name)?;
    let audience = section.find("audience").map_or_else(|| Ok(name.clone()), |field| audience(&field))?;
    let allow =
        allowed(&section.require("allow", "allow: [{provider: okta, groups: [engineering]}]")?, providers)?;
    let accept_session_token = section.flag("acceptSessionToken")?;
    let addresses = section.find("addresses").map_or(Ok(Vec::new()), |field| addresses(&field))?;
    let whose = format!("a credential of service `{name}`");
    let credentials = match section.find("credentials") {
        None => Vec::new(),
        Some(field) => {
            let items = field.list("a list of up to four references, such as `[env:GRAFANA_CREDENTIAL]`")?;
            let example = format!("credentials: [file:/run/secrets/{name}]");
            items.iter().map(|item| references.read(item, &whose, &example)).collect::<Result<_, _>>()?
        }
    };
    let tokens = token_format(section, &allow, providers, has_public_url)?;
    let kind = kind(section, &allow, providers)?;
    if matches!(kind, ServiceKind::Kubernetes(_)) && credentials.is_empty() {
        return Err(section.missing("credentials", "credentials: [file:/run/secrets/cluster]"));
    }
    Ok(ServiceSettings {
        name,
        audience,
        kind,
        credentials,
        allow,
        workloads: Vec::new(),
        accept_session_token,
        tokens,
        addresses,
    })
}

fn audience(field: &Field<'_>) -> Result<String, FaultAt> {
    let expected = "a unique text without spaces, such as `https://grafana.example.com`";
    field.parsed(expected, |text| {
        let good = text.len() <= LONGEST_AUDIENCE && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| text.to_owned())
    })
}

fn allowed(field: &Field<'_>, providers: &[ProviderSettings]) -> Result<AllowedUsers, FaultAt> {
    if allow::is_everyone(field, ALLOW_EXPECTED)? {
        return Ok(AllowedUsers::Everyone);
    }
    let items = field.list(ALLOW_EXPECTED)?;
    if items.is_empty() {
        return Err(field.wrong(format!("{ALLOW_EXPECTED}; an empty list admits no users")));
    }
    let rules = items.iter().map(|item| {
        let section = item.section("serviceRule")?;
        let provider = provider_name(&section.require("provider", "provider: okta")?, providers)?;
        Ok(ProviderRule { provider, allow: allow::listed(&section)?.unwrap_or(Allow::Everyone) })
    });
    rules.collect::<Result<_, _>>().map(AllowedUsers::Listed)
}

pub(super) fn provider_name(field: &Field<'_>, providers: &[ProviderSettings]) -> Result<String, FaultAt> {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let expected = format!("the name of a provider: `{}`", names.join("`, `"));
    field.parsed(&expected, |text| names.contains(&text).then(|| text.to_owned()))
}

fn addresses(field: &Field<'_>) -> Result<Vec<IpNet>, FaultAt> {
    let expected = "a list of addresses and networks, such as `[192.0.2.10, \"2001:db8::/48\"]`";
    field.list(expected)?.iter().map(limits::network).collect()
}

/// Reads the format of audience tokens, and the groups in signed ones.
fn token_format(
    section: &Section<'_>,
    allow: &AllowedUsers,
    providers: &[ProviderSettings],
    has_public_url: bool,
) -> Result<TokenFormat, FaultAt> {
    let field = section.find("tokens");
    let is_jwt =
        field.as_ref().map_or(Ok(false), |field| field.choice(&[("opaque", false), ("jwt", true)]))?;
    let groups = section.find("tokenGroups");
    if !is_jwt {
        return match groups {
            Some(groups) => Err(groups.wrong("absent, because only a service with `tokens: jwt` has it")),
            None => Ok(TokenFormat::Opaque),
        };
    }
    // Addresses that the daemon only expects may change with its host.
    if let Some(field) = field.as_ref().filter(|_| !has_public_url) {
        return Err(field.needs("jwt", "`publicURLs`: its first address is the issuer of signed tokens"));
    }
    let names = allow.providers(providers.iter().map(|provider| provider.name.as_str()));
    if let Some(field) = field.filter(|_| names.len() > 1) {
        let names = words(names.into_iter());
        let needed = format!(
            "one provider in `allow`, {names}: the same subject at two providers is two users, and a signed token names its \
             user by `sub` alone"
        );
        return Err(field.needs("jwt", needed));
    }
    let groups = groups.map_or(Ok(Vec::new()), |field| token_groups(&field))?;
    Ok(TokenFormat::Jwt { groups })
}

fn token_groups(field: &Field<'_>) -> Result<Vec<String>, FaultAt> {
    let expected = format!(
        "a list of up to 32 different groups with {LONGEST_GROUPS} bytes in total, such as `[engineering]`"
    );
    let groups = field.texts(&expected)?;
    let bytes: usize = groups.iter().map(String::len).sum();
    let has_control = |group: &String| group.chars().any(char::is_control);
    let is_repeated = |(index, group): (usize, &String)| groups.iter().take(index).any(|it| it == group);
    if bytes > LONGEST_GROUPS || groups.iter().any(has_control) || groups.iter().enumerate().any(is_repeated)
    {
        return Err(field.wrong(expected));
    }
    // A cluster without a prefix would give the rights of such a group.
    if let Some(reserved) = groups.iter().find(|group| group.to_ascii_lowercase().starts_with("system:")) {
        return Err(field.wrong(format!("without `{reserved}`: Kubernetes reserves such names")));
    }
    Ok(groups)
}

fn kind(
    section: &Section<'_>,
    allow: &AllowedUsers,
    providers: &[ProviderSettings],
) -> Result<ServiceKind, FaultAt> {
    let is_cluster = section
        .find("kind")
        .map_or(Ok(false), |field| field.choice(&[("http", false), ("kubernetes", true)]))?;
    if !is_cluster {
        for key in ["prefix", "username", "apiAudiences"] {
            if let Some(field) = section.find(key) {
                return Err(field.wrong("absent, because only a service of `kind: kubernetes` has it"));
            }
        }
        return Ok(ServiceKind::Http);
    }
    let prefix = match section.find("prefix") {
        None => Cluster::DEFAULT_PREFIX.to_owned(),
        Some(field) => field.parsed(
            "letters, digits, dashes and colons, ending with a colon and not starting with `system:`, such as \
             `infra:`; `{provider}` is replaced with the name of the user's provider",
            prefix,
        )?,
    };
    // The same name at two providers means different users or groups.
    if allow.providers(providers.iter().map(|provider| provider.name.as_str())).len() > 1
        && !prefix.contains(PROVIDER)
    {
        let expected = "a prefix that contains `{provider}`, such as `infra:{provider}:`, because this service \
                        admits users of several providers, and the same name may belong to different users";
        let field = section.find("prefix");
        return Err(field.map_or_else(
            || section.missing("prefix", "prefix: \"infra:{provider}:\""),
            |it| it.wrong(expected),
        ));
    }
    let username_is_email = section
        .find("username")
        .map_or(Ok(true), |field| field.choice(&[("email", true), ("subject", false)]))?;
    let api_audiences = section.find("apiAudiences").map_or(Ok(Vec::new()), |field| {
        let expected = "a list such as `[https://kubernetes.default.svc.cluster.local]`";
        field.list(expected)?.iter().map(audience).collect()
    })?;
    Ok(ServiceKind::Kubernetes(Cluster { prefix, username_is_email, api_audiences }))
}

/// Parses a prefix that cannot turn a name into one of Kubernetes' own names, which begin with `system:`.
fn prefix(text: &str) -> Option<String> {
    let fixed = text.replacen(PROVIDER, "", 1);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    let is_good = (2..=64).contains(&text.len())
        && fixed.bytes().all(plain)
        && text.ends_with(':')
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !text.to_ascii_lowercase().starts_with("system");
    is_good.then(|| text.to_owned())
}
