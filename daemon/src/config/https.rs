//! `tls`: certificate sources and TLS settings.

use std::net::SocketAddr;

use infra_shared::origin::Origin;
use infra_shared::plain_url;
use url::Url;

use crate::tls::{AcmeSettings, CertificateFiles, ExternalAccount, MinimumVersion, OtherSource};

use super::error::FaultAt;
use super::section::{Field, Section};
use super::settings::absolute_path;
use super::{Config, HttpsSettings, remote};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Let's Encrypt's limit for one certificate.
const MOST_DOMAINS: usize = 100;
/// RFC 8737 §3: port that the ACME server connects to.
const VALIDATION_PORT: u16 = 443;

pub(super) fn read(field: Option<&Field<'_>>, public_urls: &[Origin]) -> Result<HttpsSettings, FaultAt> {
    let Some(field) = field else { return Ok(HttpsSettings::default()) };
    let section = field.section("tls")?;
    let source = match (section.find("acme"), section.find("files")) {
        (None, None) => OtherSource::None,
        (Some(acme), None) => OtherSource::Acme(read_acme(&acme, public_urls)?),
        (None, Some(files)) => OtherSource::Files(read_files(&files)?),
        (Some(_), Some(files)) => {
            return Err(files.wrong("absent, because only one of `acme` and `files` is allowed"));
        }
    };
    Ok(HttpsSettings {
        minimum_version: minimum_version(&section)?,
        source,
        redirect_http: section.find("redirectHTTP").map(|field| redirect_http(&field)).transpose()?,
    })
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error("`--domain {0}` is not a DNS name without `*`, such as `infra.example.com`")]
    NoName(String),
    #[error("`--domain {0}` conflicts with `tls.files`: use one source of certificates")]
    Files(String),
    #[error("`--domain {0}`: a certificate has at most {MOST_DOMAINS} names")]
    TooMany(String),
}

pub(super) fn add_domain(config: &mut Config, text: &str) -> Result<(), DomainError> {
    let domain = as_domain(text).ok_or_else(|| DomainError::NoName(text.to_owned()))?;
    let mut acme = match std::mem::replace(&mut config.https.source, OtherSource::None) {
        OtherSource::None => default_acme(Vec::new()),
        OtherSource::Acme(acme) => acme,
        OtherSource::Files(_) => return Err(DomainError::Files(text.to_owned())),
    };
    if !acme.domains.contains(&domain) {
        acme.domains.push(domain.clone());
    }
    if acme.domains.len() > MOST_DOMAINS {
        return Err(DomainError::TooMany(text.to_owned()));
    }
    config.https.source = OtherSource::Acme(acme);
    let is_reached = config.public_urls.iter().any(|origin| origin.host() == domain);
    // Without public URLs, the domains are accepted anyway.
    if let Some(first) = config.public_urls.first().filter(|_| !is_reached) {
        let origin: Origin = domain.parse().expect("a domain is a host");
        let origin = origin.with_port(first.port());
        config.public_urls.insert(0, origin);
    }
    Ok(())
}

fn default_acme(domains: Vec<String>) -> AcmeSettings {
    AcmeSettings {
        domains,
        directory: Url::parse(LETS_ENCRYPT).expect("a URL"),
        contact: Vec::new(),
        authorities: None,
        external_account: None,
        self_check: true,
        validation_port: VALIDATION_PORT,
    }
}

fn read_acme(field: &Field<'_>, public_urls: &[Origin]) -> Result<AcmeSettings, FaultAt> {
    let section = field.section("acme")?;
    let mut settings = default_acme(domains(&section, public_urls)?);
    if let Some(directory) = section.find("directory") {
        let expected = format!("the https address of an ACME directory, such as `{LETS_ENCRYPT}`");
        settings.directory = directory.parsed(&expected, |text| {
            let url = plain_url::parse(text)?;
            let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
            (url.scheme() == "https" && is_bare).then_some(url)
        })?;
    }
    if let Some(contact) = section.find("contact") {
        let expected = "a list of addresses, such as `[mailto:ops@example.com]`";
        settings.contact = contact.texts(expected)?;
        let is_address = |text: &String| {
            text.strip_prefix("mailto:").is_some_and(|address| {
                address.contains('@') && address.bytes().all(|byte| byte.is_ascii_graphic())
            })
        };
        if !settings.contact.iter().all(is_address) {
            return Err(contact.wrong(expected));
        }
    }
    settings.authorities = section.find("caFile").map(|field| remote::authorities(&field)).transpose()?;
    settings.external_account =
        section.find("externalAccountBinding").map(|field| external_account(&field)).transpose()?;
    settings.self_check = section.find("selfCheck").map_or(Ok(true), |field| field.boolean())?;
    if let Some(port) = section.find("validationPort") {
        settings.validation_port = u16::try_from(port.whole("443")?).unwrap_or(VALIDATION_PORT);
    }
    Ok(settings)
}

