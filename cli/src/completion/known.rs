//! Completes known names: servers, identity providers, sessions and audiences.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap_complete::CompletionCandidate;
use infra_shared::printable::printable;

use crate::home::{Home, State};
use crate::settings::Settings;

/// The scheme that every server has, and that users need not type.
const SCHEME: &str = "https://";
/// Maximum length of a displayed account.
const MAX_CHARACTERS: usize = 60;

/// The known servers, the current one first, each with its account.
pub fn servers(typed: &OsStr) -> Vec<CompletionCandidate> {
    servers_in(&state(), typed)
}

/// The identity providers that were used at any known server.
pub fn providers(typed: &OsStr) -> Vec<CompletionCandidate> {
    providers_in(&state(), typed)
}

/// The known session IDs: those of this machine, and those shown in warnings.
pub fn sessions(typed: &OsStr) -> Vec<CompletionCandidate> {
    sessions_in(&state(), typed)
}

/// The audiences of cached tokens.
pub fn audiences(typed: &OsStr) -> Vec<CompletionCandidate> {
    audiences_in(&state(), typed)
}

/// The stored state, as far as it is readable.
fn state() -> State {
    Settings::read().map(|settings| Home::read_lossy(&settings.home)).unwrap_or_default()
}

fn servers_in(state: &State, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let servers: BTreeSet<_> = state.config.servers.keys().chain(state.sessions.sessions.keys()).collect();
    servers
        .into_iter()
        .filter_map(|origin| {
            let whole = origin.to_string();
            let short = whole.strip_prefix(SCHEME).unwrap_or(&whole);
            // Offer the full form if the user typed the scheme.
            let name = [short, &whole].into_iter().find(|name| name.starts_with(&*typed))?;
            let is_current = state.config.current.as_ref() == Some(origin);
            let user = state.sessions.sessions.get(origin).map(|session| &session.user);
            let user = user.and_then(|user| user.email.as_ref().or(user.name.as_ref()));
            let help = match (user, is_current) {
                (Some(user), true) => format!("current, {}", printable(user, MAX_CHARACTERS)),
                (Some(user), false) => printable(user, MAX_CHARACTERS),
                (None, true) => "current".to_owned(),
                (None, false) => "not signed in".to_owned(),
            };
            Some(
                CompletionCandidate::new(name)
                    .help(Some(help.into()))
                    .display_order(Some(usize::from(!is_current))),
            )
        })
        .collect()
}

fn providers_in(state: &State, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let of_servers = state.config.servers.values().filter_map(|server| server.provider.as_ref());
    let of_sessions = state.sessions.sessions.values().map(|session| &session.user.provider);
    let names: BTreeSet<_> = of_servers.chain(of_sessions).collect();
    names
        .into_iter()
        .filter(|name| name.starts_with(&*typed) && is_plain(name))
        .map(CompletionCandidate::new)
        .collect()
}

fn audiences_in(state: &State, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let sessions = state.sessions.sessions.values();
    let names: BTreeSet<_> = sessions.flat_map(|session| session.audience_tokens.keys()).collect();
    names
        .into_iter()
        .filter(|name| name.starts_with(&*typed) && is_plain(name))
        .map(CompletionCandidate::new)
        .collect()
}

/// Whether a name has no special meaning to shells and terminals. A server chose it, so other names are not offered.
fn is_plain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@%+=".contains(&byte);
    name.bytes().all(is_inner) && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn sessions_in(state: &State, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let known = state.sessions.sessions.iter().flat_map(|(origin, session)| {
        let own = (session.token.id(), format!("this machine, at {origin}"));
        let shown_id =
            session.last_notified.as_ref().map(|id| (id, format!("opened elsewhere, at {origin}")));
        shown_id.into_iter().chain([own])
    });
    known
        .filter(|(id, _)| id.as_str().starts_with(&*typed))
        .map(|(id, help)| CompletionCandidate::new(id.as_str()).help(Some(help.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::*;
    use crate::home::{Server, TrustRecord};

    fn state() -> State {
        let mut state = State::default();
        for (server, provider) in [
            ("a.test", "okta"),
            ("b.test:8443", "evil\u{1b}[2J"),
            ("c.test", "github"),
            ("d.test", "$(id>x)"),
            ("e.test", "-rf"),
            ("f.test", "~root"),
            ("g.test", "two words"),
        ] {
            let trust = TrustRecord::Pinned { pin: Pin::of_public_key(b"a") };
            let server_record = Server {
                trust,
                provider: Some(provider.to_owned()),
                keyring: false,
                ca_rollover: None,
                previous_trust: Vec::new(),
            };
            state.config.servers.insert(server.parse().expect("an origin"), server_record);
        }
        state.config.current = Some("b.test:8443".parse().expect("an origin"));
        state
    }

    fn values(candidates: &[CompletionCandidate]) -> Vec<String> {
        candidates.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn servers_are_completed_with_and_without_scheme() {
        let servers = |typed: &str| values(&servers_in(&state(), OsStr::new(typed)));
        assert_eq!(servers(""), ["a.test", "b.test:8443", "c.test", "d.test", "e.test", "f.test", "g.test"]);
        assert_eq!(servers("b"), ["b.test:8443"]);
        assert_eq!(servers("b.test:8"), ["b.test:8443"]);
        assert_eq!(servers("https://c"), ["https://c.test"]);
        assert_eq!(servers("x"), Vec::<String>::new());
    }

    #[test]
    fn current_server_is_labelled() {
        let servers = servers_in(&state(), OsStr::new(""));
        let help = |index: usize| servers[index].get_help().map(ToString::to_string).unwrap_or_default();
        assert_eq!((help(0), help(1)), ("not signed in".to_owned(), "current".to_owned()));
    }

    #[test]
    fn providers_with_special_characters_are_not_offered() {
        assert_eq!(values(&providers_in(&state(), OsStr::new(""))), ["github", "okta"]);
        assert_eq!(values(&providers_in(&state(), OsStr::new("g"))), ["github"]);
    }
}
