//! Reads the address of an unreachable page, pasted into the terminal.
//!
//! Input typed while a sign-in waits may be meant for the shell. So the terminal's settings stay unchanged, except on a
//! system that would cut the address, and there only after the user was asked to paste. Until then, only two kinds of
//! lines are consumed: an empty line, and one long enough to be the address. All other input stays for the next program.
//! One exception remains: a long line, or several lines of the same total length, are consumed and reported as invalid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use url::{ParseError, Url, form_urlencoded};

use super::authorization_url::AuthorizationURL;
use super::listener::Event;
use super::response::{ExpectedResponse, Response};
use crate::platform::{ReadResult, read_available, restore_keyboard};

const PAUSE: Duration = Duration::from_millis(50);
const HOST: &str = "127.0.0.1";
/// Quotes, brackets and zero-width characters.
const DECORATION: [char; 13] = [
    '"', '\'', '`', '<', '>', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{200b}',
    '\u{2060}', '\u{feff}',
];
/// Bracketed-paste markers that terminals add, without the escape character.
const PASTE_MARKS: [&str; 2] = ["[200~", "[201~"];
/// More than a terminal returns at once: Linux cuts a line at 4,096 bytes, macOS at 1,024.
const MAX_LINE: usize = 8 * 1024;

/// The terminal's keyboard, watched until drop.
pub(super) struct Keyboard {
    is_over: Arc<AtomicBool>,
    is_asked: Arc<AtomicBool>,
}

impl Keyboard {
    /// Sends typed or pasted lines. An address has `min_length` this many bytes.
    pub(super) fn watch(min_length: usize, events: Sender<Event>) -> Self {
        let (is_over, is_asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (over, asked) = (Arc::clone(&is_over), Arc::clone(&is_asked));
        thread::spawn(move || {
            let mut line = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let is_asked = asked.load(Ordering::SeqCst);
                match read_available(if is_asked { None } else { Some(min_length) }, MAX_LINE, &mut line) {
                    Ok(ReadResult::Nothing) => thread::sleep(PAUSE),
                    Ok(ReadResult::Data) if line.ends_with(b"\n") => {
                        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).trim().to_owned();
                        let event = if text.is_empty() { Event::EmptyLine } else { Event::Pasted(text) };
                        if events.send(event).is_err() {
                            return;
                        }
                    }
                    Ok(ReadResult::Data) => {}
                    // The browser may still return.
                    Ok(ReadResult::End) | Err(_) => return,
                }
            }
        });
        Self { is_over, is_asked }
    }

    /// Consume every line from now on, because the user was asked to paste the address.
    pub(super) fn prompt(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // Later input is for other programs.
        self.is_over.store(true, Ordering::SeqCst);
        restore_keyboard();
    }
}

/// Length in bytes of the shortest address that can be expected.
pub(super) fn min_length(port: u16, expected: &ExpectedResponse) -> usize {
    format!("http://127.0.0.1:{port}/callback?code=c&state={}", expected.state).len()
}

/// Parses the response in a pasted address with the same checks as one from the browser. The scheme and everything
/// before the query may be missing: only the query is used.
pub(super) fn response(line: &str, port: u16, expected: &ExpectedResponse) -> Option<Response> {
    let text = strip_decoration(line);
    let address = match text {
        _ if text.starts_with(HOST) => format!("http://{text}"),
        _ if text.starts_with('/') => format!("http://{HOST}:{port}{text}"),
        _ => text.to_owned(),
    };
    let url = match Url::parse(&address) {
        Ok(url) => url,
        Err(ParseError::RelativeUrlWithoutBase) => {
            let query = text.split('#').next().unwrap_or_default();
            let query = query.strip_prefix('?').unwrap_or(query);
            // Reject an address of another host that lacks its scheme.
            let first = query.split('=').next().unwrap_or_default();
            let is_query = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return expected.parse(Some(query).filter(|_| is_query)?);
        }
        Err(_) => return None,
    };
    // Without an explicit port, the default would depend on the scheme.
    let is_ours = ["http", "https"].contains(&url.scheme())
        && url.host_str() == Some(HOST)
        && url.port() == Some(port)
        && url.path() == "/callback"
        && url.username().is_empty()
        && url.password().is_none();
    expected.parse(url.query().filter(|_| is_ours)?)
}