/// Reads names for tls-alpn-01. If there are public URLs, each name must be the host of one.
fn domains(section: &Section<'_>, public_urls: &[Origin]) -> Result<Vec<String>, FaultAt> {
    const EXPECTED: &str =
        "a list of DNS names without `*` that resolve to this daemon, such as `[infra.example.com]`";
    let field = section.require("domains", "domains: [infra.example.com]")?;
    let mut domains: Vec<String> = Vec::new();
    for item in field.list(EXPECTED)? {
        let domain = item.parsed("a DNS name without `*`, such as `infra.example.com`", as_domain)?;
        if domains.contains(&domain) {
            return Err(item.wrong("a name that the list does not contain yet"));
        }
        if !public_urls.is_empty() && !public_urls.iter().any(|origin| origin.host() == domain) {
            return Err(item.wrong("the host of one of `publicURLs`: logins at other names are rejected"));
        }
        domains.push(domain);
    }
    Ok(domains)
}

/// Parses a DNS name of at least two labels into lower case. RFC 8737 §3: no IP address; tls-alpn-01 validates no wildcard.
fn as_domain(text: &str) -> Option<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_name = rustls::pki_types::DnsName::try_from(name.as_str()).is_ok()
        && !name.contains('*')
        // Rejects invalid punycode.
        && name.parse::<Origin>().is_ok();
    let is_address =
        name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    (is_name && !is_address && name.contains('.')).then_some(name)
}

fn external_account(field: &Field<'_>) -> Result<ExternalAccount, FaultAt> {
    let section = field.section("externalAccountBinding")?;
    let key_id = section.require("keyID", "keyID: kid-1")?;
    let hmac_key = section.require("hmacKey", "hmacKey: file:/etc/infra/acme-hmac-key")?;
    Ok(ExternalAccount {
        key_id: key_id.text("the key identifier from your ACME server")?.to_owned(),
        hmac_key: remote::credential(&hmac_key)?,
    })
}

fn read_files(field: &Field<'_>) -> Result<CertificateFiles, FaultAt> {
    let section = field.section("certificateFiles")?;
    let certificate = section.require("certificate", "certificate: /etc/infra/tls.crt")?;
    let private_key = section.require("privateKey", "privateKey: /etc/infra/tls.key")?;
    Ok(CertificateFiles {
        certificate: absolute_path(&certificate, "/etc/infra/tls.crt")?,
        private_key: absolute_path(&private_key, "/etc/infra/tls.key")?,
        is_public: section.flag("publiclyTrusted")?,
    })
}

fn minimum_version(section: &Section<'_>) -> Result<MinimumVersion, FaultAt> {
    let Some(version) = section.find("minVersion") else { return Ok(MinimumVersion::Tls13) };
    // Without quotes, YAML reads 1.3 as a number.
    let text = version.fraction().map(|number| number.to_string());
    match text.as_deref().map_or_else(|| version.text("`\"1.3\"` or `\"1.2\"`"), Ok)? {
        "1.3" => Ok(MinimumVersion::Tls13),
        "1.2" => Ok(MinimumVersion::Tls12),
        _ => Err(version.wrong("`\"1.3\"` or `\"1.2\"`")),
    }
}

