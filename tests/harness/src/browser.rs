//! Plays the browser: follows redirects, keeps cookies and signs in on pages with a sign-in form.

mod cookies;
mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use cookies::Cookies;
use page::Next;

/// Above the number of steps in any honest login.
const MAX_STEPS: usize = 20;

/// The user at the browser, and the CAs that the browser trusts.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The name to type or choose on a sign-in page. The password is always `password`.
    pub user: String,
    /// Clicks "Cancel" if a page has such a button.
    pub cancel: bool,
    /// PEM files of the CAs of the pages.
    pub authorities: Vec<PathBuf>,
}

/// The last page.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Every requested URL, in order.
    pub urls: Vec<String>,
    pub status: u16,
    pub page: String,
}

/// Why the browser did not reach a last page.
#[derive(Debug)]
pub enum BrowserError {
    NotAURL(String),
    Authority(PathBuf),
    /// The request for this URL failed.
    Unreachable {
        url: String,
        cause: String,
    },
    TooManySteps(Vec<String>),
}

impl std::fmt::Display for BrowserError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAURL(text) => write!(formatter, "not a URL: {text}"),
            Self::Authority(file) => write!(formatter, "no certificate can be read from {}", file.display()),
            Self::Unreachable { url, cause } => write!(formatter, "{url} cannot be had: {cause}"),
            Self::TooManySteps(urls) => write!(formatter, "more than {MAX_STEPS} steps: {urls:?}"),
        }
    }
}

impl std::error::Error for BrowserError {}

/// Opens `url` and follows redirects and sign-in pages to the last page.
pub fn follow(url: &str, browser: &Browser) -> Result<Followed, BrowserError> {
    walk(url, browser, |_| false)
}

/// Like [`follow`], but stops before the first later URL with the path `/callback`, and adds it to `urls`.
/// The test then controls the authorization response.
pub fn follow_to_callback(url: &str, browser: &Browser) -> Result<Followed, BrowserError> {
    walk(url, browser, |url| url.scheme() == "http" && url.path() == "/callback")
}

/// A client that trusts only the CAs in these files and follows no redirects.
pub fn client(authorities: &[PathBuf]) -> Result<Client, BrowserError> {
    let mut roots = RootCertStore::empty();
    for file in authorities {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|_| BrowserError::Authority(file.clone()))?;
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_mins(1))
        .build()
        .expect("a client of known parts"))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BrowserError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|_| BrowserError::Authority(file.to_owned()))
}

fn walk(url: &str, browser: &Browser, is_end: impl Fn(&Url) -> bool) -> Result<Followed, BrowserError> {
    let client = client(&browser.authorities)?;
    let mut cookies = Cookies::default();
    let mut next = Next::Open(Url::parse(url).map_err(|_| BrowserError::NotAURL(url.to_owned()))?);
    let mut urls = Vec::new();
    let mut last = None;

    while urls.len() < MAX_STEPS {
        let (at, form) = match next {
            Next::Open(url) => (url, None),
            Next::Submit(url, fields) => (url, Some(fields)),
        };
        urls.push(at.to_string());
        if is_end(&at) {
            return Ok(Followed { urls, status: 0, page: String::new() });
        }
        let mut request = match &form {
            Some(fields) => client.post(at.clone()).form(fields),
            None => client.get(at.clone()),
        };
        if let Some(header) = cookies.header(&at) {
            request = request.header("cookie", header);
        }
        let response = request.send().map_err(|error| unreachable(&at, &error))?;
        cookies.keep(&at, response.headers());
        let status = response.status().as_u16();
        let redirected = redirect(&at, &response);
        let page = response.text().map_err(|error| unreachable(&at, &error))?;

        let Some(step) = redirected.map(Next::Open).or_else(|| page::next(&at, &page, browser)) else {
            last = Some((status, page));
            break;
        };
        next = step;
    }
    match last {
        Some((status, page)) => Ok(Followed { urls, status, page }),
        None => Err(BrowserError::TooManySteps(urls)),
    }
}

fn redirect(at: &Url, response: &Response) -> Option<Url> {
    let is_redirect = response.status().is_redirection();
    let location = response.headers().get("location").filter(|_| is_redirect)?.to_str().ok()?;
    at.join(location).ok()
}

fn unreachable(url: &Url, error: &reqwest::Error) -> BrowserError {
    BrowserError::Unreachable { url: url.to_string(), cause: format!("{error:?}") }
}
