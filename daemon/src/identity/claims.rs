//! From verified claims to a person: only texts of sane size and shape are taken over.

use infra_shared::printable::is_printable;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::{IdentityError, ProviderSettings, VerifiedIdentity, refused};

const MAX_GROUPS: usize = 256;
const MAX_BYTES: usize = 256;

/// Whether something that was asked for is not in the ID token and may be at the userinfo endpoint.
pub(super) fn are_missing(id_token: &Map<String, Value>, settings: &ProviderSettings) -> bool {
    let is_asked_for = |scope: &str| settings.scopes.iter().any(|asked| asked == scope);
    let is_missing = |claim: &str| !id_token.contains_key(claim);
    (is_asked_for("email") && is_missing("email"))
        || (is_asked_for("profile") && is_missing("name"))
        || (is_asked_for("groups") && is_missing(&settings.groups_claim))
}

/// What a provider says of somebody. `None` is what it does not mention: OpenID Connect Core §5.3.2 has a claim left out
/// that is not returned, and a null for one means the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub name: Option<Option<String>>,
    pub email: Option<ToldEmail>,
    pub groups: Option<Vec<String>>,
}

/// An e-mail as a provider tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEmail {
    /// `None` where what it says is no e-mail that could be shown.
    pub address: Option<String>,
    /// Whether it vouches for it; `None` where it does not mention that.
    pub is_verified: Option<bool>,
}

/// The person `subject`, of whom an ID token says `id_token`. What that does not say may be taken from `user_info`, whose
/// subject is the same.
pub(super) fn identity(
    subject: &str,
    id_token: &Map<String, Value>,
    user_info: Option<&Map<String, Value>>,
    settings: &ProviderSettings,
) -> Result<VerifiedIdentity, IdentityError> {
    let Told { name, email, groups } = told(id_token, user_info, settings)?;
    let email_verified = email.as_ref().is_some_and(|email| email.is_verified == Some(true));
    Ok(VerifiedIdentity {
        issuer: settings.issuer.clone(),
        subject: subject.to_owned(),
        name: name.flatten(),
        email: email.and_then(|email| email.address),
        email_verified,
        groups: groups.unwrap_or_default(),
    })
}

/// What an ID token and the userinfo endpoint mention; the ID token counts before the other.
pub(super) fn told(
    id_token: &Map<String, Value>,
    user_info: Option<&Map<String, Value>>,
    settings: &ProviderSettings,
) -> Result<Told, IdentityError> {
    let find = |name: &str| {
        let found = id_token.get(name).or_else(|| user_info.and_then(|claims| claims.get(name)));
        found.filter(|value| !value.is_null())
    };
    // E-mail and whether it is verified are from one source: the one's `true` says nothing of the other's address.
    let of_email = if id_token.contains_key("email") { Some(id_token) } else { user_info };
    Ok(Told {
        name: find("name").map(text),
        email: of_email.and_then(email),
        groups: find(&settings.groups_claim).map(|value| groups(value, settings)).transpose()?,
    })
}

fn email(claims: &Map<String, Value>) -> Option<ToldEmail> {
    let value = claims.get("email").filter(|value| !value.is_null())?;
    let address = text(value);
    // Some providers write it as text.
    let says_verified = |verified: &Value| *verified == Value::Bool(true) || *verified == "true";
    let is_verified = claims.get("email_verified").filter(|verified| !verified.is_null()).map(says_verified);
    // Rules compare byte for byte: what was vouched for is what was sent, and not what Unicode makes of it.
    let is_as_sent = address.is_some() && address.as_deref() == value.as_str();
    Some(ToldEmail { address, is_verified: if is_as_sent { is_verified } else { Some(false) } })
}

/// A text in Unicode's composed form (NFC), as short and plain as a name; `None` for anything else.
fn text(value: &Value) -> Option<String> {
    let text: String = value.as_str()?.nfc().collect();
    let is_good = !text.is_empty() && text.len() <= MAX_BYTES && text.chars().all(is_printable);
    is_good.then_some(text)
}

