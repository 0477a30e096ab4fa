//! Builds an identity from verified claims. Accepts only text of limited size and plain characters.

use infra_shared::api::WORKLOAD;
use infra_shared::printable::is_printable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::{Email, GroupsClaim, IdentityError, ProviderSettings, TooManyGroups, VerifiedIdentity, rejected};

const MAX_BYTES: usize = 256;

/// Verified claims of one user by source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClaimSets<'a> {
    /// `None` if the response contained no ID token.
    pub(super) id_token: Option<&'a Map<String, Value>>,
    /// `None` if the userinfo endpoint was not called.
    pub(super) user_info: Option<&'a Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[serde(rename = "id_token")]
    IDToken,
    UserInfo,
}

/// Where the claims that rules use were found last. If that source stops sending a claim, the claim is withdrawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    pub email: Option<Source>,
    pub groups: Option<Source>,
}

/// The claims about one user. `None` means left out: OpenID Connect Core §5.3.2 omits a claim that is not returned,
/// and null means the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimsUpdate {
    pub name: Option<Option<String>>,
    pub email: Option<EmailClaim>,
    pub groups: GroupsClaim,
    pub sources: Sources,
}

/// An e-mail address as the provider sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailClaim {
    /// `None` if the value is not an e-mail address.
    pub address: Option<String>,
    /// Whether the provider verified the address; `None` if it does not say.
    pub is_verified: Option<bool>,
}

/// Whether the ID token lacks a claim that was requested, or found at userinfo `previous`, and userinfo may have it.
pub(super) fn need_user_info(
    id_token: Option<&Map<String, Value>>,
    previous: Sources,
    settings: &ProviderSettings,
) -> bool {
    let is_asked_for = |scope: &str| settings.scopes.iter().any(|asked| asked == scope);
    let is_missing = |claim: &str| id_token.and_then(|claims| find_claim(claims, claim)).is_none();
    let was_from_user_info = |source| source == Some(Source::UserInfo);
    ((is_asked_for("email") || was_from_user_info(previous.email)) && is_missing("email"))
        || (is_asked_for("profile") && is_missing("name"))
        || ((is_asked_for("groups") || was_from_user_info(previous.groups))
            && is_missing(&settings.groups_claim))
}

pub(super) fn identity(
    subject: &str,
    claim_sets: ClaimSets<'_>,
    settings: &ProviderSettings,
) -> Result<VerifiedIdentity, IdentityError> {
    // A service that reads only the subject must not take a person for a workload.
    let is_reserved = |prefix: &str| prefix.eq_ignore_ascii_case(WORKLOAD);
    if subject.get(..WORKLOAD.len()).is_some_and(is_reserved) {
        return Err(rejected("subject: it begins with `workload:`, which only workloads have"));
    }
    let ClaimsUpdate { name, email, groups, sources } = collect(claim_sets, settings)?;
    let email_verified = email.as_ref().is_some_and(|email| email.is_verified == Some(true));
    Ok(VerifiedIdentity {
        issuer: settings.issuer.clone(),
        subject: subject.to_owned(),
        name: name.flatten(),
        email: email.and_then(|email| email.address),
        email_verified,
        groups,
        sources,
    })
}

/// Collects the claims in the answers. The ID token takes precedence over userinfo.
pub(super) fn collect(
    claim_sets: ClaimSets<'_>,
    settings: &ProviderSettings,
) -> Result<ClaimsUpdate, IdentityError> {
    let (update, groups) = collect_parts(claim_sets, settings);
    Ok(ClaimsUpdate { groups: groups?, ..update })
}

/// Collects the claims, with the result for groups separate.
fn collect_parts(
    claim_sets: ClaimSets<'_>,
    settings: &ProviderSettings,
) -> (ClaimsUpdate, Result<GroupsClaim, TooManyGroups>) {
    let find = |name: &str| {
        let in_id_token = claim_sets.id_token.and_then(|claims| find_claim(claims, name));
        in_id_token.map(|value| (Source::IDToken, value)).or_else(|| {
            let value = claim_sets.user_info.and_then(|claims| find_claim(claims, name))?;
            Some((Source::UserInfo, value))
        })
    };
    let (email_from, groups_from) = (find("email"), find(&settings.groups_claim));
    // Take the address and `email_verified` from one source: one source's `true` does not vouch for the other's
    // address.
    let of_email = email_from.and_then(|(source, _)| match source {
        Source::IDToken => claim_sets.id_token,
        Source::UserInfo => claim_sets.user_info,
    });
    let update = ClaimsUpdate {
        name: find("name").map(|(_, value)| text(value)),
        email: of_email.and_then(email),
        groups: GroupsClaim::Missing,
        sources: Sources {
            email: email_from.map(|(source, _)| source),
            groups: groups_from.map(|(source, _)| source),
        },
    };
    (update, GroupsClaim::read(groups_from.map(|(_, value)| value), &settings.name))
}