/// Why a pasted line is not the expected address, and what to paste. `opened` is the address to sign in at.
pub(super) fn rejection(line: &str, port: u16, opened: &AuthorizationURL) -> String {
    let text = strip_decoration(line);
    let url = Url::parse(text).ok().filter(Url::has_host);
    let query = text.split_once('?').map_or(text, |(_, query)| query).split('#').next().unwrap_or_default();
    let [has_code, has_state] = [&["code", "error"][..], &["state"]].map(|names| {
        form_urlencoded::parse(query.as_bytes()).any(|(name, _)| names.contains(&name.as_ref()))
    });
    let wanted = format!("paste the one that your browser ends at, `http://{HOST}:{port}/callback?…`");
    match url {
        Some(url) if url.origin() == opened.origin() => {
            format!("that is an address of the sign-in page: sign in there, then {wanted}")
        }
        _ if has_code && has_state => {
            format!(
                "that address belongs to another sign-in, or a part of it is missing: {wanted}, to its end"
            )
        }
        _ if has_code || has_state => format!("a part of that address is missing: {wanted}, to its end"),
        Some(_) => format!("that is not the address with the result of the sign-in: {wanted}"),
        None => format!("that is not an address: {wanted}"),
    }
}

/// Removes what terminals, mail and chat programs put around an address.
fn strip_decoration(line: &str) -> &str {
    let mut text = line;
    loop {
        let before = text;
        text = text.trim_matches(|character: char| {
            character.is_whitespace() || character.is_control() || DECORATION.contains(&character)
        });
        for mark in PASTE_MARKS {
            text = text.strip_prefix(mark).unwrap_or(text);
            text = text.strip_suffix(mark).unwrap_or(text);
        }
        if text == before {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_address_is_accepted_in_every_form() {
        let expected = ExpectedResponse { state: "s".to_owned(), issuer: "https://login.test".to_owned() };
        let taken = |line: &str| response(line, 8301, &expected).is_some();
        for line in [
            "  http://127.0.0.1:8301/callback?code=a&state=s\r\n",
            "HTTP://127.0.0.1:8301/callback?code=a&state=s#",
            "https://127.0.0.1:8301/callback?code=a&state=s",
            "\u{1b}[200~http://127.0.0.1:8301/callback?code=a&state=s\u{1b}[201~",
            "[200~http://127.0.0.1:8301/callback?code=a&state=s[201~",
            "\"http://127.0.0.1:8301/callback?code=a&state=s\"",
            "\u{201c}http://127.0.0.1:8301/callback?code=a&state=s\u{201d} ",
            "'<http://127.0.0.1:8301/callback?code=a&state=s>'\u{a0}",
            "\u{200b}\thttp://127.0.0.1:8301/callback?code=a&state=s",
            "127.0.0.1:8301/callback?code=a&state=s",
            "/callback?code=a&state=s",
            "?code=a&state=s",
            "code=a&state=s&session_state=x#",
            "state=s&code=4/0b:c//d?e",
        ] {
            assert!(taken(line), "{line}");
        }
        for line in [
            "",
            "code=a&state=other",
            "state=s",
            "a code=a&state=s",
            "callback?code=a&state=s",
            "evil.test/callback?x&code=a&state=s",
            "http://127.0.0.1:8301/callback?code=a&state=other",
            "http://127.0.0.1:8302/callback?code=a&state=s",
            "https://127.0.0.1/callback?code=a&state=s",
            "//127.0.0.1:8301/callback?code=a&state=s",
            "http://localhost:8301/callback?code=a&state=s",
            "ftp://127.0.0.1:8301/callback?code=a&state=s",
            "http://127.0.0.1:8301/other?code=a&state=s",
            "/other?code=a&state=s",
            "http://a@127.0.0.1:8301/callback?code=a&state=s",
            "127.0.0.1:8301@evil.test/callback?code=a&state=s",
            "http://127.0.0.1:8301/callback",
            "$ http://127.0.0.1:8301/callback?code=a&state=s",
        ] {
            assert!(!taken(line), "{line}");
        }
    }

    #[test]
    fn rejection_of_paste_says_what_to_paste() {
        let url = Url::parse("https://login.test/authorize?response_type=code&state=s").expect("a URL");
        let opened = AuthorizationURL(url);
        for (line, words) in [
            (opened.as_str(), "an address of the sign-in page: sign in there, then paste"),
            ("\"https://login.test/home\"", "an address of the sign-in page"),
            ("http://127.0.0.1:8301/callback?code=a", "a part of that address is missing"),
            ("state=s", "a part of that address is missing"),
            ("http://127.0.0.1:8301/callback?code=a&state=x", "belongs to another sign-in, or a part"),
            ("http://127.0.0.1:8302/callback?code=a&state=s", "belongs to another sign-in, or a part"),
            ("http://127.0.0.1:8301/", "not the address with the result of the sign-in"),
            ("infra status", "that is not an address"),
            ("", "that is not an address"),
        ] {
            let said = rejection(line, 8301, &opened);
            assert!(
                said.contains(words) && said.contains("`http://127.0.0.1:8301/callback?…`"),
                "{line}: {said}"
            );
            assert!(!said.contains('\n') && said.len() < 200, "{line}: {said}");
        }
    }
}
