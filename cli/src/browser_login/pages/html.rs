//! Layout of the pages: one style and one icon each, light and dark, for phones too. Pages load nothing.

use infra_shared::printable::printable;

use super::LoginSummary;

/// Maximum length of an account name.
const MAX_CHARACTERS: usize = 256;

/// The icon of a page. The title says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icon {
    Success,
    Failure,
    /// Neither success nor failure of this sign-in.
    Neutral,
}

const STYLE: &str = "\
    :root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--line:#dfe2e7;--text:#1b1f24;--quiet:#59626d;--good:#1a7f4b;--bad:#b3261e;--other:#59626d}\
    @media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1e2227;--line:#343a42;--text:#e8eaed;--quiet:#a2abb6;--good:#4cc38a;--bad:#ff8a80;--other:#a2abb6}}\
    *{box-sizing:border-box}\
    body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--back);color:var(--text);font:1rem/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}\
    main{width:100%;max-width:30rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}\
    svg{display:block;width:3rem;height:3rem;fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}\
    .good{stroke:var(--good)}.bad{stroke:var(--bad)}.other{stroke:var(--other)}\
    h1{margin:1rem 0 .5rem;font-size:1.5rem;line-height:1.25}\
    p{margin:.5rem 0}\
    dl{margin:1rem 0;display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem}\
    dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}\
    .aside{margin-top:1.25rem;padding-top:1.25rem;border-top:1px solid var(--line);color:var(--quiet);font-size:.9rem}\
    code{font:.95em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--text);white-space:nowrap}\
    @media(max-width:24rem){main{padding:1.25rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}";

/// Allows only the style above, by its hash, and the icon, which is embedded in the page.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-RrydHWxxSTPkJEpDfRRDGNo5zTcMMmUoSfeyMYJz92Q='; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Without an icon the browser would request `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' \
                    stroke='%231a7f4b' stroke-width='3'%3E%3Cpath d='M5 4l8 8-8 8M13 20h7'/%3E%3C/svg%3E";

/// A complete page. `title` and `body` are HTML.
pub(super) fn document(icon: Icon, title: &str, body: &str) -> String {
    let (class, path) = match icon {
        Icon::Success => ("good", "M7.5 12.5l3 3 6-6.5"),
        Icon::Failure => ("bad", "M8.5 8.5l7 7M15.5 8.5l-7 7"),
        Icon::Neutral => ("other", "M12 7v6M12 16.5v.01"),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} - infra</title><link rel=\"icon\" href=\"{ICON}\"><style>{STYLE}</style></head><body><main>\
         <svg class=\"{class}\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"10.5\"/>\
         <path d=\"{path}\"/></svg><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

/// Shows the account and server, and what to do if the account is not the intended one.
pub(super) fn logged_in(summary: &LoginSummary) -> String {
    let LoginSummary { account, server, provider } = summary;
    format!(
        "<dl><dt>Account</dt><dd><bdi>{}</bdi></dd><dt>Server</dt><dd>{}</dd></dl>\
         <p>Continue in your terminal. You can close this page.</p>\
         <p class=\"aside\">Not the account you meant? Sign out of {} in this browser, then run \
         <code>infra login --force</code>.</p>",
        text(account),
        text(server),
        text(provider)
    )
}

/// Escapes untrusted text for HTML.
fn text(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in printable(text, MAX_CHARACTERS).chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn policy_allows_exactly_the_style() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "the style's hash is {hash}");
    }

    #[cfg(unix)]
    #[test]
    fn hostile_text_is_escaped_everywhere() {
        use infra_harness::hostile_text::{all, assert_inert};

        let page = |account: &str, server: &str, provider: &str| {
            let owned = |text: &str| text.to_owned();
            let summary =
                LoginSummary { account: owned(account), server: owned(server), provider: owned(provider) };
            document(Icon::Success, "Signed in", &logged_in(&summary))
        };
        let tags = |page: &str| {
            let tag = regex_lite::Regex::new("<[^>]*>").expect("a valid pattern");
            tag.find_iter(page).map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>()
        };
        let honest = tags(&page("Alice", "https://gate.test", "okta"));
        for text in all() {
            for page in [page(&text, "s", "p"), page("a", &text, "p"), page("a", "s", &text)] {
                assert_inert(&page);
                assert_eq!(tags(&page), honest, "{text:?} became a part of the page");
                assert!(page.len() < 8 * 1024, "{text:?} makes {} bytes", page.len());
            }
        }
    }

    #[test]
    fn pages_load_and_run_nothing() {
        let page = document(Icon::Success, "Signed in", "");
        for loading in ["src=", "url(", "@import", "<script", "<form", "style=", "https://", " on"] {
            assert!(!page.contains(loading), "{loading} is in {page}");
        }
    }
}
