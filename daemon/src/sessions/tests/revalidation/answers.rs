//! Responses that name another subject, prove nothing, are lost or are incomplete.

use super::*;
use crate::identity::RefreshedClaims;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_token_for_another_subject_ends_session() {
    let setup = Setup::new(Allow::Everyone).await;
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
        let id = setup.log_in().await;
        setup.issuer.misbehave(Misbehaviour::default().claim(claim, value.clone()));
        setup.advance(MINUTE * 55);
        setup.revalidate().await;
        assert_eq!(setup.ended(&id).await, Some(EndReason::ProviderRejected), "{claim}: {value}");
        setup.issuer.behave();
    }
    // The subject is checked even if the ID token has expired.
    let id = setup.log_in().await;
    setup.issuer.misbehave(Misbehaviour::default().id_token(|draft| {
        draft.set_claim("sub", json!("sub-bob"));
        draft.set_claim("exp", json!(1));
    }));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(
        setup.ended(&id).await,
        Some(EndReason::ProviderRejected),
        "expired, and about another person"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unproven_id_token_keeps_session_and_changes_nothing() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    let now = || setup.clock.now().as_second() + 55 * 60;
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
        setup.issuer.misbehave(misbehaviour);
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1, "{case}");
        assert_eq!(setup.ended(&id).await, None, "{case}");
        assert_eq!(setup.stored(&id).await.user.groups, ["Everyone", "engineering"], "{case}");
    }
    assert_eq!((setup.count("unverified"), setup.count("confirmed")), (count, 0));
    // The replaced refresh tokens were stored each time.
    setup.issuer.behave();
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!((setup.ended(&id).await, setup.count("confirmed")), (None, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_rotated_keys_end_no_session() {
    let setup = Setup::new(Allow::Everyone).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(setup.log_in().await);
    }
    setup.issuer.rotate_keys();
    setup.issuer.misbehave(Misbehaviour::default().out_of_order(Endpoint::Keys, 503));
    setup.advance(MINUTE * 55);
    assert_eq!(setup.revalidate().await, 4);
    for id in &ids {
        assert_eq!(setup.ended(id).await, None, "a user was signed out");
    }
    assert_eq!(setup.count("unverified"), 4);
    setup.issuer.behave();
    setup.advance(MINUTE * 55);
    assert_eq!((setup.revalidate().await, setup.count("confirmed")), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_is_retried_soon_and_has_its_own_end_reason() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    setup.issuer.misbehave(Misbehaviour::default().out_of_order(Endpoint::Token, 504));
    setup.issuer.forget_requests();
    setup.advance(MINUTE * 55);
    for _ in 0..25 {
        setup.revalidate().await;
        setup.advance(SignedDuration::from_secs(1));
    }
    let calls = setup.issuer.calls(Endpoint::Token);
    assert!((8..=14).contains(&calls), "asked {calls} times while it may be forgiven");
    // The gateway did not forward the request after all.
    setup.issuer.behave();
    setup.advance(MINUTE);
    setup.revalidate().await;
    assert_eq!((setup.ended(&id).await, setup.count("confirmed")), (None, 1));

    // The gateway forwards the request but loses the response.
    let lost = |answer: &mut infra_harness::https::Answer| answer.status = 502;
    setup.issuer.misbehave(Misbehaviour::default().answer(Endpoint::Token, lost));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(setup.ended(&id).await, None, "one answer was lost");
    setup.issuer.behave();
    setup.advance(SignedDuration::from_secs(2));
    assert_eq!(setup.revalidate().await, 1, "it is asked soon");
    assert_eq!(setup.ended(&id).await, Some(EndReason::ResponseLost));
    assert_eq!((setup.count("response_lost"), setup.count("rejected")), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_step_back_does_not_delay_revalidation() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    setup.advance(SignedDuration::from_hours(-8));
    assert_eq!(setup.revalidate().await, 1, "it waits for as long as the step");
    setup.issuer.deactivate("alice");
    setup.advance(MINUTE * 59);
    setup.revalidate().await;
    assert_eq!(setup.ended(&id).await, Some(EndReason::ProviderRejected));
    // A lease from before the clock step.
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    let request = LeaseRequest {
        provider: "okta".to_owned(),
        sealer: setup.sessions.sealer.clone(),
        now: setup.clock.now() + MINUTE * 59,
        lease_duration: SignedDuration::from_secs(25),
        max_delay: MINUTE * 60,
        limit: 10,
    };
    assert_eq!(setup.sessions.store.lease_due_refresh_tokens(request).await.expect("an answer").len(), 1);
    setup.advance(SignedDuration::from_hours(-1));
    assert_eq!(setup.revalidate().await, 1, "it is taken for as long as the step: {id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn omitted_claims_are_kept_and_empty_groups_are_applied() {
    let allow =
        Allow::Listed { groups: vec!["engineering".to_owned()], email_domains: vec![], emails: vec![] };
    let setup = Setup::new(allow).await;
    let id = setup.log_in().await;
    let without = |user_info: fn(&mut Value)| {
        Misbehaviour::default()
            .json(Endpoint::Token, |body| {
                body.as_object_mut().expect("an object").remove("id_token");
            })
            .json(Endpoint::UserInfo, user_info)
    };
    let before = setup.stored(&id).await;
    for user_info in [(|body| *body = json!({"sub": "sub-alice"})) as fn(&mut Value), |body| {
        *body = json!({"sub": "sub-alice", "email": "alice@example.test", "groups": null});
    }] {
        setup.issuer.misbehave(without(user_info));
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1);
        assert_eq!((setup.ended(&id).await, &setup.stored(&id).await.user), (None, &before.user));
        assert!(setup.stored(&id).await.email_verified);
    }
    setup.issuer.misbehave(without(|body| body["groups"] = json!([])));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(setup.ended(&id).await, Some(EndReason::DeniedByPolicy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_login_revokes_its_refresh_token() {
    let allow = Allow::Listed { groups: vec!["of-nobody".to_owned()], email_domains: vec![], emails: vec![] };
    let setup = Setup::new(allow).await;
    assert!(matches!(setup.try_log_in().await, Err(LoginError::DeniedByPolicy(_))));
    wait_until_revoked(&setup, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_without_identity_revokes_its_refresh_token() {
    let setup = Setup::new(Allow::Everyone).await;
    let from_user_info = || {
        Misbehaviour::default().id_token(|draft| {
            draft.claims.as_object_mut().expect("an object").remove("groups");
        })
    };
    let token_response = |edit: fn(&mut Value)| Misbehaviour::default().json(Endpoint::Token, edit);
    let cases = [
        ("ID token for another client", Misbehaviour::default().claim("aud", json!("another-client"))),
        ("no ID token", token_response(|body| body["id_token"] = Value::Null)),
        ("no bearer token", token_response(|body| body["token_type"] = json!("mac"))),
        ("other subject", from_user_info().json(Endpoint::UserInfo, |body| body["sub"] = json!("sub-bob"))),
        ("no userinfo", from_user_info().out_of_order(Endpoint::UserInfo, 503)),
        (
            "exchange timeout",
            from_user_info().answer(Endpoint::UserInfo, |answer| {
                answer.delivery = infra_harness::https::Delivery::Never;
            }),
        ),
    ];
    for (count, (case, misbehaviour)) in (1..).zip(cases) {
        setup.issuer.misbehave(misbehaviour);
        let refused = setup.try_log_in().await.expect_err(case);
        assert!(matches!(refused, LoginError::Identity(_)), "{case}: {refused}");
        wait_until_revoked(&setup, count).await;
    }
}

/// Waits until the provider has revoked `count` refresh tokens and none is left.
async fn wait_until_revoked(setup: &Setup, count: usize) {
    let revoked = async {
        while setup.issuer.revoked().len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), revoked).await.expect("revoked in time");
    assert!(setup.issuer.live_refresh_tokens().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_continues_if_optional_response_members_are_absent() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    // `refresh_token` comes last: the test provider has replaced the token anyway, and treats another use as theft.
    for member in ["id_token", "expires_in", "scope", "refresh_token"] {
        setup.issuer.misbehave(Misbehaviour::default().json(Endpoint::Token, move |body| {
            body.as_object_mut().expect("an object").remove(member);
        }));
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1, "{member}");
        assert_eq!(setup.ended(&id).await, None, "{member}");
    }
    let id = setup.log_in().await;
    setup.issuer.misbehave(Misbehaviour::default().claim("auth_time", Value::Null));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(setup.ended(&id).await, None);
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
    let setup = Setup::new(allow.clone()).await;
    for value in [Value::Null, json!("null instead of nothing")] {
        let id = setup.log_in().await;
        setup.issuer.misbehave(silent(value.clone()));
        setup.advance(MINUTE * 55);
        setup.revalidate().await;
        assert_eq!(setup.ended(&id).await, Some(EndReason::DeniedByPolicy), "{value}");
        setup.issuer.behave();
    }
    // A user who is admitted without groups keeps the session, and services see no groups.
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    setup.issuer.misbehave(silent(Value::Null));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!((setup.ended(&id).await, setup.stored(&id).await.user.groups), (None, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_follow_the_source_that_sent_them_last() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    let step = async |misbehaviour: Misbehaviour| {
        setup.issuer.misbehave(misbehaviour);
        setup.advance(MINUTE * 55);
        setup.revalidate().await;
        assert_eq!(setup.ended(&id).await, None);
        setup.stored(&id).await.user.groups
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
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    let answers = [
        |answer: &mut infra_harness::https::Answer| answer.status = 503,
        |answer: &mut infra_harness::https::Answer| answer.status = 403,
        |answer: &mut infra_harness::https::Answer| {
            answer.delivery = infra_harness::https::Delivery::Never;
        },
    ];
    for answer in answers {
        setup.issuer.misbehave(
            Misbehaviour::default()
                .id_token(|draft| {
                    draft.set_claim("groups", json!(["engineering"]));
                    draft.set_claim("name", Value::Null);
                })
                .answer(Endpoint::UserInfo, answer),
        );
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1);
        assert_eq!(
            (setup.ended(&id).await, setup.stored(&id).await.user.groups),
            (None, vec!["engineering".to_owned()])
        );
    }
    assert_eq!(
        (setup.count("userinfo_failed"), setup.count("confirmed"), setup.count("unverified")),
        (3, 0, 0)
    );
    setup.issuer.behave();
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!((setup.count("userinfo_failed"), setup.count("confirmed")), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_that_differs_is_named_in_seconds() {
    let setup = Setup::new(Allow::Everyone).await;
    setup.log_in().await;
    let request = LeaseRequest {
        provider: "okta".to_owned(),
        sealer: setup.sessions.sealer.clone(),
        now: setup.clock.now() + MINUTE * 59,
        lease_duration: SignedDuration::from_secs(25),
        max_delay: MINUTE * 60,
        limit: 10,
    };
    let rows = setup.sessions.store.lease_due_refresh_tokens(request).await.expect("an answer");
    let credential = stored_credential::parse(&rows[0].credential).expect("a credential");
    let later = setup.clock.now().as_second() + 3600;
    setup.issuer.misbehave(Misbehaviour::default().id_token(move |draft| {
        draft.set_claim("iat", json!(later));
        draft.set_claim("exp", json!(later + 300));
    }));
    let provider = setup.sessions.find_provider("okta").expect("a provider");
    let answered = provider.refresh(&credential).await.expect("an answer");
    let claims = provider.verify_claims(&credential, &answered).await.expect("the same user");
    let RefreshedClaims::Unverified(reason) = claims else { panic!("{claims:?}") };
    assert!(reason.ends_with("3600 s behind the provider's"), "{reason}");
}
