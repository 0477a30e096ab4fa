//! Tests all endpoints without the listener.

mod delegations;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use infra_shared::clock::SystemClock;
use infra_shared::pin::Pin;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::audit::Audit;
use crate::identity::{Provider, Workloads};
use crate::keys::{Keys, RootKeySettings};
use crate::listener::PeerAddress;
use crate::secrets::Backends;
use crate::services::{AllowedUsers, Cluster, ServiceKind, ServiceSettings};
use crate::sessions::{Bindings, SessionLimits, SessionSetup, TokenFormat};
use crate::store::Store;
use crate::tls::DaemonIdentity;

const CREDENTIAL: &str = "the credential of each service";

/// The API of a daemon with a service and a cluster, but no user.
async fn api() -> (Router, TempDir) {
    let (router, _, directory) = api_with(Vec::new()).await;
    (router, directory)
}

/// The same with providers, and its store.
async fn api_with(providers: Vec<Provider>) -> (Router, Store, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    crate::platform::ensure_private_directory(&data_dir).expect("a data directory");
    let root_key = RootKeySettings::Native { path: directory.path().join("keys/root.key") };
    let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
    let store = Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
    let origin = "infra.test".parse().expect("an origin");
    let sessions = Arc::new(Sessions::new(SessionSetup {
        store: store.clone(),
        ticket_key: keys.ticket_key(),
        sealer: keys.field_sealer(),
        providers,
        workloads: Workloads::default(),
        token_keys: None,
        bindings: Bindings::new(
            vec![origin],
            Arc::new(DaemonIdentity::new(Pin::of_public_key(b"its authority"))),
        ),
        limits: SessionLimits::default(),
        admins: Vec::new(),
        clock: Arc::new(SystemClock),
        audit: Audit::none(),
    }));
    let cluster = Cluster {
        prefix: Cluster::DEFAULT_PREFIX.to_owned(),
        username_is_email: true,
        api_audiences: Vec::new(),
    };
    let services = [("wiki", ServiceKind::Http), ("prod", ServiceKind::Kubernetes(cluster))]
        .map(|(name, kind)| ServiceSettings {
            name: name.to_owned(),
            audience: name.to_owned(),
            kind,
            credentials: vec![
                Backends::built_in().parse(&format!("plaintext:{CREDENTIAL}")).expect("a reference"),
            ],
            allow: AllowedUsers::Everyone,
            workloads: Vec::new(),
            accept_session_token: true,
            tokens: TokenFormat::Opaque,
            addresses: Vec::new(),
        })
        .into();
    let services = Services::new(sessions.clone(), services, Backends::built_in());
    (build_router(sessions, services, &ApiLimits::default()).0, store, directory)
}

/// The listener trusts connections on which such an endpoint succeeds.
#[tokio::test]
async fn protected_endpoint_rejects_missing_credentials() {
    let (router, _directory) = api().await;
    for Endpoint { route, .. } in ENDPOINTS.iter().filter(|it| it.route.requires_credentials) {
        let path = route.path.replace("{service}", "wiki").replace("{cluster}", "prod");
        let path = path.replace("{*rest}", "a/b").replace("{id}", "0123456789");
        let (kind, body) = match route.path {
            "/v1/introspect" => ("application/x-www-form-urlencoded", "token=infra_unknown"),
            "/v1/tokens" => ("application/json", r#"{"audience": "wiki"}"#),
            "/v1/delegations" => {
                ("application/json", r#"{"audiences": ["wiki"], "lifetimeSeconds": 60, "label": "a"}"#)
            }
            path if path.ends_with("/tokenreview") => (
                "application/json",
                r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "a"}}"#,
            ),
            _ => ("", ""),
        };
        let method = if route.method == "*" { "GET" } else { route.method };
        let query =
            if route.method == "DELETE" && route.path == "/v1/sessions" { "?which=others" } else { "" };
        let mut request = Request::builder().method(method).uri(format!("{path}{query}"));
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let request = request.extension(PeerAddress((std::net::Ipv4Addr::LOCALHOST, 1).into()));
        let request = request.body(Body::from(body)).expect("a request");
        let response = router.clone().oneshot(request).await.expect("a response");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{} {path}", route.method);
    }
}

#[test]
fn cached_endpoint_requires_credentials() {
    let cached = || ENDPOINTS.iter().filter(|it| it.cached.is_some());
    assert!(cached().count() > 0);
    assert!(cached().all(|it| it.route.requires_credentials && it.route.is_high_volume));
}
