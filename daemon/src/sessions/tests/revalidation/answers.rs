//! Responses that name another subject, prove nothing, are lost or are incomplete.

use super::*;
use crate::identity::JudgedClaims;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_token_for_another_subject_ends_session() {
    let asked = Asked::new(Allow::Everyone).await;
    let cases = [
        ("iss", json!("https://other.test")),
        ("iss", Value::Null),
        ("sub", json!("sub-bob")),
        ("sub", Value::Null),
        ("aud", json!("another-client")),
        ("aud", json!([CLIENT_ID, "another-client"])),
        ("nonce", json!("another-nonce")),
        ("nonce", json!(7)),
        ("auth_time", json!(1)),
    ];
    for (claim, value) in cases {
        let id = asked.log_in().await;
        asked.issuer.misbehave(Misbehaviour::default().claim(claim, value.clone()));
        asked.advance(MINUTE * 55);
        asked.ask().await;
        assert_eq!(asked.ended(&id), Some(EndReason::ProviderRefused), "{claim}: {value}");
        asked.issuer.behave();
    }
    // The subject is checked even if the ID token has expired.
    let id = asked.log_in().await;
    asked.issuer.misbehave(Misbehaviour::default().id_token(|draft| {
        draft.set_claim("sub", json!("sub-bob"));
        draft.set_claim("exp", json!(1));
    }));
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!(asked.ended(&id), Some(EndReason::ProviderRefused), "expired, and about another person");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unproven_id_token_keeps_session_and_changes_nothing() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    let now = || asked.clock.now().as_second() + 55 * 60;
    let with = |claims: Vec<(&'static str, Value)>| {
        Misbehaviour::default().id_token(move |draft| {
            draft.set_claim("groups", json!(["of-nobody"]));
            for (name, value) in &claims {
                draft.set_claim(name, value.clone());
            }
        })
    };
    let other_signer = |it: Misbehaviour| it.signed(|signed| signed.signature[0] ^= 1);
    let cases = [
        ("exp", with(vec![("exp", json!(1))])),
        ("iat in the future", with(vec![("iat", json!(now() + 3600))])),
        ("nbf", with(vec![("nbf", json!(now() + 20 * 3600))])),
        ("at_hash", with(vec![("at_hash", json!("AAAA"))])),
        ("signature", other_signer(with(vec![]))),
        ("of another by a bad signature", other_signer(with(vec![("sub", json!("sub-bob"))]))),
        ("another issuer by a bad signature", other_signer(with(vec![("iss", json!("https://other.test"))]))),
        (
            "not a token",
            Misbehaviour::default().json(Endpoint::Token, |body| body["id_token"] = json!("not.a.token")),
        ),
    ];
    let count = u64::try_from(cases.len()).expect("few");
    for (case, misbehaviour) in cases {
        asked.issuer.misbehave(misbehaviour);
        asked.advance(MINUTE * 55);
        assert_eq!(asked.ask().await, 1, "{case}");
        assert_eq!(asked.ended(&id), None, "{case}");
        assert_eq!(asked.stored(&id).user.groups, ["Everyone", "engineering"], "{case}");
    }
    assert_eq!((asked.count("unproven"), asked.count("confirmed")), (count, 0));
    // The replaced refresh tokens were stored each time.
    asked.issuer.behave();
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!((asked.ended(&id), asked.count("confirmed")), (None, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_rotated_keys_end_no_session() {
    let asked = Asked::new(Allow::Everyone).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(asked.log_in().await);
    }
    asked.issuer.rotate_keys();
    asked.issuer.misbehave(Misbehaviour::default().out_of_order(Endpoint::Keys, 503));
    asked.advance(MINUTE * 55);
    assert_eq!(asked.ask().await, 4);
    assert!(ids.iter().all(|id| asked.ended(id).is_none()), "somebody was signed out");
    assert_eq!(asked.count("unproven"), 4);
    asked.issuer.behave();
    asked.advance(MINUTE * 55);
    assert_eq!((asked.ask().await, asked.count("confirmed")), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_is_retried_soon_and_has_its_own_end_reason() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    asked.issuer.misbehave(Misbehaviour::default().out_of_order(Endpoint::Token, 504));
    asked.issuer.forget_requests();
    asked.advance(MINUTE * 55);
    for _ in 0..25 {
        asked.ask().await;
        asked.advance(SignedDuration::from_secs(1));
    }
    let calls = asked.issuer.calls(Endpoint::Token);
    assert!((8..=14).contains(&calls), "asked {calls} times while it may be forgiven");
    // The gateway did not forward the request after all.
    asked.issuer.behave();
    asked.advance(MINUTE);
    asked.ask().await;
    assert_eq!((asked.ended(&id), asked.count("confirmed")), (None, 1));

    // The gateway forwards the request but loses the response.
    let lost = |answer: &mut infra_harness::https::Answer| answer.status = 502;
    asked.issuer.misbehave(Misbehaviour::default().answer(Endpoint::Token, lost));
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!(asked.ended(&id), None, "one answer was lost");
    asked.issuer.behave();
    asked.advance(SignedDuration::from_secs(2));
    assert_eq!(asked.ask().await, 1, "it is asked soon");
    assert_eq!(asked.ended(&id), Some(EndReason::AnswerLost));
    assert_eq!((asked.count("answer_lost"), asked.count("refused")), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_step_back_does_not_delay_revalidation() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    asked.advance(SignedDuration::from_hours(-8));
    assert_eq!(asked.ask().await, 1, "it waits for as long as the step");
    asked.issuer.deactivate("alice");
    asked.advance(MINUTE * 59);
    asked.ask().await;
    assert_eq!(asked.ended(&id), Some(EndReason::ProviderRefused));
    // A lease from before the clock step.
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    let taking = Taking {
        provider: "okta".to_owned(),
        sealer: asked.sessions.sealer.clone(),
        now: asked.clock.now() + MINUTE * 59,
        lease: SignedDuration::from_secs(25),
        longest: MINUTE * 60,
        limit: 10,
    };
    assert_eq!(asked.sessions.store.take_due_refresh_tokens(taking).await.expect("an answer").len(), 1);
    asked.advance(SignedDuration::from_hours(-1));
    assert_eq!(asked.ask().await, 1, "it is taken for as long as the step: {id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn omitted_claims_are_kept_and_empty_groups_are_applied() {
    let allow =
        Allow::Listed { groups: vec!["engineering".to_owned()], email_domains: vec![], emails: vec![] };
    let asked = Asked::new(allow).await;
    let id = asked.log_in().await;
    let without = |user_info: fn(&mut Value)| {
        Misbehaviour::default()
            .json(Endpoint::Token, |body| {
                body.as_object_mut().expect("an object").remove("id_token");
            })
            .json(Endpoint::UserInfo, user_info)
    };
    let before = asked.stored(&id);
    for user_info in [(|body| *body = json!({"sub": "sub-alice"})) as fn(&mut Value), |body| {
        *body = json!({"sub": "sub-alice", "email": "alice@example.test", "groups": null});
    }] {
        asked.issuer.misbehave(without(user_info));
        asked.advance(MINUTE * 55);
        assert_eq!(asked.ask().await, 1);
        assert_eq!((asked.ended(&id), &asked.stored(&id).user), (None, &before.user));
        assert!(asked.stored(&id).email_verified);
    }
    asked.issuer.misbehave(without(|body| body["groups"] = json!([])));
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!(asked.ended(&id), Some(EndReason::NotAdmitted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_login_revokes_its_refresh_token() {
    let allow = Allow::Listed { groups: vec!["of-nobody".to_owned()], email_domains: vec![], emails: vec![] };
    let asked = Asked::new(allow).await;
    assert!(matches!(asked.try_log_in().await, Err(LoginRefusal::NotAdmitted(_))));
    let given_back = async {
        while asked.issuer.revoked().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), given_back).await.expect("given back");
    assert!(asked.issuer.live_refresh_tokens().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_continues_if_optional_response_members_are_absent() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    // `refresh_token` comes last: the test provider has replaced the token anyway, and treats another use as theft.
    for member in ["id_token", "expires_in", "scope", "refresh_token"] {
        asked.issuer.misbehave(Misbehaviour::default().json(Endpoint::Token, move |body| {
            body.as_object_mut().expect("an object").remove(member);
        }));
        asked.advance(MINUTE * 55);
        assert_eq!(asked.ask().await, 1, "{member}");
        assert_eq!(asked.ended(&id), None, "{member}");
    }
    let id = asked.log_in().await;
    asked.issuer.misbehave(Misbehaviour::default().claim("auth_time", Value::Null));
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!(asked.ended(&id), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_removed_when_their_source_omits_them() {
    let allow =
        Allow::Listed { groups: vec!["engineering".to_owned()], email_domains: vec![], emails: vec![] };
    let silent = |value: Value| {
        let in_user_info = value.clone();
        Misbehaviour::default()
            .id_token(move |draft| {
                let claims = draft.claims.as_object_mut().expect("an object");
                claims.remove("groups");
                if !value.is_null() {
                    claims.insert("groups".to_owned(), Value::Null);
                }
            })
            .json(Endpoint::UserInfo, move |body| {
                body["groups"] = Value::Null;
                if in_user_info.is_null() {
                    body.as_object_mut().expect("an object").remove("groups");
                }
            })
    };
    let asked = Asked::new(allow.clone()).await;
    for value in [Value::Null, json!("null instead of nothing")] {
        let id = asked.log_in().await;
        asked.issuer.misbehave(silent(value.clone()));
        asked.advance(MINUTE * 55);
        asked.ask().await;
        assert_eq!(asked.ended(&id), Some(EndReason::NotAdmitted), "{value}");
        asked.issuer.behave();
    }
    // A user who is admitted without groups keeps the session, and services see no groups.
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    asked.issuer.misbehave(silent(Value::Null));
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!((asked.ended(&id), asked.stored(&id).user.groups), (None, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_follow_the_source_that_sent_them_last() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    let step = async |misbehaviour: Misbehaviour| {
        asked.issuer.misbehave(misbehaviour);
        asked.advance(MINUTE * 55);
        asked.ask().await;
        assert_eq!(asked.ended(&id), None);
        asked.stored(&id).user.groups
    };
    let without_id_token = |it: Misbehaviour| {
        it.json(Endpoint::Token, |body| {
            body.as_object_mut().expect("an object").remove("id_token");
        })
    };
    let honest = ["Everyone", "engineering"];
    let only_in_user_info = || Misbehaviour::default().claim("groups", Value::Null);
    let nowhere = || only_in_user_info().json(Endpoint::UserInfo, |body| body["groups"] = Value::Null);
    let not_in_user_info =
        || Misbehaviour::default().json(Endpoint::UserInfo, |body| body["groups"] = Value::Null);
    // The groups came from the ID token, so a response without one leaves them unchanged.
    assert_eq!(step(without_id_token(not_in_user_info())).await, honest);
    // Now they come from userinfo, which must repeat them from here on. The session stores the source.
    assert_eq!(step(only_in_user_info()).await, honest);
    assert_eq!(step(without_id_token(not_in_user_info())).await, [""; 0]);
    assert_eq!(step(only_in_user_info()).await, honest);
    assert_eq!(step(nowhere()).await, [""; 0]);
    assert_eq!(step(Misbehaviour::default()).await, honest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn userinfo_that_fails_is_counted_apart_and_ends_nothing() {
    let asked = Asked::new(Allow::Everyone).await;
    let id = asked.log_in().await;
    let answers = [
        |answer: &mut infra_harness::https::Answer| answer.status = 503,
        |answer: &mut infra_harness::https::Answer| answer.status = 403,
        |answer: &mut infra_harness::https::Answer| {
            answer.delivery = infra_harness::https::Delivery::Never;
        },
    ];
    for answer in answers {
        asked.issuer.misbehave(
            Misbehaviour::default()
                .id_token(|draft| {
                    draft.set_claim("groups", json!(["engineering"]));
                    draft.set_claim("name", Value::Null);
                })
                .answer(Endpoint::UserInfo, answer),
        );
        asked.advance(MINUTE * 55);
        assert_eq!(asked.ask().await, 1);
        assert_eq!((asked.ended(&id), asked.stored(&id).user.groups), (None, vec!["engineering".to_owned()]));
    }
    assert_eq!(
        (asked.count("userinfo_failed"), asked.count("confirmed"), asked.count("unproven")),
        (3, 0, 0)
    );
    asked.issuer.behave();
    asked.advance(MINUTE * 55);
    asked.ask().await;
    assert_eq!((asked.count("userinfo_failed"), asked.count("confirmed")), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_that_differs_is_named_in_seconds() {
    let asked = Asked::new(Allow::Everyone).await;
    asked.log_in().await;
    let taking = Taking {
        provider: "okta".to_owned(),
        sealer: asked.sessions.sealer.clone(),
        now: asked.clock.now() + MINUTE * 59,
        lease: SignedDuration::from_secs(25),
        longest: MINUTE * 60,
        limit: 10,
    };
    let rows = asked.sessions.store.take_due_refresh_tokens(taking).await.expect("an answer");
    let held = held(&rows[0].held).expect("a grant");
    let later = asked.clock.now().as_second() + 3600;
    asked.issuer.misbehave(Misbehaviour::default().id_token(move |draft| {
        draft.set_claim("iat", json!(later));
        draft.set_claim("exp", json!(later + 300));
    }));
    let provider = asked.sessions.find_provider("okta").expect("a provider");
    let answered = provider.refresh(&held).await.expect("an answer");
    let judged = provider.judge(&held, &answered).await.expect("nobody else");
    let JudgedClaims::Unverified(reason) = judged else { panic!("{judged:?}") };
    assert!(reason.ends_with("3600 s behind the provider's"), "{reason}");
}
