//! The four reverse proxies of `docs/proxies.md`, configured as the page says, in front of a service that records
//! requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::https::{Answer, Delivery, Request, Server};
use infra_harness::provider::{Misbehaviour, Person, Provider};
use infra_harness::{login, services, wait};
use infra_peers::reverse_proxies::spellings::{self, FORGED, Fields, NAMES, Spelling};
use infra_peers::reverse_proxies::{
    AuthServer, Connection, DAEMON, EchoService, File, HOST, Kind, Outcome, Received, ReverseProxy,
};
use infra_shared::token_text::SessionToken;
use serde_json::json;

/// Generates one test per proxy.
macro_rules! through_each_proxy {
    (@ $proxy:ident $kind:ident $($claim:ident)*) => {
        mod $proxy {
            $(
                #[test]
                fn $claim() {
                    super::$claim(infra_peers::reverse_proxies::Kind::$kind);
                }
            )*
        }
    };
    ($($claims:tt)*) => {
        through_each_proxy!(@ nginx Nginx $($claims)*);
        through_each_proxy!(@ caddy Caddy $($claims)*);
        through_each_proxy!(@ traefik Traefik $($claims)*);
        through_each_proxy!(@ envoy Envoy $($claims)*);
    };
}

through_each_proxy! {
    valid_token_passes_with_correct_identity
    unauthorized_request_is_refused_on_kept_connection
    forged_identity_headers_never_reach_service
    no_request_passes_if_daemon_is_down_or_impersonated
    user_in_many_groups_reaches_service
}

/// The audience of the service behind the proxies.
const ECHO: &str = "https://echo.example.com";
const OTHER: &str = "https://other.example.com";
/// The only group that the service's rules admit.
const GROUP: &str = "engineering";

/// A daemon, and the service behind a proxy.
struct Fixture {
    provider: Provider,
    daemon: Daemon,
    service: EchoService,
    authority: PathBuf,
}

/// A server that impersonates the daemon.
struct Impersonator {
    authority: Authority,
    server: Server,
}

/// Returns the first request that reached the service.
#[track_caller]
fn first(reached: &[Received]) -> &Received {
    reached.first().expect("something reached the service")
}

fn valid_token_passes_with_correct_identity(kind: Kind) {
    let fixture = Fixture::start();
    let Some(proxy) = fixture.proxy(kind, |_| {}) else { return };
    let session = fixture.sign_in("alice", &[GROUP, "a,b", "Größe%2Cc"]);
    let token = services::token(&fixture.daemon.api(), &session, ECHO);
    let mut connection = proxy.connect();
    for (number, good) in [&token, &session].into_iter().enumerate() {
        let request = format!(
            "POST /upload/{number}?a=b HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: bearer {good}\r\nX-Own: 1\r\n\
             Content-Length: 11\r\n\r\nhello world"
        );
        let answer = connection.ask(request.as_bytes()).expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok\n".as_slice()), "{}", proxy.output());
        let reached = fixture.service.received_at(&format!("/upload/{number}?a=b"));
        assert_eq!(reached.len(), 1);
        assert_eq!(faults(first(&reached), &session), Vec::<String>::new(), "{:?}", first(&reached));
        assert_eq!(first(&reached).header("x-own").as_deref(), Some("1"));
        assert_eq!(first(&reached).header("host").as_deref(), Some(HOST));
        assert!(
            first(&reached).contains("hello world") && !first(&reached).contains(good),
            "{:?}",
            first(&reached)
        );
    }
    let auth_server = ask_http2(&proxy, "/two", &token, &Fields::default());
    assert_eq!(auth_server, Outcome::Answered);
    let reached = fixture.service.received_at("/two");
    assert_eq!((reached.len(), faults(first(&reached), &session)), (1, Vec::new()), "{reached:?}");
    assert!(!first(&reached).contains(&token), "{reached:?}");
}