fn redirect_http(field: &Field<'_>) -> Result<SocketAddr, FaultAt> {
    field.parsed("an address and a port, such as `[::]:80`", |text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Fault;
    use crate::config::directories::Directories;

    fn parse(section: &str) -> Result<Config, FaultAt> {
        let text = format!(
            "version: 1\npublicURLs: [https://a.test, https://b.test:8443]\n{section}\nproviders:\n  - {{name: okta, kind: \
             okta, issuer: https://example.okta.com, clientID: a, clientSecret: \"env:A\"}}\n"
        );
        let directories = Directories {
            data: Some("/var/lib/infrad".into()),
            root_key: Some("/etc/infra/root.key".into()),
            ..Directories::default()
        };
        Config::parse(&text, &directories)
    }

    fn acme(config: &Config) -> &AcmeSettings {
        match &config.https.source {
            OtherSource::Acme(acme) => acme,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn acme_needs_only_domains() {
        let config = parse("tls: {acme: {domains: [B.test, a.test]}}").expect("a good configuration");
        let acme = acme(&config);
        assert_eq!(acme.domains, ["b.test", "a.test"]);
        assert_eq!(acme.directory.as_str(), LETS_ENCRYPT);
        assert!(acme.self_check && acme.authorities.is_none() && acme.external_account.is_none());
        assert_eq!((acme.validation_port, acme.contact.as_slice()), (443, &[][..]));
    }

    #[test]
    fn acme_keys_are_read() {
        let config = parse(
            "tls: {redirectHTTP: \"127.0.0.1:80\", acme: {domains: [a.test], directory: \"https://ca.test/dir\", contact: \
             [\"mailto:ops@a.test\"], externalAccountBinding: {keyID: kid-1, hmacKey: \"env:KEY\"}, selfCheck: false, \
             validationPort: 8443}}",
        )
        .expect("a good configuration");
        assert_eq!(config.https.redirect_http.map(|address| address.port()), Some(80));
        let acme = acme(&config);
        assert_eq!(acme.directory.as_str(), "https://ca.test/dir");
        assert_eq!(acme.contact, ["mailto:ops@a.test"]);
        assert_eq!(acme.external_account.as_ref().map(|external| external.key_id.as_str()), Some("kid-1"));
        assert_eq!((acme.self_check, acme.validation_port), (false, 8443));
    }

    #[test]
    fn certificate_files_need_absolute_paths() {
        let config = parse("tls: {files: {certificate: /a.crt, privateKey: /a.key}}").expect("good");
        let OtherSource::Files(files) = config.https.source else { panic!("files") };
        let (certificate, private_key) = (PathBuf::from("/a.crt"), PathBuf::from("/a.key"));
        assert_eq!(files, CertificateFiles { certificate, private_key, is_public: false });
    }

    #[test]
    fn invalid_tls_setting_names_expected_value() {
        for (section, expected) in [
            (
                "acme: {domains: [a.test]}, files: {certificate: /a, privateKey: /b}",
                "only one of `acme` and `files`",
            ),
            ("acme: {domains: []}", "a list of DNS names"),
            ("acme: {domains: [a.test, A.test]}", "a name that the list does not contain yet"),
            ("acme: {domains: [c.test]}", "the host of one of `publicURLs`"),
            ("acme: {domains: [\"*.test\"]}", "a DNS name without"),
            ("acme: {domains: [10.0.0.1]}", "a DNS name without"),
            ("acme: {domains: [localhost]}", "a DNS name without"),
            ("acme: {domains: [xn--a.test]}", "a DNS name without"),
            ("acme: {domains: [a.test], directory: \"http://ca.test\"}", "the https address"),
            ("acme: {domains: [a.test], directory: \"https://user:secret@ca.test\"}", "the https address"),
            ("acme: {domains: [a.test], contact: [ops@a.test]}", "a list of addresses"),
            ("acme: {domains: [a.test], validationPort: 0}", "443"),
            ("files: {certificate: a.crt, privateKey: /a.key}", "/etc/infra/tls.crt"),
            ("redirectHTTP: 80", "an address and a port"),
        ] {
            let error = parse(&format!("tls: {{{section}}}")).err().unwrap_or_else(|| panic!("{section}"));
            assert!(error.fault.to_string().contains(expected), "{section}: {}", error.fault);
        }
        let missing =
            parse("tls: {acme: {directory: \"https://a.test\"}}").map(|_| ()).expect_err("no domains");
        assert!(matches!(missing.fault, Fault::Missing { key, .. } if key == "domains"));
    }

    #[test]
    fn domain_option_adds_certificate_and_public_url() {
        let mut config = parse("").expect("a good configuration");
        config.add_domains(&["A.test.".to_owned(), "new.test".to_owned()]).expect("good names");
        assert_eq!(acme(&config).domains, ["a.test", "new.test"]);
        let reached: Vec<String> = config.public_urls.iter().map(ToString::to_string).collect();
        assert_eq!(reached, ["https://new.test", "https://a.test", "https://b.test:8443"]);
        for name in ["10.0.0.1", "xn--a.test", "*.test", "localhost"] {
            let refused = config.add_domains(&[name.to_owned()]);
            assert_eq!(refused, Err(DomainError::NoName(name.to_owned())));
        }
        let mut config = parse("tls: {files: {certificate: /a, privateKey: /b}}").expect("good");
        let refused = config.add_domains(&["a.test".to_owned()]);
        assert_eq!(refused, Err(DomainError::Files("a.test".to_owned())));
    }
}
