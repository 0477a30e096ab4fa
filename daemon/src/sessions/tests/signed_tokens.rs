//! Signed audience tokens (JWT): what they say, where they count, and when they end.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::token_text::ServiceToken;
use serde_json::Value;

use super::*;
use crate::identity::{IdentifiedWorkload, MatchingRule};

const WIKI: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("wiki"), session_token: false, signed: true };
const GIT: AcceptedTokens<'static> = AcceptedTokens { audience: Some("git"), ..WIKI };
const OPAQUE_WIKI: AcceptedTokens<'static> = AcceptedTokens { signed: false, ..WIKI };
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn claims(token: &MintedAudienceToken) -> Value {
    let claims = token.token.expose().split('.').nth(1).expect("claims");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).expect("encoded")).expect("JSON")
}

impl Fixture {
    async fn sign_for_wiki(&self, caller: &Caller) -> MintedAudienceToken {
        self.sessions.issue_signed_token(caller, "wiki", &[]).await.expect("a token")
    }

    async fn workload_token(&self, number: u8, seconds: i64, format: &TokenFormat) -> WorkloadToken {
        let rule = MatchingRule { name: "ci".to_owned(), lifetime: SignedDuration::from_mins(15) };
        let expires_at = truncate_to_second(add(self.clock.now(), SignedDuration::from_secs(seconds)));
        let workload = IdentifiedWorkload::unproven("job", [number; 16], expires_at, rule.clone());
        let issued = self.sessions.issue_workload_token(&workload, &rule, ("wiki", format), LOCALHOST).await;
        issued.expect("a token")
    }

    async fn at(
        &self,
        text: &str,
        accepted: AcceptedTokens<'_>,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        self.sessions.authenticate_for(text, accepted, SessionUse::Recorded).await
    }
}

fn jwt() -> TokenFormat {
    TokenFormat::Jwt { groups: groups(&["engineering"]) }
}

