//! `providers`: identity providers and the daemon's client there.

use infra_shared::plain_url;

use crate::identity::{self, Allow, ClientAuthentication, ProviderKind, ProviderSettings, SigningAlgorithm};
use crate::secrets::{Backends, Reference};

use super::allow;
use super::backends::{self, Declared};
use super::error::FaultAt;
use super::reference::{BackendNames, References};
use super::remote;
use super::section::{Field, Section, words};
use super::workloads;

const ALLOW_EXPECTED: &str =
    "`everyone`, or lists such as `{groups: [engineering], emailDomains: [example.com], emails: []}`";

/// More than 100 apart: Windows reserves ports in blocks of 100, for other programs.
const DEFAULT_PORTS: [u16; 3] = [8301, 18301, 28301];
const DEFAULT_ALGORITHMS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::EdDSA];
const ALGORITHMS: [(&str, SigningAlgorithm); 9] = [
    ("RS256", SigningAlgorithm::RS256),
    ("RS384", SigningAlgorithm::RS384),
    ("RS512", SigningAlgorithm::RS512),
    ("PS256", SigningAlgorithm::PS256),
    ("PS384", SigningAlgorithm::PS384),
    ("PS512", SigningAlgorithm::PS512),
    ("ES256", SigningAlgorithm::ES256),
    ("ES384", SigningAlgorithm::ES384),
    ("EdDSA", SigningAlgorithm::EdDSA),
];

const MAX_AUDIENCE_BYTES: usize = 256;

/// A provider whose secret reference is not parsed yet.
struct Draft<'a> {
    settings: Box<dyn FnOnce(Reference) -> ProviderSettings>,
    name: String,
    client_secret: Field<'a>,
}

/// Reads the providers. Returns them with the reader for secret references.
pub(super) fn read_all(
    top: &Section<'_>,
    declared: Vec<Declared>,
) -> Result<(Vec<ProviderSettings>, References), FaultAt> {
    const EXAMPLE: &str = "providers: [{name: okta, kind: okta, issuer: https://example.okta.com, clientID: 0oa1b2c3, clientSecret: env:OKTA_CLIENT_SECRET}]";
    let field = top.require("providers", EXAMPLE)?;
    let items = field.list(&format!("a list with at least one provider, such as `{EXAMPLE}`"))?;
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for item in &items {
        let section = item.section("provider")?;
        let draft = draft(&section)?;
        if workloads::is_reserved(&draft.name) {
            let name = section.require("name", "name: okta")?;
            return Err(name.wrong("another name, because this one is reserved for workloads"));
        }
        if drafts.iter().any(|other| other.name == draft.name) {
            let name = section.require("name", "name: okta")?;
            return Err(name.wrong("a name that no other provider has"));
        }
        drafts.push(draft);
    }

    let names = BackendNames::new(&declared);
    // Check every reference before building a backend.
    drafts.iter().try_for_each(|draft| names.check(&draft.client_secret))?;
    let backends = Backends::with(declared).map_err(|error| {
        top.require("secrets", "secrets: []")
            .map_or_else(|missing| missing, |field| field.wrong(error.to_string()))
    })?;
    let mut references = References::new(names, backends);
    let mut providers = Vec::new();
    for draft in drafts {
        let whose = format!("the client secret of provider `{}`", draft.name);
        let reference =
            references.read(&draft.client_secret, &whose, "clientSecret: file:/run/secrets/okta")?;
        providers.push((draft.settings)(reference));
    }
    Ok((providers, references))
}

