//! Checks that a request names its host once and in a valid form (RFC 9112 §3.2, RFC 9113 §8.3.1). Two servers in a
//! row could interpret an ambiguous request differently.

use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};

/// Whether the request names one host.
pub fn names_one_host(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() || host.is_some_and(|host| !is_host(host)) {
        return false;
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    if authority.is_some_and(|authority| !is_host(authority)) {
        return false;
    }
    match (authority, host) {
        (Some(authority), Some(host)) if version >= Version::HTTP_2 => authority.eq_ignore_ascii_case(host),
        // HTTP/1.1 requires `Host` with an absolute target too, and uses the target (RFC 9112 §3.2.2).
        (Some(_), None) => version >= Version::HTTP_2 || version < Version::HTTP_11,
        (_, Some(_)) => true,
        (None, None) => version < Version::HTTP_11,
    }
}

/// Validates `uri-host [ ":" port ]` (RFC 9110 §7.2): not empty, without user information.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (inner, rest) = rest.split_at(end);
            if !inner.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)) {
                return false;
            }
            (inner, rest.get(1..).unwrap_or_default())
        }
        None => text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len())),
    };
    let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:".contains(byte);
    let port = match port.split_first() {
        None => port,
        Some((b':', port)) => port,
        Some(_) => return false,
    };
    !host.is_empty() && host.iter().all(is_of_host) && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().expect("a header"));
        }
        names_one_host(version, &uri.parse().expect("a URI"), &headers)
    }

    #[test]
    fn http_1_1_requires_exactly_one_valid_host() {
        for host in ["a.test", "a.test:443", "127.0.0.1:8443", "[::1]", "[2001:db8::1]:443", "a_b.test:"] {
            assert!(says(Version::HTTP_11, "/v1/session", &[host]), "{host}");
        }
        for hosts in [
            &[][..],
            &["a.test", "a.test"],
            &["a.test", "b.test"],
            &[""],
            &[":443"],
            &["a.test b.test"],
            &["a.test,b.test"],
            &["user@a.test"],
            &["a.test:http"],
            &["a.test:443:443"],
            &["a.test:443000"],
            &["[::1"],
            &["[::1]443"],
            &["[a.test]"],
            &["a.test/"],
            &["a\u{e9}.test"],
        ] {
            assert!(!says(Version::HTTP_11, "/v1/session", hosts), "{hosts:?}");
        }
        assert!(says(Version::HTTP_10, "/", &[]));
        assert!(!says(Version::HTTP_10, "/", &["a", "b"]));
    }

    #[test]
    fn absolute_target_still_requires_host_in_http_1_1() {
        assert!(says(Version::HTTP_11, "http://a.test/", &["b.test"]));
        assert!(!says(Version::HTTP_11, "http://a.test/", &[]));
        assert!(!says(Version::HTTP_11, "http://user@a.test/", &["a.test"]));
    }

    #[test]
    fn http_2_requires_authority_matching_host() {
        assert!(says(Version::HTTP_2, "https://a.test:443/", &[]));
        assert!(says(Version::HTTP_2, "https://a.test:443/", &["A.test:443"]));
        assert!(says(Version::HTTP_2, "/", &["a.test"]));
        assert!(!says(Version::HTTP_2, "https://a.test/", &["b.test"]));
        assert!(!says(Version::HTTP_2, "https://a.test:443/", &["a.test"]));
        assert!(!says(Version::HTTP_2, "/", &[]));
        assert!(!says(Version::HTTP_2, "https://user@a.test/", &[]));
    }
}