#[tokio::test]
async fn signed_token_names_user_session_and_configured_groups() {
    let fixture = Fixture::new().await;
    let user = User { groups: groups(&["engineering", "secret", "on call"]), ..alice() };
    for (email_verified, listed) in [(true, &["on call", "engineering", "other"][..]), (false, &[])] {
        let caller = fixture.caller(user.clone(), email_verified).await;
        let issued = fixture.sessions.issue_signed_token(&caller, "wiki", &groups(listed)).await;
        let token = issued.expect("a token");
        assert!(matches!(token.token, ServiceToken::Signed(_)));
        let claims = claims(&token);
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        assert_eq!([text("iss"), text("aud"), text("sub")], ["https://infra.test", "wiki", "00u1"]);
        assert_eq!([text("client_id"), text("sid")], ["infra", caller.session().id.as_str()]);
        let email = if email_verified { "alice@example.com" } else { "" };
        assert_eq!(
            (text("email"), claims["email_verified"].as_bool()),
            (email.to_owned(), email_verified.then_some(true))
        );
        let expected =
            if listed.is_empty() { Value::Null } else { serde_json::json!(["on call", "engineering"]) };
        assert_eq!(claims["groups"], expected, "in the order of the configuration");
        assert!(claims.get("name").is_none() && !claims.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn signed_token_lasts_ten_minutes_at_most() {
    let mut fixture = Fixture::new().await;
    fixture.clock.advance(SignedDuration::from_millis(900));
    let day = SignedDuration::from_hours(24);
    for (lifetime, inactivity, expected) in [
        (day, day, 600),
        (SignedDuration::from_secs(90), day, 90),
        (day, SignedDuration::from_secs(120), 120),
        (SignedDuration::from_secs(1), SignedDuration::from_secs(1), 1),
    ] {
        (fixture.sessions.limits.lifetime, fixture.sessions.limits.inactivity_timeout) =
            (lifetime, inactivity);
        let caller = fixture.caller(alice(), true).await;
        let token = fixture.sign_for_wiki(&caller).await;
        let claims = claims(&token);
        let (issued_at, expires_at) = (claims["iat"].as_i64(), claims["exp"].as_i64());
        assert_eq!(expires_at, issued_at.map(|at| at + expected), "{lifetime} {inactivity}");
        assert_eq!(token.expires_at.as_second(), expires_at.expect("a time"));
    }
}

#[tokio::test]
async fn signed_token_counts_for_its_service_only() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    let text = token.token.expose();
    let authorized = fixture.at(text, WIKI).await.expect("an authorized caller");
    assert_eq!(authorized.caller().session().id, caller.session().id);
    assert_eq!(authorized.caller().user(), &alice());
    assert_eq!(authorized.issued_at(), truncate_to_second(fixture.clock.now()));
    assert_eq!(authorized.expires_at(), token.expires_at);
    fixture.sessions.authenticate_cached(text, WIKI).expect("its session is cached");

    let elsewhere = fixture.at(text, GIT).await;
    assert!(matches!(elsewhere, Err(NotAuthenticated::AudienceMismatch)), "{elsewhere:?}");
    for accepted in [OPAQUE_WIKI, AcceptedTokens::SESSION_TOKEN] {
        let refused = fixture.at(text, accepted).await;
        assert!(matches!(refused, Err(NotAuthenticated::Unknown)), "{refused:?}");
    }
    for accepted in [GIT, OPAQUE_WIKI, AcceptedTokens::SESSION_TOKEN] {
        assert!(fixture.sessions.authenticate_cached(text, accepted).is_none(), "{accepted:?}");
    }
}

#[tokio::test]
async fn opaque_token_still_counts_where_signed_ones_do() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let opaque = fixture.sessions.issue_audience_token(&caller, "wiki").await.expect("a token");
    fixture.at(opaque.token.expose(), WIKI).await.expect("an authorized caller");
    let elsewhere = fixture.at(opaque.token.expose(), GIT).await;
    assert!(matches!(elsewhere, Err(NotAuthenticated::AudienceMismatch)), "{elsewhere:?}");
    let session_token = fixture.open_session().await;
    let refused = fixture.at(session_token.expose(), WIKI).await;
    assert!(matches!(refused, Err(NotAuthenticated::AudienceMismatch)), "{refused:?}");
}

#[tokio::test]
async fn signed_token_ends_with_its_session() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    let text = token.token.expose();
    fixture.at(text, WIKI).await.expect("an authorized caller");
    fixture.sessions.log_out(&caller).await.expect("ended");
    assert!(fixture.sessions.authenticate_cached(text, WIKI).is_none());
    let refused = fixture.at(text, WIKI).await;
    assert!(matches!(refused, Err(NotAuthenticated::Revoked)), "{refused:?}");
    let issued = fixture.sessions.issue_signed_token(&caller, "wiki", &[]).await;
    assert!(matches!(issued, Err(AudienceTokenError::SessionEnded)), "{issued:?}");
}

#[tokio::test]
async fn signed_token_expires() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    fixture.clock.advance(SignedDuration::from_secs(599));
    fixture.at(token.token.expose(), WIKI).await.expect("an authorized caller");
    fixture.clock.advance(SignedDuration::from_secs(1));
    let refused = fixture.at(token.token.expose(), WIKI).await;
    assert!(matches!(refused, Err(NotAuthenticated::Expired)), "{refused:?}");
    assert!(fixture.sessions.authenticate_cached(token.token.expose(), WIKI).is_none());
}

#[tokio::test]
async fn forged_token_is_unknown_everywhere() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    let (signed, _) = token.token.expose().rsplit_once('.').expect("a signature");
    let (header, claims) = signed.split_once('.').expect("claims");
    for text in [
        format!("{signed}."),
        format!("{signed}.{}", "A".repeat(86)),
        format!("{}.{claims}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#)),
        format!("{header}.{claims}"),
        "..".to_owned(),
        "a".repeat(1_000_000),
    ] {
        for accepted in [WIKI, GIT, OPAQUE_WIKI, AcceptedTokens::SESSION_TOKEN] {
            let refused = fixture.at(&text, accepted).await;
            assert!(matches!(refused, Err(NotAuthenticated::Unknown)), "{refused:?}");
        }
    }
}