fn draft<'a>(section: &Section<'a>) -> Result<Draft<'a>, FaultAt> {
    const KINDS: [(&str, ProviderKind); 2] = [("okta", ProviderKind::Okta), ("oidc", ProviderKind::Oidc)];
    const AUTHENTICATIONS: [(&str, ClientAuthentication); 2] = [
        ("client_secret_basic", ClientAuthentication::ClientSecretBasic),
        ("client_secret_post", ClientAuthentication::ClientSecretPost),
    ];
    let name = section
        .require("name", "name: okta")?
        .parsed("a name of lower-case letters, digits and dashes, such as `okta`", backends::name)?;
    let kind = section.require("kind", "kind: okta")?.choice(&KINDS)?;
    let issuer =
        issuer(&section.require("issuer", "issuer: https://example.okta.com")?, "https://example.okta.com")?;
    let client_id =
        section.require("clientID", "clientID: 0oa1b2c3")?.text("the client ID that the provider shows")?;
    let client_secret = section.require("clientSecret", "clientSecret: env:OKTA_CLIENT_SECRET")?;
    let client_authentication = section
        .find("clientAuthentication")
        .map_or(Ok(ClientAuthentication::ClientSecretBasic), |field| field.choice(&AUTHENTICATIONS))?;
    let ports =
        section.find("redirectPorts").map_or(Ok(DEFAULT_PORTS.to_vec()), |field| redirect_ports(&field))?;
    let scopes = section.find("scopes").map_or_else(|| Ok(default_scopes(kind)), |field| scopes(&field))?;
    let groups_claim = section
        .find("groupsClaim")
        .map_or(Ok("groups"), |field| field.text("the name of a claim, such as `groups`"))?
        .to_owned();
    let signing_algorithms = section
        .find("signingAlgorithms")
        .map_or(Ok(DEFAULT_ALGORITHMS.to_vec()), |field| signing_algorithms(&field))?;
    let assumes_pkce = section.flag("assumePKCE")?;
    let additional_audiences =
        section.find("additionalAudiences").map_or(Ok(Vec::new()), |field| additional_audiences(&field))?;
    let endpoint_hosts = section.find("endpointHosts").map(|field| endpoint_hosts(&field)).transpose()?;
    let allow = allow(section, kind)?;
    let authorities = section.find("caFile").map(|field| remote::authorities(&field)).transpose()?;

    let client_id = client_id.to_owned();
    let settings = {
        let name = name.clone();
        move |client_secret| ProviderSettings {
            name,
            kind,
            issuer,
            client_id,
            client_secret,
            client_authentication,
            // RFC 8252 §7.3: the loopback literal, never `localhost`.
            redirect_uris: ports.iter().map(|port| format!("http://127.0.0.1:{port}/callback")).collect(),
            scopes,
            groups_claim,
            signing_algorithms,
            assumes_pkce,
            additional_audiences,
            endpoint_hosts,
            allow,
            authorities,
            development: false,
        }
    };
    Ok(Draft { settings: Box::new(settings), name, client_secret })
}

/// OpenID Connect Discovery §3: an https URL without query or fragment. Compared byte for byte, so kept unchanged.
pub(super) fn issuer(field: &Field<'_>, example: &str) -> Result<String, FaultAt> {
    let expected = format!(
        "the provider's https address without `?` or `#`, written exactly as the provider writes it, such as `{example}`"
    );
    field.parsed(&expected, |text| {
        let url = plain_url::parse(text)?;
        let bare = url.username().is_empty() && url.password().is_none() && !text.contains(['?', '#', '@']);
        (text.starts_with("https://") && bare && url.host().is_some()).then(|| text.to_owned())
    })
}

/// Audiences are compared byte for byte.
fn additional_audiences(field: &Field<'_>) -> Result<Vec<String>, FaultAt> {
    let expected = "a list of up to 32 audiences to trust in addition to `clientID`, exactly as the provider writes \
                    them, such as `[\"318490123456789012\"]`";
    let audiences = field.texts(expected)?;
    let is_plain = |audience: &String| {
        (1..=MAX_AUDIENCE_BYTES).contains(&audience.len())
            && audience.trim() == audience
            && !audience.contains(char::is_control)
    };
    audiences.iter().all(is_plain).then_some(audiences).ok_or_else(|| field.wrong(expected))
}