fn unauthorized_request_is_refused_on_kept_connection(kind: Kind) {
    let fixture = Fixture::start();
    let Some(proxy) = fixture.proxy(kind, |_| {}) else { return };
    let session = fixture.sign_in("alice", &[GROUP]);
    let api = fixture.daemon.api();
    let token = services::token(&api, &session, ECHO);
    let for_another = services::token(&api, &session, OTHER);
    let not_allowed = fixture.sign_in("bob", &["sales"]);

    let mut connection = proxy.connect();
    assert_eq!(status(&mut connection, "/first", &bearer(&token)), Some(200));
    let none = connection.ask(request("/", "").as_bytes()).expect("an answer");
    let challenge = none.header("www-authenticate").unwrap_or_default();
    assert_eq!((none.status, challenge), (401, "Bearer realm=\"infra\""), "{}", proxy.output());
    for (what, headers, expected) in [
        ("another service's token", bearer(&for_another), 401),
        ("no token", bearer("infra_aud_nonsense"), 401),
        ("another scheme", "Authorization: Basic aW5mcmE6aW5mcmE=\r\n".to_owned(), 401),
        (
            "elsewhere",
            format!("Cookie: token={token}\r\nX-Infra-User: sub-alice\r\nX-Token: {token}\r\n"),
            401,
        ),
        ("a user whom the rules do not admit", bearer(&not_allowed), 403),
    ] {
        assert_eq!(
            status(&mut connection, "/refused", &headers),
            Some(expected),
            "{what}\n{}",
            proxy.output()
        );
    }
    let two = format!("{}{}", bearer(&token), bearer(&for_another));
    assert_ne!(status(&mut proxy.connect(), "/refused", &two), Some(200), "two tokens");
    for path in [
        &format!("/refused?access_token={token}"),
        "//refused",
        "/./refused",
        "/%2e%2e/refused",
        "/.infra",
        "/v1/verify/echo",
    ] {
        assert_ne!(status(&mut proxy.connect(), path, ""), Some(200), "{path}");
    }
    for method in ["OPTIONS", "HEAD", "PUT", "TRACE", "PROPFIND"] {
        let request = format!("{method} /refused HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        proxy.connect().ask(request.as_bytes());
    }
    // A request with a token and one without, pipelined in one write.
    let both = format!("{}{}", request("/pipelined", &bearer(&token)), request("/refused", ""));
    let mut pipelined = proxy.connect();
    pipelined.send(both.as_bytes());
    let statuses = [pipelined.answer(), pipelined.answer()].map(|answer| answer.map(|answer| answer.status));
    assert_eq!(statuses, [Some(200), Some(401)]);

    // Both the connection to the proxy and the proxy's connection to the daemon are kept alive.
    assert_eq!(status(&mut connection, "/last", &bearer(&token)), Some(200));
    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    let refused = wait::until(Duration::from_secs(10), || {
        (status(&mut connection, "/ended", &bearer(&token)) == Some(401)).then_some(())
    });
    assert!(refused.is_some(), "a revoked session is admitted\n{}", proxy.output());
    assert_eq!(status(&mut proxy.connect(), "/refused", &bearer(&session)), Some(401));

    let reached = fixture.service.received();
    for path in ["/first", "/pipelined", "/last"] {
        assert_eq!(fixture.service.received_at(path).len(), 1, "{path}");
    }
    let others = reached.iter().filter(|request| !request.contains("/ended"));
    assert_eq!(others.count(), 3, "an unauthorized request passed: {reached:?}");
}

fn forged_identity_headers_never_reach_service(kind: Kind) {
    let fixture = Fixture::start();
    let Some(proxy) = fixture.proxy(kind, |_| {}) else { return };
    let session = fixture.sign_in("alice", &[GROUP, "a,b", "Größe%2Cc"]);
    let token = services::token(&fixture.daemon.api(), &session, ECHO);
    let (over_http1, over_http2) = (spellings::over_http1(), spellings::over_http2());
    assert!(over_http1.len() >= 60, "{} spellings", over_http1.len());
    send_all(&proxy, &token, &over_http1, &over_http2);

    let reached = fixture.service.received();
    for request in &reached {
        assert_eq!(faults(request, &session), Vec::<String>::new(), "{request:?}");
        assert!(!request.contains(&token), "the token reached the service: {request:?}");
    }
    assert_eq!(fixture.service.received_at("/hidden"), [], "a request was hidden in another");
    // A proxy may reject malformed requests. The well-formed ones must have arrived.
    let well_formed = over_http1.iter().enumerate().filter(|(_, spelling)| spelling.is_well_formed);
    for (number, spelling) in well_formed {
        assert_eq!(fixture.service.received_at(&format!("/one/{number}")).len(), 1, "{}", spelling.name);
    }

    // Shows that the lines that remove forged headers and the token are effective.
    let weakened = fixture.proxy(kind, |file| weaken(kind, file)).expect("it is installed");
    // Some proxies overwrite the first name with the daemon's header. Others drop the second because of its
    // underscores.
    let forged =
        ["x-infra-user", "x_infra_user", "http-x-infra-user"].map(|name| format!("{name}: {FORGED}\r\n"));
    let both = format!("{}{}", bearer(&token), forged.concat());
    assert_eq!(status(&mut weakened.connect(), "/weakened", &both), Some(200), "{}", weakened.output());
    let reached = fixture.service.received_at("/weakened");
    assert!(first(&reached).contains(FORGED) && first(&reached).contains(&token), "{reached:?}");
    assert_ne!(faults(first(&reached), &session), Vec::<String>::new(), "{reached:?}");
}

fn no_request_passes_if_daemon_is_down_or_impersonated(kind: Kind) {
    let mut fixture = Fixture::start();
    let Some(proxy) = fixture.proxy(kind, |_| {}) else { return };
    let session = fixture.sign_in("alice", &[GROUP]);
    let token = services::token(&fixture.daemon.api(), &session, ECHO);
    let mut connection = proxy.connect();
    assert_eq!(status(&mut connection, "/before", &bearer(&token)), Some(200));
    fixture.daemon.kill();
    let fresh = || proxy.connect();
    for (mut connection, headers) in
        [(connection, bearer(&token)), (fresh(), String::new()), (fresh(), bearer(&token))]
    {
        let status = status(&mut connection, "/away", &headers);
        assert!(status.is_some_and(|status| status >= 500), "{status:?}\n{}", proxy.output());
    }
    // A proxy may answer a gRPC request with 200 and the outage in another header.
    let fields = Fields { fields: grpc_fields(), ..Fields::default() };
    let _ = ask_http2(&proxy, "/grpc", &token, &fields);
    assert_eq!(fixture.service.received_at("/grpc"), [], "a gRPC request got through\n{}", proxy.output());
    fixture.daemon.start_again();
    let back = wait::until(Duration::from_mins(1), || {
        (status(&mut proxy.connect(), "/back", &bearer(&token)) == Some(200)).then_some(())
    });
    assert!(back.is_some(), "the daemon is back, but requests are refused\n{}", proxy.output());

    // Only an exact success admits a request. The token names the status that the impersonator returns.
    let impersonator = Impersonator::with_names(&[DAEMON, "127.0.0.1"]);
    let impersonated =
        ReverseProxy::start(kind, impersonator.auth_server(&impersonator.authority.file()), &fixture.service)
            .expect("installed");
    let mut hanging = impersonated.connect();
    hanging.send(request("/hanging", &bearer("answer-0")).as_bytes());
    assert_eq!(
        status(&mut impersonated.connect(), "/played", &bearer("answer-200")),
        Some(200),
        "{}",
        impersonated.output()
    );
    for answered in [301, 302, 400, 404, 405, 429, 500, 502, 503] {
        let status = status(&mut impersonated.connect(), "/odd", &bearer(&format!("answer-{answered}")));
        assert!(status.is_some_and(|status| status >= 300), "{answered}: {status:?}");
    }
    // The proxy sends nothing to a server that cannot authenticate as the daemon.
    let other_authority = Authority::new();
    let other_name = Impersonator::with_names(&["other.example.com"]);
    for (whom, impersonator, authority) in [
        ("by another authority", &impersonator, &other_authority),
        ("with another name", &other_name, &other_name.authority),
    ] {
        let proxy = ReverseProxy::start(kind, impersonator.auth_server(&authority.file()), &fixture.service)
            .expect("installed");
        let status = status(&mut proxy.connect(), "/impostor", &bearer("answer-200"));
        assert!(status.is_some_and(|status| status >= 500), "{whom}: {status:?}\n{}", proxy.output());
    }
    for path in ["/away", "/hanging", "/odd", "/impostor"] {
        assert_eq!(fixture.service.received_at(path), [], "{path}");
    }
    assert_eq!(fixture.service.received_at("/played").len(), 1);
}

/// The daemon's answer has a header of 12 kB, more than a memory page or the usual buffer.
fn user_in_many_groups_reaches_service(kind: Kind) {
    let fixture = Fixture::start();
    let Some(proxy) = fixture.proxy(kind, |_| {}) else { return };
    let groups: Vec<String> =
        (0..200).map(|number| format!("grp-{number:04}-engineering-platform-production-readers")).collect();
    let groups: Vec<&str> = std::iter::once(GROUP).chain(groups.iter().map(String::as_str)).collect();
    let session = fixture.sign_in("alice", &groups);
    let token = services::token(&fixture.daemon.api(), &session, ECHO);
    let answered = status(&mut proxy.connect(), "/many", &bearer(&token));
    assert_eq!(answered, Some(200), "{}", proxy.output());
    let reached = fixture.service.received_at("/many");
    assert_eq!(first(&reached).header("x-infra-groups"), Some(groups.join(",")));
}

impl Fixture {
    fn start() -> Self {
        let provider = Provider::start();
        let daemon = Daemon::start_for(vec![ProviderEntry::of(&provider)], |configuration| {
            configuration.public_urls.push(format!("https://{DAEMON}"));
            configuration.more = format!(
                "services:\n\
                 - {{name: echo, audience: {ECHO}, allow: [{{provider: okta, groups: [{GROUP}]}}], \
                    acceptSessionToken: true}}\n\
                 - {{name: other, audience: {OTHER}, allow: everyone}}\n"
            );
        });
        let printed = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
        let authority = daemon.directory().join("infra-ca.pem");
        std::fs::write(&authority, printed).expect("a file of the test");
        Self { provider, daemon, service: EchoService::start(), authority }
    }

    fn proxy(&self, kind: Kind, change: impl Fn(&mut File)) -> Option<ReverseProxy> {
        let auth_server = AuthServer { port: self.daemon.port(), authority: &self.authority };
        ReverseProxy::start_with(kind, auth_server, &self.service, change)
    }

    /// Returns the session token of a user with a name full of special characters.
    fn sign_in(&self, person: &str, groups: &[&str]) -> String {
        self.provider.person(Person::SignsIn(person.to_owned()));
        let groups = json!(groups);
        self.provider.misbehave(Misbehaviour::default().id_token(move |draft| {
            draft.set_claim("name", json!("Zoë, \"x\"%0AX-Infra-User: root"));
            draft.set_claim("groups", groups.clone());
        }));
        let token = login::over_http(&self.daemon, &self.provider);
        self.provider.behave();
        token
    }
}

impl Impersonator {
    /// Answers with the status that the token names. Status 0 means no answer.
    fn with_names(names: &[&str]) -> Self {
        let authority = Authority::new();
        let server = Server::start(authority.issue_like_public_ca(names), |request| async move {
            impersonated_answer(&request)
        });
        Self { authority, server }
    }

    fn auth_server<'a>(&self, authority: &'a Path) -> AuthServer<'a> {
        AuthServer { port: self.server.port(), authority }
    }
}