/// The names of groups. One that cannot be taken over refuses the login: leaving it out could change who may do what. One
/// that is not in composed form is no group here: composed, it could be the name of another one (U+212A, the sign for
/// kelvin, becomes a plain K), and two groups would be one.
fn groups(value: &Value, settings: &ProviderSettings) -> Result<Vec<String>, IdentityError> {
    let names = match value {
        name @ Value::String(_) => std::slice::from_ref(name),
        Value::Array(names) => names.as_slice(),
        _ => return Err(refused("groups: neither a text nor a list")),
    };
    if names.len() > MAX_GROUPS {
        return Err(refused("groups: more than 256"));
    }
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        let group = text(name).ok_or_else(|| refused("groups: malformed name"))?;
        if name.as_str() == Some(&group) {
            taken.push(group);
        }
    }
    let left_out = names.len() - taken.len();
    if left_out > 0 {
        tracing::warn!(
            provider = settings.name,
            left_out,
            "groups whose names are not in Unicode's form NFC do not count"
        );
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::{Allow, ClientAuthentication, ProviderKind};
    use crate::secrets::Backends;

    fn settings() -> ProviderSettings {
        ProviderSettings {
            name: "okta".to_owned(),
            kind: ProviderKind::Okta,
            issuer: "https://okta.test".to_owned(),
            client_id: "0oa1".to_owned(),
            client_secret: Backends::built_in().parse("env:SECRET").expect("a reference"),
            client_authentication: ClientAuthentication::ClientSecretBasic,
            redirect_uris: Vec::new(),
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            signing_algorithms: Vec::new(),
            allow: Allow::Everyone,
            authorities: None,
            development: false,
            assumes_pkce: false,
        }
    }

    fn identity_of(id_token: &Value, user_info: &Value) -> Result<VerifiedIdentity, IdentityError> {
        let settings = settings();
        let claims = id_token.as_object().expect("an object");
        identity("00u1", claims, user_info.as_object(), &settings)
    }

    #[test]
    fn the_id_token_counts_before_userinfo() {
        let identity = identity_of(
            &json!({"name": "Alice", "groups": ["a"]}),
            &json!({"name": "Other", "email": "alice@example.com", "email_verified": true, "groups": ["b"]}),
        )
        .expect("an identity");
        assert_eq!(identity.name(), Some("Alice"));
        assert_eq!(identity.verified_email(), Some("alice@example.com"));
        assert_eq!(identity.groups(), ["a"]);
    }

    #[test]
    fn an_email_is_verified_only_by_the_source_that_gave_it() {
        let identity =
            identity_of(&json!({"email": "a@b.test"}), &json!({"email_verified": true})).expect("one");
        assert_eq!((identity.email(), identity.verified_email()), (Some("a@b.test"), None));
        for (value, verified) in
            [(json!("true"), true), (json!("TRUE"), false), (json!(1), false), (json!(false), false)]
        {
            let identity = identity_of(&json!({"email": "a@b.test", "email_verified": value}), &json!(null));
            assert_eq!(identity.expect("one").verified_email().is_some(), verified, "{value}");
        }
    }

    #[test]
    fn a_name_that_plays_tricks_is_left_out() {
        for name in [json!("\u{1b}[2J"), json!("a\u{202e}b"), json!(""), json!("x".repeat(257)), json!(7)] {
            assert_eq!(
                identity_of(&json!({"name": name}), &json!(null)).expect("one").name(),
                None,
                "{name}"
            );
        }
        let decomposed = identity_of(&json!({"name": "Zoe\u{308}"}), &json!(null)).expect("one");
        assert_eq!(decomposed.name(), Some("Zo\u{eb}"));
    }

    #[test]
    fn two_groups_that_unicode_makes_one_stay_two() {
        let claims = json!({"groups": ["\u{212a}8s-admins", "plain", "Zoe\u{308}", "Zo\u{eb}"]});
        assert_eq!(identity_of(&claims, &json!(null)).expect("one").groups(), ["plain", "Zo\u{eb}"]);
        let alone = identity_of(&json!({"groups": "\u{212a}8s-admins"}), &json!(null)).expect("one");
        assert!(alone.groups().is_empty());
    }

    #[test]
    fn an_email_that_unicode_changes_is_not_the_one_that_was_vouched_for() {
        let claims = json!({"email": "\u{212a}im@b.test", "email_verified": true});
        let identity = identity_of(&claims, &json!(null)).expect("one");
        assert_eq!((identity.email(), identity.verified_email()), (Some("Kim@b.test"), None));
        let claims = json!({"email": "zo\u{eb}@b.test", "email_verified": true});
        assert!(identity_of(&claims, &json!(null)).expect("one").verified_email().is_some());
    }

    #[test]
    fn what_is_not_mentioned_is_told_from_what_is_empty() {
        let told_of = |claims: Value| {
            told(claims.as_object().expect("an object"), None, &settings()).expect("something is told")
        };
        for nothing in
            [json!({}), json!({"name": null, "email": null, "groups": null, "email_verified": true})]
        {
            assert_eq!(told_of(nothing), Told::default());
        }
        let told = told_of(json!({"name": "", "email": "a@b.test", "groups": []}));
        assert_eq!((told.name, told.groups), (Some(None), Some(Vec::new())));
        let unverified = ToldEmail { address: Some("a@b.test".to_owned()), is_verified: None };
        assert_eq!(told.email, Some(unverified));
    }

    #[test]
    fn groups_are_a_list_or_one_text_and_nothing_else() {
        assert_eq!(identity_of(&json!({"groups": "one"}), &json!(null)).expect("one").groups(), ["one"]);
        assert!(identity_of(&json!({"groups": null}), &json!(null)).expect("one").groups().is_empty());
        for groups in [json!({}), json!(7), json!([7]), json!([""]), json!(["a\nb"]), json!(vec!["g"; 257])] {
            let refused = identity_of(&json!({"groups": groups}), &json!(null));
            assert!(matches!(refused, Err(IdentityError::Refused(_))), "{groups}");
        }
    }
}