/// Collects the claims of a later answer. A claim is withdrawn if its source in `previous` was verified again and no
/// source sends it (OpenID Connect Core §5.3.2, §12.2). A withdrawn claim is empty. Groups that are unreadable or too
/// many are empty too, because the answer confirms none of them.
pub(super) fn collect_update(
    claim_sets: ClaimSets<'_>,
    previous: Sources,
    settings: &ProviderSettings,
) -> ClaimsUpdate {
    let (mut update, groups) = collect_parts(claim_sets, settings);
    let no_groups = |reason: &dyn std::fmt::Display| {
        tracing::warn!(provider = settings.name, %reason, "the provider confirmed none of a session's groups");
        GroupsClaim::Listed { names: Vec::new(), left_out: 0 }
    };
    update.groups = match groups {
        Err(too_many) => no_groups(&too_many),
        Ok(unreadable @ GroupsClaim::WrongType(_)) => no_groups(&format!("groups: {unreadable}")),
        Ok(groups) => groups,
    };
    let source_omits_claim = |source: Option<Source>| match source {
        Some(Source::IDToken) => claim_sets.id_token.is_some(),
        Some(Source::UserInfo) => claim_sets.user_info.is_some(),
        None => false,
    };
    if update.groups == GroupsClaim::Missing && source_omits_claim(previous.groups) {
        update.groups = GroupsClaim::Listed { names: Vec::new(), left_out: 0 };
    }
    // The source that verified the address before still sends it, but no longer verifies it.
    let is_from_same_source = update.sources.email == previous.email;
    if let Some(email) =
        update.email.as_mut().filter(|email| is_from_same_source && email.is_verified.is_none())
    {
        email.is_verified = Some(false);
    }
    if update.email.is_none() && source_omits_claim(previous.email) {
        update.email = Some(EmailClaim { address: None, is_verified: None });
    }
    update.sources.groups = update.sources.groups.or(previous.groups);
    update.sources.email = update.sources.email.or(previous.email);
    update
}

/// Finds a claim. Null counts as left out.
fn find_claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

fn email(claims: &Map<String, Value>) -> Option<EmailClaim> {
    let value = find_claim(claims, "email")?;
    let address = text(value).filter(|address| Email::parse(address).is_some());
    // Some providers send it as text.
    let says_verified = |verified: &Value| *verified == Value::Bool(true) || *verified == "true";
    let is_verified = find_claim(claims, "email_verified").map(says_verified);
    // Rules compare bytes, so accept only the address exactly as sent, not its Unicode normalisation.
    let is_as_sent = address.is_some() && address.as_deref() == value.as_str();
    Some(EmailClaim { address, is_verified: if is_as_sent { is_verified } else { Some(false) } })
}

