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

/// The person `subject`, of whom an ID token says `id_token`. What that does not say may be taken from `user_info`, whose
/// subject is the same.
pub(super) fn identity(
    subject: &str,
    id_token: &Map<String, Value>,
    user_info: Option<&Map<String, Value>>,
    settings: &ProviderSettings,
) -> Result<VerifiedIdentity, IdentityError> {
    // E-mail and whether it is verified are from one source: the one's `true` says nothing of the other's address.
    let of_email = if id_token.contains_key("email") { Some(id_token) } else { user_info };
    let email = of_email.and_then(|claims| claims.get("email")).and_then(text);
    let email_verified = of_email.and_then(|claims| claims.get("email_verified")).is_some_and(|verified| {
        // Some providers write it as text.
        *verified == Value::Bool(true) || *verified == "true"
    });
    let find = |name: &str| id_token.get(name).or_else(|| user_info.and_then(|claims| claims.get(name)));
    Ok(VerifiedIdentity {
        issuer: settings.issuer.clone(),
        subject: subject.to_owned(),
        name: find("name").and_then(text),
        email_verified: email_verified && email.is_some(),
        email,
        groups: groups(find(&settings.groups_claim))?,
    })
}

/// A text in Unicode's composed form (NFC), as short and plain as a name; `None` for anything else.
fn text(value: &Value) -> Option<String> {
    let text: String = value.as_str()?.nfc().collect();
    let is_good = !text.is_empty() && text.len() <= MAX_BYTES && text.chars().all(is_printable);
    is_good.then_some(text)
}

/// The names of groups. One that cannot be taken over refuses the login: leaving it out could change who may do what.
fn groups(value: Option<&Value>) -> Result<Vec<String>, IdentityError> {
    let names = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(name @ Value::String(_)) => std::slice::from_ref(name),
        Some(Value::Array(names)) => names.as_slice(),
        Some(_) => return Err(refused("groups: neither a text nor a list")),
    };
    if names.len() > MAX_GROUPS {
        return Err(refused("groups: more than 256"));
    }
    names.iter().map(|name| text(name).ok_or_else(|| refused("groups: malformed name"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::{Allow, ClientAuthentication, ProviderKind};
    use crate::secrets::Backends;

    fn identity_of(id_token: &Value, user_info: &Value) -> Result<VerifiedIdentity, IdentityError> {
        let settings = ProviderSettings {
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
        };
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
    fn groups_are_a_list_or_one_text_and_nothing_else() {
        assert_eq!(identity_of(&json!({"groups": "one"}), &json!(null)).expect("one").groups(), ["one"]);
        assert!(identity_of(&json!({"groups": null}), &json!(null)).expect("one").groups().is_empty());
        for groups in [json!({}), json!(7), json!([7]), json!([""]), json!(["a\nb"]), json!(vec!["g"; 257])] {
            let refused = identity_of(&json!({"groups": groups}), &json!(null));
            assert!(matches!(refused, Err(IdentityError::Refused(_))), "{groups}");
        }
    }
}