/// Signed by this daemon, but not as it signs: the session is another user's or was never opened.
#[tokio::test]
async fn signed_token_must_fit_its_session() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let unopened = SessionToken::mint();
    let now = truncate_to_second(fixture.clock.now());
    for (subject, session) in [("00u2", &caller.session().id), ("00u1", unopened.id())] {
        let new = crate::jwt::NewToken {
            audience: "wiki",
            subject,
            session,
            client: "infra",
            delegated_to: None,
            issued_at: now,
            expires_at: add(now, SignedDuration::from_mins(10)),
            verified_email: None,
            groups: None,
        };
        let token = fixture.sessions.sign(&new).expect("a token");
        let refused = fixture.at(token.token.expose(), WIKI).await;
        assert!(matches!(refused, Err(NotAuthenticated::Unknown)), "{refused:?}");
    }
}

#[tokio::test]
async fn signed_token_of_workload_expires_with_its_token() {
    let fixture = Fixture::new().await;
    for (number, seconds, expected) in [(1, 300, 300), (2, 3600, 600)] {
        let WorkloadToken { minted, subject, .. } = fixture.workload_token(number, seconds, &jwt()).await;
        let claims = claims(&minted);
        assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|at| at + expected));
        assert_eq!((claims["sub"].as_str(), subject.as_str()), (Some("workload:ci/job"), "workload:ci/job"));
        assert_eq!(claims["client_id"].as_str(), Some("workload:ci"));
        assert_eq!((&claims["groups"], claims.get("email")), (&serde_json::json!([]), None));
        let authorized = fixture.at(minted.token.expose(), WIKI).await.expect("an authorized caller");
        assert_eq!(authorized.caller().user().workload(), Some("ci"));
        assert_eq!(authorized.expires_at(), minted.expires_at);
        for accepted in [GIT, OPAQUE_WIKI, AcceptedTokens::SESSION_TOKEN] {
            fixture.at(minted.token.expose(), accepted).await.expect_err("it is for wiki");
        }
        let one = SessionSelector::Ids(vec![authorized.caller().session().id.clone()]);
        assert_eq!(fixture.sessions.revoke_as_operator(one).await.expect("stored"), 1);
        fixture.at(minted.token.expose(), WIKI).await.expect_err("an operator revoked it");
    }
    let opaque = fixture.workload_token(3, 3600, &TokenFormat::Opaque).await;
    assert!(matches!(opaque.minted.token, ServiceToken::Opaque(_)));
}

#[tokio::test]
async fn emergency_rotation_ends_signed_tokens() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    let keys = fixture.sessions.token_keys().expect("keys").clone();
    keys.announce().await.expect("stored");
    fixture.at(token.token.expose(), WIKI).await.expect("an authorized caller");
    keys.replace().await.expect("stored");
    let refused = fixture.at(token.token.expose(), WIKI).await;
    assert!(matches!(refused, Err(NotAuthenticated::Unknown)), "{refused:?}");
    let token = fixture.sign_for_wiki(&caller).await;
    fixture.at(token.token.expose(), WIKI).await.expect("an authorized caller");
}

#[tokio::test]
async fn signed_token_needs_open_keys() {
    let mut fixture = Fixture::new().await;
    let caller = fixture.caller(alice(), true).await;
    let token = fixture.sign_for_wiki(&caller).await;
    fixture.sessions.token_keys = None;
    let refused = fixture.at(token.token.expose(), WIKI).await;
    assert!(matches!(refused, Err(NotAuthenticated::Unknown)), "{refused:?}");
    let issued = fixture.sessions.issue_signed_token(&caller, "wiki", &[]).await;
    assert!(matches!(issued, Err(AudienceTokenError::Store(StoreError::NoTokenKeys))), "{issued:?}");
}
