//! How long a response may be cached (RFC 9111), within our own bounds.

use jiff::SignedDuration;
use jiff::fmt::rfc2822;
use reqwest::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName};

/// Lower bound, so that a provider's short lifetime does not cause frequent requests.
const SHORTEST: SignedDuration = SignedDuration::from_secs(30);
/// Upper bound, so that a withdrawn key expires even if the provider allows longer. Also the default.
const LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// Returns how long a response with these headers is fresh.
pub(super) fn from_headers(headers: &HeaderMap) -> SignedDuration {
    let directives = directives(headers);
    let is_said = |name: &str| directives.iter().any(|(directive, _)| directive == name);
    if is_said("no-store") || is_said("no-cache") {
        return SHORTEST;
    }
    // RFC 9111 §4.2.1: conflicting or invalid values count as the shortest.
    let ages: Vec<&String> =
        directives.iter().filter(|(name, _)| name == "max-age").map(|(_, value)| value).collect();
    let lifetime = match ages.iter().map(|value| seconds(value).unwrap_or_default()).min() {
        Some(lifetime) => lifetime,
        None => match expires(headers) {
            Some(lifetime) => lifetime,
            None => return LONGEST,
        },
    };
    let age = text(headers, AGE).and_then(seconds).unwrap_or_default();
    SignedDuration::from_secs(lifetime.saturating_sub(age)).clamp(SHORTEST, LONGEST)
}

/// Returns the directives of all `Cache-Control` headers, with lower-case names.
fn directives(headers: &HeaderMap) -> Vec<(String, String)> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
        })
        .collect()
}

/// RFC 9111 §4.2.1: `Expires` minus `Date`. An invalid `Expires` has already passed (§5.3).
fn expires(headers: &HeaderMap) -> Option<i64> {
    let expires = text(headers, EXPIRES)?;
    let date = |text: &str| rfc2822::parse(text).ok().map(|date| date.timestamp().as_second());
    let begin = text(headers, DATE).and_then(date);
    Some(date(expires).zip(begin).map_or(0, |(end, begin)| end.saturating_sub(begin).max(0)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Parses delta-seconds (RFC 9111 §1.2.2). A value that overflows counts as very long.
fn seconds(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn fresh(headers: &[(&'static str, &'static str)]) -> i64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        from_headers(&map).as_secs()
    }

    #[test]
    fn cache_lifetime_follows_headers_within_bounds() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, expected) in [
            (vec![], 600),
            (vec![("cache-control", "max-age=120")], 120),
            (vec![("cache-control", "public, MAX-AGE=\"120\", must-revalidate")], 120),
            (vec![("cache-control", "max-age=0")], 30),
            (vec![("cache-control", "max-age=5")], 30),
            (vec![("cache-control", "max-age=86400")], 600),
            (vec![("cache-control", "max-age=99999999999999999999")], 600),
            (vec![("cache-control", "max-age=-1")], 30),
            (vec![("cache-control", "max-age=soon")], 30),
            (vec![("cache-control", "max-age=300"), ("cache-control", "max-age=60")], 60),
            (vec![("cache-control", "max-age=300"), ("cache-control", "no-store")], 30),
            (vec![("cache-control", "no-cache, max-age=300")], 30),
            (vec![("cache-control", "max-age=300"), ("age", "100")], 200),
            (vec![("cache-control", "max-age=300"), ("age", "400")], 30),
            (vec![("cache-control", "public")], 600),
            (vec![("expires", "Sun, 06 Nov 1994 08:51:37 GMT"), date], 120),
            (vec![("expires", "Sun, 06 Nov 1994 08:51:37 GMT"), date, ("age", "60")], 60),
            (vec![("expires", "Sun, 06 Nov 1994 08:00:00 GMT"), date], 30),
            (vec![("expires", "0"), date], 30),
            (vec![("expires", "Sun, 06 Nov 1994 08:51:37 GMT")], 30),
            (vec![("expires", "Sun, 06 Nov 1994 08:51:37 GMT"), date, ("cache-control", "max-age=90")], 90),
        ] {
            assert_eq!(fresh(&headers), expected, "{headers:?}");
        }
    }
}
