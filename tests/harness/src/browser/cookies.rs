//! The browser's cookies: name, path and host, as far as a login needs them (RFC 6265 §5).

use reqwest::header::{HeaderMap, SET_COOKIE};
use url::Url;

#[derive(Default)]
pub(super) struct Cookies(Vec<Cookie>);

struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

impl Cookies {
    /// Stores the cookies of a response from `url`. An empty value deletes the cookie.
    pub(super) fn keep(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE).iter().filter_map(|header| header.to_str().ok()) {
            let mut parts = header.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.trim().split_once('=')) else {
                continue;
            };
            let path = parts
                .filter_map(|part| part.trim().split_once('='))
                .find(|(attribute, _)| attribute.eq_ignore_ascii_case("path"))
                .map_or_else(|| default_path(url), |(_, path)| path.to_owned());
            let cookie = Cookie { host: host(url), path, name: name.to_owned(), value: value.to_owned() };
            self.0.retain(|kept| {
                (&kept.host, &kept.path, &kept.name) != (&cookie.host, &cookie.path, &cookie.name)
            });
            if !cookie.value.is_empty() {
                self.0.push(cookie);
            }
        }
    }

    /// The `Cookie` header for a request to `url`.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let pairs: Vec<String> = self
            .0
            .iter()
            .filter(|cookie| cookie.host == host(url) && path_matches(&cookie.path, url.path()))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// RFC 6265 §5.1.4.
fn default_path(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some((directory, _)) if !directory.is_empty() => directory.to_owned(),
        _ => "/".to_owned(),
    }
}

fn path_matches(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| cookie.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}
