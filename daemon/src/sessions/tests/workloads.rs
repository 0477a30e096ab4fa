//! Tokens of workloads, without an issuer: `tests/hostile/workloads.rs` has issuers.

use super::*;
use crate::identity::{ClaimRule, ExchangeLimits, IdentifiedWorkload, MatchingRule, WorkloadSettings};
use crate::outbound;

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const WIKI: AcceptedTokens<'_> =
    AcceptedTokens { audience: Some("wiki"), session_token: true, signed: false };

/// The rule `ci`, which no test fetches anything for.
pub(super) fn configured() -> Workloads {
    let rule = WorkloadSettings {
        name: "ci".to_owned(),
        issuer: "https://ci.test".to_owned(),
        audiences: vec!["infra".to_owned()],
        claims: vec![ClaimRule { name: "sub".to_owned(), values: vec!["job".to_owned()] }],
        services: vec!["wiki".to_owned()],
        lifetime: SignedDuration::from_mins(15),
        authorities: None,
    };
    Workloads::new(vec![rule], &ExchangeLimits::default(), outbound::LIMITS).expect("a client")
}

fn rule(name: &str) -> MatchingRule {
    MatchingRule { name: name.to_owned(), lifetime: SignedDuration::from_mins(15) }
}

impl Fixture {
    /// A workload whose token expires in this number of seconds.
    fn workload(&self, number: u8, seconds: i64) -> IdentifiedWorkload {
        let expires_at = truncate_to_second(add(self.clock.now(), SignedDuration::from_secs(seconds)));
        IdentifiedWorkload::unproven("job", [number; 16], expires_at, rule("ci"))
    }

    async fn issue(&self, workload: &IdentifiedWorkload, name: &str) -> Result<WorkloadToken, ExchangeError> {
        self.sessions
            .issue_workload_token(workload, &rule(name), ("wiki", &TokenFormat::Opaque), LOCALHOST)
            .await
    }

    async fn is_valid(&self, token: &WorkloadToken) -> bool {
        let text = token.minted.token.expose();
        self.sessions.authenticate_for(text, WIKI, SessionUse::Recorded).await.is_ok()
    }
}

#[tokio::test]
async fn workload_token_outlives_neither_token_nor_rule() {
    let fixture = Fixture::new().await;
    for (number, lifetime, expected) in [(1, 300, 300), (2, 3600, 900), (3, 1, 1)] {
        let token = fixture.issue(&fixture.workload(number, lifetime), "ci").await.expect("a token");
        let lasts = token.minted.expires_at.duration_since(truncate_to_second(token.issued_at)).as_secs();
        assert_eq!(lasts, expected, "{lifetime}");
    }
    let token = fixture.issue(&fixture.workload(4, 300), "ci").await.expect("a token");
    assert!(fixture.is_valid(&token).await);
    fixture.clock.advance(SignedDuration::from_secs(300));
    assert!(!fixture.is_valid(&token).await);
    let expired = fixture.issue(&fixture.workload(5, 0), "ci").await;
    assert!(matches!(expired, Err(ExchangeError::Workload(_))), "{expired:?}");
}

#[tokio::test]
async fn workload_token_is_issued_once() {
    let fixture = Fixture::new().await;
    let workload = fixture.workload(1, 300);
    fixture.issue(&workload, "ci").await.expect("a token");
    for name in ["ci", "other"] {
        let again = fixture.issue(&workload, name).await;
        assert!(matches!(again, Err(ExchangeError::TokenUsed)), "{again:?}");
    }
}

#[tokio::test]
async fn workload_is_listed_and_revoked_by_identity() {
    let fixture = Fixture::new().await;
    let person = fixture.open_session().await;
    let tokens = [
        fixture.issue(&fixture.workload(1, 300), "ci").await.expect("a token"),
        fixture.issue(&fixture.workload(2, 300), "ci").await.expect("a token"),
    ];
    let named = || UserFilter::Named("workload:ci/job".to_owned());
    let listed = fixture.sessions.list_as_operator(named()).await.expect("an answer");
    let labels: Vec<String> = listed.iter().map(|session| session.user.label()).collect();
    assert_eq!(labels, ["workload:ci/job", "workload:ci/job"]);
    let selector = SessionSelector::Users { filter: named(), except: None };
    assert_eq!(fixture.sessions.revoke_as_operator(selector).await.expect("stored"), 2);
    for token in &tokens {
        assert!(!fixture.is_valid(token).await);
    }
    fixture.sessions.authenticate(person.expose(), SessionUse::Recorded).await.expect("a person's session");
}

#[tokio::test]
async fn workload_of_removed_rule_is_invalid_but_not_revoked() {
    let fixture = Fixture::new().await;
    // Another member has the rule.
    let token = fixture.issue(&fixture.workload(1, 300), "of-other-member").await.expect("a token");
    assert!(!fixture.is_valid(&token).await);
    assert_eq!(fixture.sessions.revoke_outside_configuration().await.expect("an answer"), 0);
    let named = UserFilter::Named("workload:of-other-member/job".to_owned());
    assert_eq!(fixture.sessions.list_as_operator(named).await.expect("an answer").len(), 1);
}

#[tokio::test]
async fn person_and_workload_of_equal_names_are_distinct() {
    let fixture = Fixture::new().await;
    let token = fixture.issue(&fixture.workload(1, 300), "ci").await.expect("a token");
    let text = token.minted.token.expose();
    let workload = fixture.sessions.authenticate_for(text, WIKI, SessionUse::Recorded).await.expect("valid");
    let user = workload.caller().user();
    assert_eq!((user.workload(), user.subject.as_str()), (Some("ci"), "workload:ci/job"));
    assert_eq!((user.email.as_ref(), user.name.as_ref(), user.groups.len()), (None, None, 0));
    assert!(
        fixture.sessions.authenticate(text, SessionUse::Recorded).await.is_err(),
        "it is no session token"
    );
    assert!(!fixture.sessions.is_administrator(workload.caller()));
    let person = fixture.caller(User { subject: "job".to_owned(), ..alice() }, true).await;
    assert!(!person.user().is_same(user) && person.user().workload().is_none());
}
