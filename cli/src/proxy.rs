//! Hints for proxy errors. `infra_shared::http` chooses the proxy for both programs.

use infra_shared::http::Proxies;
use url::Url;

pub use infra_shared::http::{ProxyError, Route};

/// How the HTTP client reaches `url`.
pub fn route(url: &Url) -> Route {
    Proxies::from_environment().route(url)
}

/// The hint for `error`.
pub fn hint(error: &ProxyError) -> &'static str {
    match error {
        ProxyError::Malformed { .. } => {
            "`http://HOST:PORT`, with `USER:PASSWORD@` before the host where it asks for them"
        }
        ProxyError::Scheme { .. } => {
            "`http://HOST:PORT`: what goes through it is encrypted to the server all the same"
        }
        ProxyError::AsksForCredentials { .. } | ProxyError::WrongCredentials { .. } => {
            "`HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT` with what whoever runs the proxy gave you"
        }
        ProxyError::Refused { .. } | ProxyError::TimedOut { .. } | ProxyError::Failed { .. } => {
            "put a server that is reached without the proxy into `NO_PROXY`; for any other, ask whoever runs the proxy"
        }
    }
}