fn impersonated_answer(request: &Request) -> Answer {
    let shown = request.header("authorization").and_then(|header| header.rsplit('-').next());
    let status: u16 = shown.and_then(|status| status.parse().ok()).unwrap_or(401);
    let mut answer = Answer::text(status.max(200), "");
    answer.set_header("x-infra-user", "root");
    answer.set_header("location", "https://echo.example.com/odd");
    if status == 0 {
        answer.delivery = Delivery::Never;
    }
    answer
}

fn grpc_fields() -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).to_vec()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n")
}

fn status(connection: &mut Connection, path: &str, headers: &str) -> Option<u16> {
    connection.ask(request(path, headers).as_bytes()).map(|answer| answer.status)
}

/// Sends each spelling on its own connection. The HTTP/2 ones run concurrently, because some proxies delay refused
/// requests.
fn send_all(proxy: &ReverseProxy, token: &str, over_http1: &[Spelling], over_http2: &[Fields]) {
    let over_http1 = over_http1.iter().enumerate().map(|(number, spelling)| {
        let method = if spelling.body.is_some() { "POST" } else { "GET" };
        let mut request =
            format!("{method} /one/{number} HTTP/1.1\r\nHost: {HOST}\r\n{}", bearer(token)).into_bytes();
        request.extend_from_slice(&spelling.lines);
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(spelling.body.as_deref().unwrap_or_default());
        request
    });
    for request in over_http1 {
        proxy.connect().allowing_silence().ask(&request);
    }
    std::thread::scope(|scope| {
        for (number, fields) in over_http2.iter().enumerate() {
            scope.spawn(move || ask_http2(proxy, &format!("/two/{number}"), token, fields));
        }
    });
}

