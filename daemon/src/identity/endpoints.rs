//! Where a provider's endpoints may be: the addresses that are read from its metadata are never taken on trust.

use url::Url;

/// Whether a text is a host as configurations name it: `HOST`, or `HOST:PORT` where the port is not that of HTTPS.
pub fn is_endpoint_host(text: &str) -> bool {
    Url::parse(&format!("https://{text}/")).is_ok_and(|url| host_and_port(&url).as_deref() == Some(text))
}

/// The host of a URL as configurations and logs name it.
pub(super) fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
