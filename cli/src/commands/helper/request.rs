//! What a tool asks a helper: bounded input, and a host compared with the bound ones.

use std::io::{self, Read};

use infra_shared::origin::Origin;
use infra_shared::printable::printable;

use crate::failure::Failure;

/// git passes on all `WWW-Authenticate` headers of the server.
const MAX_BYTES: u64 = 64 * 1024;
/// Maximum length of a displayed host.
const MAX_CHARACTERS: usize = 100;

/// Reads the request from standard input.
pub(super) fn read() -> Result<Vec<u8>, Failure> {
    read_from(io::stdin().lock())
}

fn read_from(input: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed("cannot read the request on standard input").because(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(malformed("it is larger than 64 KiB"));
    }
    Ok(bytes)
}

/// The request does not follow the protocol.
pub(super) fn malformed(reason: &str) -> Failure {
    Failure::failed("the request on standard input is malformed").because_text(reason.to_owned())
}

/// Without TLS, anyone on the network could read the token.
pub(super) fn unencrypted(host: &Origin) -> Failure {
    Failure::failed(format!("the token for {host} is sent over https only")).hint("use an `https://` URL")
}

/// The parts of a URL that decide where the token goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) scheme: Option<&'a str>,
    /// `host` or `host:port`.
    pub(super) authority: &'a str,
}

/// Splits a URL (RFC 3986 §3), perhaps without a scheme. Rejects what parsers read in different ways.
pub(super) fn split(url: &str) -> Result<Asked<'_>, Failure> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(malformed("its URL has spaces, backslashes or characters outside of ASCII"));
    }
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(malformed("its URL has a user name"));
    }
    Ok(Asked { scheme, authority })
}

/// Returns the bound host that `authority` names, as `host` or `host:port`.
///
/// The tool resolves its own spelling of the host. So a spelling that only means a bound host after normalization is
/// rejected: the tool may normalize it to another one.
pub(super) fn bound<'a>(hosts: &'a [Origin], authority: &str) -> Result<Option<&'a Origin>, Failure> {
    let Ok(meant) = authority.parse::<Origin>() else { return Ok(None) };
    let Some(host) = hosts.iter().find(|host| **host == meant) else { return Ok(None) };
    let plain = name(host);
    let is_plain = authority.eq_ignore_ascii_case(&plain)
        || (host.port() == 443 && authority.eq_ignore_ascii_case(&format!("{plain}:443")));
    if is_plain {
        return Ok(Some(host));
    }
    let shown = shown(authority);
    Err(Failure::failed(format!("the host `{shown}` may mean another one than {plain}"))
        .hint(format!("write `{plain}` in the URL")))
}

/// A host that the tool asked for.
pub(super) fn shown(authority: &str) -> String {
    printable(authority, MAX_CHARACTERS)
}

/// `host` or `host:port`.
pub(super) fn name(host: &Origin) -> String {
    let whole = host.to_string();
    whole.strip_prefix("https://").map(ToOwned::to_owned).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Vec<Origin> {
        ["git.example.test", "other.test:8443", "xn--bcher-kva.test", "[::1]"]
            .map(|host| host.parse().expect("a host"))
            .to_vec()
    }

    #[test]
    fn bound_host_is_matched_in_its_plain_spellings() {
        for (authority, host) in [
            ("git.example.test", "git.example.test"),
            ("GIT.Example.Test", "git.example.test"),
            ("git.example.test:443", "git.example.test"),
            ("other.test:8443", "other.test:8443"),
            ("xn--bcher-kva.test", "xn--bcher-kva.test"),
            ("[::1]", "[::1]"),
        ] {
            let hosts = hosts();
            let found = bound(&hosts, authority).expect(authority).map(name);
            assert_eq!(found.as_deref(), Some(host), "{authority}");
        }
    }

    #[test]
    fn every_other_host_is_unbound() {
        for authority in [
            "",
            ".",
            "example.test",
            "git.example.test.evil.test",
            "evil-git.example.test",
            "sub.git.example.test",
            "git.example.test:8443",
            "git.example.test:0",
            "git.example.test:",
            "git.example.test:443:443",
            "other.test",
            "other.test:443",
            "evil.test/git.example.test",
            "evil.test#git.example.test",
            "git.example.test@evil.test",
            "git.example.test:443@evil.test",
            "evil@git.example.test",
            "git.example.test/x",
            "git.example.test\\@evil.test",
            "http://git.example.test",
            "git.exаmple.test", // a Cyrillic а
            "git.example.test\u{200b}x",
        ] {
            let hosts = hosts();
            let found = bound(&hosts, authority);
            assert!(!matches!(found, Ok(Some(_))), "{authority:?}");
        }
    }

    #[test]
    fn spelling_that_another_parser_reads_differently_is_rejected() {
        for authority in [
            "git.example.test.",
            " git.example.test",
            "git.example.test ",
            "git.example.test/",
            "https://git.example.test",
            "%67it.example.test",
            "git.example.test:0443",
            "git\u{3002}example.test",
            "\u{ff47}it.example.test",
            "b\u{fc}cher.test",
            "[0:0:0:0:0:0:0:1]",
        ] {
            let hosts = hosts();
            let failure = bound(&hosts, authority).expect_err(authority);
            assert!(failure.to_string().contains("may mean another one"), "{authority:?}: {failure}");
        }
    }

    #[test]
    fn url_is_split_only_if_every_parser_agrees() {
        let parts = |url| split(url).ok().map(|asked| (asked.scheme, asked.authority));
        for (url, scheme, authority) in [
            ("https://a.test/b?c#d", Some("https"), "a.test"),
            ("grpcs://a.test:1", Some("grpcs"), "a.test:1"),
            ("https://a.test?@b.test", Some("https"), "a.test"),
            ("https://a.test#@b.test", Some("https"), "a.test"),
            ("https:///a.test", Some("https"), ""),
            ("a.test:1/b", None, "a.test:1"),
            ("a.test/https://b.test", Some("a.test/https"), "b.test"),
        ] {
            assert_eq!(parts(url), Some((scheme, authority)), "{url}");
        }
        for url in [
            "https://b@a.test/",
            "https://a.test:443@b.test/",
            "https://a.test\\@b.test/",
            "https://a.test/ b",
            "https://a.test/\n",
            "https://a.te\tst/",
            "https://b\u{fc}cher.test/",
            "https://a.test\0.b.test/",
        ] {
            assert_eq!(parts(url), None, "{url:?}");
        }
    }

    #[test]
    fn request_size_is_limited() {
        let read = |length: usize| read_from(io::repeat(b'a').take(length as u64));
        assert_eq!(read(65536).map(|bytes| bytes.len()).ok(), Some(65536));
        assert!(read(65537).expect_err("too long").to_string().contains("64 KiB"));
        assert!(read_from(io::repeat(b'a')).is_err());
    }
}
