//! Validates responses before use: names have their form, lists and texts are bounded. A trusted server may still be
//! malicious.

use infra_shared::api::{
    AudienceTokenResponse, CurrentSession, Delegation, FinishLoginResponse, ListedSession, ListedSessions,
    ListedUser, MAX_DELEGATED_AUDIENCES, Provider, RevocationResponse, Server, Session, StartLoginResponse,
    User, WORKLOAD, is_label,
};
use infra_shared::names::is_name;
use infra_shared::token_text::{ServiceToken, SessionToken};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

/// A daemon configuration has only a few.
const MAX_PROVIDERS: usize = 64;
/// A daemon announces at most ten.
const MAX_REDIRECT_URIS: usize = 16;
/// The current authority and the next one.
const MAX_PINS: usize = 16;
/// More than the session limit of any user.
const MAX_SESSIONS: usize = 4096;
/// The daemon's own limit.
const MAX_GROUPS: usize = 256;
/// In bytes, for displayed text.
const MAX_TEXT_BYTES: usize = 1024;
/// In bytes.
const MAX_URL_BYTES: usize = 2048;
/// OpenID Connect Core §2.
const MAX_SUBJECT_BYTES: usize = 255;

/// A response of the daemon.
pub(super) trait CheckedResponse: DeserializeOwned {
    /// Whether the values have valid form and size.
    fn is_valid(&self) -> bool;
}

impl CheckedResponse for Server {
    fn is_valid(&self) -> bool {
        is_short(&self.version)
            && self.providers.len() <= MAX_PROVIDERS
            && self.providers.iter().all(is_provider)
            && self.pins.len() <= MAX_PINS
    }
}

impl CheckedResponse for StartLoginResponse {
    /// The URL is checked against its sign-in before it is opened.
    fn is_valid(&self) -> bool {
        !self.ticket.expose_secret().is_empty()
    }
}

impl CheckedResponse for FinishLoginResponse {
    fn is_valid(&self) -> bool {
        let token = SessionToken::parse(self.token.expose_secret());
        token.is_some_and(|token| *token.id() == self.session.id)
            && is_session(&self.session)
            && is_user(&self.user)
    }
}

impl CheckedResponse for CurrentSession {
    fn is_valid(&self) -> bool {
        is_user(&self.user)
            && is_session(&self.session)
            && self.newer.as_ref().is_none_or(|newer| is_listed(&newer.newest))
    }
}

impl CheckedResponse for ListedSessions {
    fn is_valid(&self) -> bool {
        self.sessions.len() <= MAX_SESSIONS && self.sessions.iter().all(is_listed)
    }
}

impl CheckedResponse for RevocationResponse {
    fn is_valid(&self) -> bool {
        true
    }
}

impl CheckedResponse for AudienceTokenResponse {
    fn is_valid(&self) -> bool {
        ServiceToken::parse(self.token.expose_secret()).is_some() && is_short(&self.audience)
    }
}

fn is_provider(provider: &Provider) -> bool {
    is_name(&provider.name)
        && is_name(&provider.kind)
        && is_url(&provider.issuer)
        && provider.redirect_uris.len() <= MAX_REDIRECT_URIS
        && provider.redirect_uris.iter().all(|uri| is_url(uri))
}

fn is_user(user: &User) -> bool {
    let User { name, email, groups, provider, issuer, subject } = user;
    // A workload never signs in.
    is_name(provider)
        && groups.len() <= MAX_GROUPS
        && groups.iter().all(|group| is_short(group))
        && is_identity((name.as_deref(), email.as_deref()), provider, issuer, subject)
}

/// IDs and times have no other form.
pub(super) fn is_session(session: &Session) -> bool {
    session.delegation.as_ref().is_none_or(|Delegation { parent: _, audiences, label }| {
        (1..=MAX_DELEGATED_AUDIENCES).contains(&audiences.len())
            && audiences.iter().all(|audience| is_short(audience))
            && is_label(label)
    })
}

fn is_listed(listed: &ListedSession) -> bool {
    let ListedUser { name, email, provider, issuer, subject } = &listed.user;
    is_session(&listed.session)
        && [&listed.device, &listed.address].into_iter().flatten().all(|text| is_short(text))
        && is_identity((name.as_deref(), email.as_deref()), provider, issuer, subject)
}

fn is_identity(
    (name, email): (Option<&str>, Option<&str>),
    provider: &str,
    issuer: &str,
    subject: &str,
) -> bool {
    let workload = provider.strip_prefix(WORKLOAD);
    // The subject of a workload begins with its provider.
    let max_subject = MAX_SUBJECT_BYTES + workload.map_or(0, |_| provider.len() + 1);
    [name, email].into_iter().flatten().all(is_short)
        && is_name(workload.unwrap_or(provider))
        && is_url(issuer)
        && (1..=max_subject).contains(&subject.len())
        && subject.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control())
}

/// Other characters are escaped where they are shown.
fn is_short(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES
}

fn is_url(text: &str) -> bool {
    (1..=MAX_URL_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
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
        serde_json::from_value::<Server>(server).is_ok_and(|server| server.is_valid())
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
        serde_json::from_value::<FinishLoginResponse>(finished).is_ok_and(|finished| finished.is_valid())
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
            ("provider", json!("workload:ci")),
            ("issuer", json!("https://a\u{202e}b")),
            ("subject", json!("")),
            ("subject", json!("a\u{1b}[2J")),
            ("name", json!("a".repeat(1025))),
            ("groups", json!(vec!["a"; 257])),
        ] {
            assert!(!finished(|finished| finished["user"][field] = value.clone()), "{field}: {value}");
        }
    }

    #[test]
    fn listed_workload_needs_a_name_and_a_bounded_subject() {
        let listed = |provider: &str, subject: &str| {
            let session = json!({
                "id": SessionToken::mint().id(), "createdAt": "2026-11-23T08:00:00Z",
                "expiresAt": "2026-11-23T08:10:00Z", "idleExpiresAt": "2026-11-23T08:10:00Z",
                "lastUsedAt": "2026-11-23T08:00:00Z", "device": null, "loginMethod": null, "address": null,
                "current": false,
                "user": {"name": null, "email": null, "provider": provider, "issuer": "https://ci.test",
                         "subject": subject},
            });
            let sessions = json!({"sessions": [session], "now": "2026-11-23T08:00:00Z"});
            serde_json::from_value::<ListedSessions>(sessions).is_ok_and(|listed| listed.is_valid())
        };
        let longest = format!("workload:ci/{}", "a".repeat(255));
        assert!(listed("workload:ci", "workload:ci/job") && listed("workload:ci", &longest));
        assert!(!listed("workload:ci", &format!("{longest}a")) && !listed("okta", &longest));
        for provider in ["workload:", "workload:a b", "workload:workload:ci", "Workload:ci"] {
            assert!(!listed(provider, "workload:ci/job"), "{provider}");
        }
    }
}
