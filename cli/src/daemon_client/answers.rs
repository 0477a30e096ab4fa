//! Validates responses before use: names have their form, lists and texts are bounded. A trusted server may still be
//! malicious.

use infra_shared::api::{
    CurrentSession, EndedSessions, FinishedLogin, ListedSession, ListedSessions, ListedUser,
    OpenedAudienceToken, Provider, Server, StartedLogin, User,
};
use infra_shared::names::is_name;
use infra_shared::token_text::{AudienceToken, SessionToken};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

/// A daemon configuration has only a few.
const MOST_PROVIDERS: usize = 64;
/// A daemon announces at most ten.
const MOST_REDIRECT_URIS: usize = 16;
/// The current authority and the next one.
const MOST_PINS: usize = 16;
/// More than the session limit of any user.
const MOST_SESSIONS: usize = 4096;
/// The daemon's own limit.
const MOST_GROUPS: usize = 256;
/// In bytes, for displayed text.
const LONGEST_TEXT: usize = 1024;
/// In bytes.
const LONGEST_URL: usize = 2048;
/// OpenID Connect Core §2.
const LONGEST_SUBJECT: usize = 255;

/// A response of the daemon.
pub(super) trait Answer: DeserializeOwned {
    /// Whether the values have valid form and size.
    fn is_sound(&self) -> bool;
}

impl Answer for Server {
    fn is_sound(&self) -> bool {
        is_short(&self.version)
            && self.providers.len() <= MOST_PROVIDERS
            && self.providers.iter().all(is_provider)
            && self.pins.len() <= MOST_PINS
    }
}

impl Answer for StartedLogin {
    /// The URL is checked against its sign-in before it is opened.
    fn is_sound(&self) -> bool {
        !self.ticket.expose_secret().is_empty()
    }
}

impl Answer for FinishedLogin {
    fn is_sound(&self) -> bool {
        let token = SessionToken::parse(self.token.expose_secret());
        token.is_some_and(|token| *token.id() == self.session.id) && is_user(&self.user)
    }
}

impl Answer for CurrentSession {
    fn is_sound(&self) -> bool {
        is_user(&self.user) && self.newer.as_ref().is_none_or(|newer| is_listed(&newer.newest))
    }
}

impl Answer for ListedSessions {
    fn is_sound(&self) -> bool {
        self.sessions.len() <= MOST_SESSIONS && self.sessions.iter().all(is_listed)
    }
}

impl Answer for EndedSessions {
    fn is_sound(&self) -> bool {
        true
    }
}

impl Answer for OpenedAudienceToken {
    fn is_sound(&self) -> bool {
        AudienceToken::parse(self.token.expose_secret()).is_some() && is_short(&self.audience)
    }
}

fn is_provider(provider: &Provider) -> bool {
    is_name(&provider.name)
        && is_name(&provider.kind)
        && is_url(&provider.issuer)
        && provider.redirect_uris.len() <= MOST_REDIRECT_URIS
        && provider.redirect_uris.iter().all(|uri| is_url(uri))
}

fn is_user(user: &User) -> bool {
    let User { name, email, groups, provider, issuer, subject } = user;
    groups.len() <= MOST_GROUPS
        && groups.iter().all(|group| is_short(group))
        && is_identity((name.as_deref(), email.as_deref()), provider, issuer, subject)
}

fn is_listed(listed: &ListedSession) -> bool {
    let ListedUser { name, email, provider, issuer, subject } = &listed.user;
    [&listed.device, &listed.address].into_iter().flatten().all(|text| is_short(text))
        && is_identity((name.as_deref(), email.as_deref()), provider, issuer, subject)
}

fn is_identity(
    (name, email): (Option<&str>, Option<&str>),
    provider: &str,
    issuer: &str,
    subject: &str,
) -> bool {
    [name, email].into_iter().flatten().all(is_short)
        && is_name(provider)
        && is_url(issuer)
        && (1..=LONGEST_SUBJECT).contains(&subject.len())
        && subject.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control())
}

/// Other characters are escaped where they are shown.
fn is_short(text: &str) -> bool {
    text.len() <= LONGEST_TEXT
}

fn is_url(text: &str) -> bool {
    (1..=LONGEST_URL).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(change: impl FnOnce(&mut Value)) -> bool {
        let mut server = json!({
            "version": "1", "now": "2026-11-23T08:00:00Z", "pins": [],
            "providers": [{"name": "okta", "kind": "okta", "issuer": "https://okta.test",
                           "redirectURIs": ["http://127.0.0.1:8301/callback"]}],
        });
        change(&mut server);
        serde_json::from_value::<Server>(server).is_ok_and(|server| server.is_sound())
    }

    fn finished(change: impl FnOnce(&mut Value)) -> bool {
        let token = SessionToken::mint();
        let mut finished = json!({
            "token": token.expose(), "now": "2026-11-23T08:00:00Z",
            "session": {"id": token.id(), "createdAt": "2026-11-23T08:00:00Z",
                        "expiresAt": "2026-11-23T20:00:00Z", "idleExpiresAt": "2026-11-23T12:00:00Z"},
            "user": {"name": "Alice", "email": null, "groups": ["a b"], "provider": "okta",
                     "issuer": "https://okta.test", "subject": "00u1"},
        });
        change(&mut finished);
        serde_json::from_value::<FinishedLogin>(finished).is_ok_and(|finished| finished.is_sound())
    }

    #[test]
    fn server_with_hostile_names_or_long_lists_is_rejected() {
        assert!(server(|_| {}));
        for name in ["", "a b", "$(id)", "`id`", "-x", "a'", "okta\n", &"a".repeat(33)] {
            assert!(!server(|server| server["providers"][0]["name"] = json!(name)), "{name:?}");
            assert!(!server(|server| server["providers"][0]["kind"] = json!(name)), "{name:?}");
        }
        assert!(!server(|server| server["providers"][0]["issuer"] = json!("https://a b")));
        assert!(!server(|server| server["version"] = json!("1".repeat(1025))));
        let many = |value: &Value, count| json!(vec![value.clone(); count]);
        assert!(server(|server| server["providers"] = many(&server["providers"][0], 64)));
        assert!(!server(|server| server["providers"] = many(&server["providers"][0], 65)));
        let pin = json!(infra_shared::pin::Pin::of_public_key(b"a"));
        assert!(!server(|server| server["pins"] = many(&pin, 17)));
        let uri = json!("http://127.0.0.1:8301/callback");
        assert!(!server(|server| server["providers"][0]["redirectURIs"] = many(&uri, 17)));
    }

    #[test]
    fn finished_login_with_malformed_token_or_name_is_rejected() {
        assert!(finished(|_| {}));
        assert!(!finished(|finished| finished["token"] = json!("infra_x.y")));
        assert!(!finished(|finished| finished["token"] = json!(SessionToken::mint().expose())));
        assert!(!finished(|finished| finished["session"]["id"] = json!("$(id)")));
        for (field, value) in [
            ("provider", json!("$(id)")),
            ("issuer", json!("https://a\u{202e}b")),
            ("subject", json!("")),
            ("subject", json!("a\u{1b}[2J")),
            ("name", json!("a".repeat(1025))),
            ("groups", json!(vec!["a"; 257])),
        ] {
            assert!(!finished(|finished| finished["user"][field] = value.clone()), "{field}: {value}");
        }
    }
}