fn endpoint_hosts(field: &Field<'_>) -> Result<Vec<String>, FaultAt> {
    let expected = "a list of up to 32 hosts in addition to the issuer's own, with the port unless it is 443, such \
                    as `[oauth2.example.com, \"keys.example.com:8443\"]`";
    let hosts = field.texts(expected)?;
    hosts
        .iter()
        .all(|host| identity::is_endpoint_host(host))
        .then_some(hosts)
        .ok_or_else(|| field.wrong(expected))
}

fn redirect_ports(field: &Field<'_>) -> Result<Vec<u16>, FaultAt> {
    let expected = "a list of 1 to 10 ports, each registered at the provider, such as `[8301, 18301, 28301]`";
    let items = field.list(expected)?;
    let mut ports: Vec<u16> = Vec::new();
    for item in items {
        // On many machines, only root can listen on lower ports.
        let port = item.whole("8301")?;
        let port = u16::try_from(port).map_err(|_| item.wrong(expected))?;
        if ports.contains(&port) {
            return Err(item.wrong("a port that the list does not contain yet"));
        }
        ports.push(port);
    }
    Ok(ports)
}

fn default_scopes(kind: ProviderKind) -> Vec<String> {
    // `groups` is specific to Okta; other providers may reject unknown scopes.
    let scopes: &[&str] = match kind {
        ProviderKind::Okta => &["openid", "email", "profile", "groups"],
        ProviderKind::Oidc => &["openid", "email", "profile"],
    };
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

fn scopes(field: &Field<'_>) -> Result<Vec<String>, FaultAt> {
    let expected = "a list of scopes with `openid` among them, such as `[openid, email, profile, groups]`";
    let scopes = field.texts(expected)?;
    // RFC 6749 §3.3: printable ASCII without space, quote and backslash.
    let is_token =
        |scope: &String| scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    let good = scopes.iter().any(|scope| scope == "openid") && scopes.iter().all(is_token);
    good.then_some(scopes).ok_or_else(|| field.wrong(expected))
}

fn signing_algorithms(field: &Field<'_>) -> Result<Vec<SigningAlgorithm>, FaultAt> {
    let expected = "a list of algorithms, such as `[RS256, ES256, EdDSA]`";
    field.list(expected)?.iter().map(signing_algorithm).collect()
}

fn signing_algorithm(item: &Field<'_>) -> Result<SigningAlgorithm, FaultAt> {
    let expected = format!("one of {}", words(ALGORITHMS.iter().map(|(name, _)| *name)));
    match item.text(&expected)? {
        text if text.eq_ignore_ascii_case("none") => {
            Err(item.wrong(format!("{expected}; with `none`, an attacker could forge ID tokens")))
        }
        "HS256" | "HS384" | "HS512" => {
            Err(item
                .wrong(format!("{expected}; with an HMAC, the client secret is enough to forge ID tokens")))
        }
        text => ALGORITHMS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, algorithm)| *algorithm)
            .ok_or_else(|| item.wrong(expected)),
    }
}

fn allow(section: &Section<'_>, kind: ProviderKind) -> Result<Allow, FaultAt> {
    let field = match kind {
        ProviderKind::Okta => section.find("allow"),
        // Anyone can have an account at a public provider, so `everyone` must be explicit.
        ProviderKind::Oidc => Some(section.require("allow", "allow: {emailDomains: [example.com]}")?),
    };
    let Some(field) = field else { return Ok(Allow::Everyone) };
    if allow::is_everyone(&field, ALLOW_EXPECTED)? {
        return Ok(Allow::Everyone);
    }
    let listed = allow::listed(&field.section("allowedUsers")?)?;
    listed.ok_or_else(|| field.wrong(format!("{ALLOW_EXPECTED}; empty lists admit no users")))
}

#[cfg(test)]
mod tests {
    use super::DEFAULT_PORTS;

    /// Hyper-V, WSL and Docker reserve blocks of 100 ports on Windows.
    #[test]
    fn default_ports_are_in_different_reserved_blocks() {
        let distances = DEFAULT_PORTS.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
        assert!(distances.min().is_some_and(|distance| distance > 100));
    }
}