fn ask_http2(proxy: &ReverseProxy, path: &str, token: &str, spelling: &Fields) -> Outcome {
    let authorization = format!("Bearer {token}");
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", HOST.as_bytes()),
        (b":path", path.as_bytes()),
        (b"authorization", authorization.as_bytes()),
    ];
    fields.extend(spelling.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    let trailers: Vec<(&[u8], &[u8])> =
        spelling.trailers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let body = (!trailers.is_empty()).then_some(b"abc".as_slice());
    proxy.connect_http2().ask(&fields, body, &trailers)
}

/// Returns where a lenient application would read an identity other than that of this session.
fn faults(request: &Received, session: &str) -> Vec<String> {
    let id = SessionToken::parse(session).expect("a token").id().to_string();
    let daemons = [
        "sub-alice",
        "alice@example.test",
        "Zo%C3%AB%2C%20%22x%22%250AX-Infra-User%3A%20root",
        "engineering,a%2Cb,Gr%C3%B6%C3%9Fe%252Cc",
        "okta",
        &id,
        "",
    ];
    let mut faults = Vec::new();
    for (name, value) in NAMES.iter().zip(daemons) {
        let read = request.lenient_values(&name.to_ascii_lowercase());
        // nginx leaves out an empty one.
        let is_left_out = value.is_empty() && read.is_empty();
        if read != [value] && !is_left_out {
            faults.push(format!("{name}: {read:?} and not {value:?}"));
        }
    }
    // If the application switched protocols, the proxy could no longer check the traffic.
    for name in ["authorization", "upgrade"] {
        let read = request.lenient_values(name);
        if !read.is_empty() {
            faults.push(format!("{name}: {read:?}"));
        }
    }
    faults
}

/// Removes the lines of a configuration that keep forged headers and the token from the service.
fn weaken(kind: Kind, file: &mut File) {
    let (lines, replaced): (&[&str], &[(&str, &str)]) = match kind {
        Kind::Nginx => (&["proxy_set_header Authorization \"\"", "proxy_set_header X-Infra-"], &[]),
        Kind::Caddy => (&["request_header -*infra*", "header_up -Authorization"], &[]),
        Kind::Traefik => (&[], &[("(?i)infra", "^X-Infra-"), ("Authorization: \"\"", "X-Nothing: \"\"")]),
        Kind::Envoy => (&["request_headers_to_remove"], &[("contains: infra", "contains: nothing")]),
    };
    let kept = file.text.lines().filter(|line| !lines.iter().any(|taken| line.contains(taken)));
    let mut text = kept.collect::<Vec<_>>().join("\n") + "\n";
    for (strong, weak) in replaced {
        text = text.replace(strong, weak);
    }
    file.text = text;
}
