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
            "`http://HOST:PORT`, or `http://USER:PASSWORD@HOST:PORT` if the proxy requires credentials"
        }
        ProxyError::Scheme { .. } => {
            "`http://HOST:PORT`: the connection to the server is encrypted in any case"
        }
        ProxyError::AsksForCredentials { .. } | ProxyError::WrongCredentials { .. } => {
            "`HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT` with your credentials for the proxy"
        }
        ProxyError::Refused { .. } | ProxyError::TimedOut { .. } | ProxyError::Failed { .. } => {
            "if the server can be reached without the proxy, add it to `NO_PROXY`; otherwise ask the proxy's operator"
        }
    }
}