/// The text in Unicode's composed form (NFC) if it is short and plain enough for a name; otherwise `None`.
fn text(value: &Value) -> Option<String> {
    let text: String = value.as_str()?.nfc().collect();
    let is_good = !text.is_empty() && text.len() <= MAX_BYTES && text.chars().all(is_printable);
    is_good.then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> ProviderSettings {
        ProviderSettings::unreachable()
    }

    fn asking(scopes: &[&str]) -> ProviderSettings {
        ProviderSettings { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..settings() }
    }

    fn identity_of(id_token: &Value, user_info: &Value) -> Result<VerifiedIdentity, IdentityError> {
        let settings = settings();
        let claim_sets = ClaimSets { id_token: id_token.as_object(), user_info: user_info.as_object() };
        identity("00u1", claim_sets, &settings)
    }

    #[test]
    fn person_with_subject_of_workload_is_rejected() {
        let claims = json!({"email": "alice@example.com"});
        let of = |subject: &str| {
            let claim_sets = ClaimSets { id_token: claims.as_object(), user_info: None };
            identity(subject, claim_sets, &settings())
        };
        for subject in ["workload:ci/repo:octo/app:ref:refs/heads/main", "workload:", "Workload:ci/x"] {
            assert!(matches!(of(subject), Err(IdentityError::Rejected(_))), "{subject}");
        }
        for subject in ["workload", "workloads:ci", "a-workload:ci/x", "00u1"] {
            assert!(of(subject).is_ok(), "{subject}");
        }
    }

    #[test]
    fn id_token_takes_precedence_over_userinfo() {
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
    fn email_is_verified_only_by_its_own_source() {
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
    fn deceptive_name_is_left_out() {
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
    fn email_changed_by_normalisation_is_not_verified() {
        let claims = json!({"email": "\u{212a}im@b.test", "email_verified": true});
        let identity = identity_of(&claims, &json!(null)).expect("one");
        assert_eq!((identity.email(), identity.verified_email()), (Some("Kim@b.test"), None));
        let claims = json!({"email": "zo\u{eb}@b.test", "email_verified": true});
        assert!(identity_of(&claims, &json!(null)).expect("one").verified_email().is_some());
    }

    #[test]
    fn missing_claim_differs_from_empty_claim() {
        let told_of = |claims: Value| {
            let claim_sets = ClaimSets { id_token: claims.as_object(), user_info: None };
            collect(claim_sets, &settings()).expect("claims")
        };
        for nothing in
            [json!({}), json!({"name": null, "email": null, "groups": null, "email_verified": true})]
        {
            assert_eq!(told_of(nothing), ClaimsUpdate::default());
        }
        let update = told_of(json!({"name": "", "email": "a@b.test", "groups": []}));
        let no_groups = GroupsClaim::Listed { names: Vec::new(), left_out: 0 };
        assert_eq!((update.name, update.groups), (Some(None), no_groups));
        let unverified = EmailClaim { address: Some("a@b.test".to_owned()), is_verified: None };
        assert_eq!(update.email, Some(unverified));
    }

    #[test]
    fn invalid_email_is_left_out() {
        for address in ["a@evil@example.com", "\"a@evil.test\"@example.com", "alice@example.com.", "alice"] {
            let claims = json!({"email": address, "email_verified": true});
            let identity = identity_of(&claims, &json!(null)).expect("one");
            assert_eq!((identity.email(), identity.verified_email()), (None, None), "{address}");
        }
    }

    #[test]
    fn null_in_id_token_falls_back_to_userinfo() {
        let id_token = json!({"email": null, "groups": null});
        let user_info = json!({"email": "a@b.test", "email_verified": true, "groups": ["a"]});
        assert!(need_user_info(id_token.as_object(), Sources::default(), &asking(&["groups"])));
        let identity = identity_of(&id_token, &user_info).expect("one");
        assert_eq!((identity.verified_email(), identity.groups()), (Some("a@b.test"), &["a".to_owned()][..]));
    }

    #[test]
    fn unreadable_groups_count_as_none() {
        let none = GroupsClaim::Listed { names: Vec::new(), left_out: 0 };
        let again = |claims: &Value| {
            let claim_sets = ClaimSets { id_token: claims.as_object(), user_info: None };
            collect_update(claim_sets, Sources::default(), &settings()).groups
        };
        for groups in [json!({"no": "list"}), json!(7), json!(true)] {
            let claims = json!({"groups": groups});
            assert!(identity_of(&claims, &json!(null)).expect("one").groups().is_empty());
            assert_eq!(again(&claims), none, "{groups}");
        }
        let too_many = json!({"groups": vec!["g"; 257]});
        assert_eq!(again(&too_many), none);
        assert!(matches!(identity_of(&too_many, &json!(null)), Err(IdentityError::LimitExceeded(_))));
    }

    #[test]
    fn claim_is_withdrawn_when_its_source_omits_it() {
        let (silent, null) = (json!({"sub": "a"}), json!({"groups": null, "email": null}));
        let groups = |source, id_token: Option<&Value>, user_info: Option<&Value>| {
            let previous = Sources { email: source, groups: source };
            let claim_sets = ClaimSets {
                id_token: id_token.and_then(Value::as_object),
                user_info: user_info.and_then(Value::as_object),
            };
            let update = collect_update(claim_sets, previous, &settings());
            assert_eq!(update.groups == GroupsClaim::Missing, update.email.is_none());
            assert_eq!(update.sources, previous, "the source stays where it was");
            update.groups
        };
        let none = GroupsClaim::Listed { names: Vec::new(), left_out: 0 };
        for nothing in [&silent, &null] {
            let (id_token, user_info) = (Some(Source::IDToken), Some(Source::UserInfo));
            assert_eq!(groups(id_token, Some(nothing), None), none);
            assert_eq!(groups(id_token, Some(nothing), Some(nothing)), none);
            assert_eq!(groups(user_info, Some(nothing), Some(nothing)), none);
            assert_eq!(groups(user_info, None, Some(nothing)), none);
            // The source did not answer, so nothing is withdrawn.
            assert_eq!(groups(id_token, None, Some(nothing)), GroupsClaim::Missing);
            assert_eq!(groups(user_info, Some(nothing), None), GroupsClaim::Missing);
            assert_eq!(groups(None, Some(nothing), Some(nothing)), GroupsClaim::Missing);
        }
    }

    #[test]
    fn address_stays_verified_only_at_its_source() {
        let claims = json!({"email": "a@b.test"});
        let again = |claim_sets, source| {
            let previous = Sources { email: source, groups: None };
            collect_update(claim_sets, previous, &settings()).email.and_then(|email| email.is_verified)
        };
        let in_id_token = ClaimSets { id_token: claims.as_object(), user_info: None };
        let in_user_info = ClaimSets { id_token: None, user_info: claims.as_object() };
        assert_eq!(again(in_id_token, Some(Source::IDToken)), Some(false));
        assert_eq!(again(in_user_info, Some(Source::UserInfo)), Some(false));
        assert_eq!(again(in_user_info, Some(Source::IDToken)), None, "the source still has the claim");
    }

    #[test]
    fn userinfo_is_fetched_if_it_had_the_groups_before() {
        let id_token = json!({"email": "a@b.test", "name": "A"});
        let previous = Sources { email: None, groups: Some(Source::UserInfo) };
        let settings = asking(&["openid"]);
        assert!(!need_user_info(id_token.as_object(), Sources::default(), &settings));
        assert!(need_user_info(id_token.as_object(), previous, &settings));
        assert!(need_user_info(None, previous, &settings));
    }
}
