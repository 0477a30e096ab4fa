//! The four reverse proxies of `docs/proxies.md`, as they are configured there, in front of a service that keeps what
//! reaches it.

use std::sync::{Arc, Mutex};

use infra_harness::authority::Authority;
use infra_harness::https::{Answer, Request, Server};
use infra_harness::reverse_proxies::spellings::{self, FORGED, NAMES};
use infra_harness::reverse_proxies::{Asked, DAEMON, EchoService, HOST, Kind, Received, ReverseProxy};

/// One test for each proxy.
macro_rules! through_each_proxy {
    ($($claim:ident),* $(,)?) => {
        through_each_proxy!(@ nginx Nginx $($claim)*);
        through_each_proxy!(@ caddy Caddy $($claim)*);
        through_each_proxy!(@ traefik Traefik $($claim)*);
        through_each_proxy!(@ envoy Envoy $($claim)*);
    };
    (@ $module:ident $kind:ident $($claim:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $claim() {
                    super::$claim(infra_harness::reverse_proxies::Kind::$kind);
                }
            )*
        }
    };
}

through_each_proxy![forged_identity_headers_never_reach_the_service_as_ours];

const TOKEN: &str = "infra_played.token";

struct Played {
    authority: Authority,
    server: Server,
}

impl Played {
    fn start() -> Self {
        let authority = Authority::new();
        let server =
            Server::start(authority.issue_as_in_public(&[DAEMON, "127.0.0.1"]), |request| async move {
                let good = request.header("authorization") == Some(&format!("Bearer {TOKEN}"));
                let mut answer = Answer::text(if good { 200 } else { 401 }, "");
                if good {
                    for (name, value) in [
                        ("user", "alice"),
                        ("email", ""),
                        ("name", "%C3%85lice%2C%20B"),
                        ("groups", "a%2Cb,c"),
                        ("provider", "okta"),
                        ("session", "3De8gPGcmq"),
                    ] {
                        answer.set_header(&format!("x-infra-{name}"), value);
                    }
                }
                answer
            });
        Self { authority, server }
    }
}

fn forged_identity_headers_never_reach_the_service_as_ours(kind: Kind) {
    let played = Played::start();
    let service = EchoService::start();
    let file = played.authority.file();
    let asked = Asked { port: played.server.port(), authority: &file };
    let Some(proxy) = ReverseProxy::start(kind, asked, &service) else { return };
    let expected = ["alice", "", "%C3%85lice%2C%20B", "a%2Cb,c", "okta", "3De8gPGcmq"];
    for (number, spelling) in spellings::over_http1().into_iter().enumerate() {
        let path = format!("/{number}");
        let method = if spelling.body.is_some() { "POST" } else { "GET" };
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n")
                .into_bytes();
        request.extend_from_slice(&spelling.lines);
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(spelling.body.as_deref().unwrap_or_default());
        let answer = proxy.connect().ask(&request);
        let seen = service.received_at(&path);
        println!("{kind:?} {}: {:?} {:?}", spelling.name, answer.map(|a| a.status), seen.len());
        for r in &seen {
            report(r, &expected);
        }
    }
    for (number, spelling) in spellings::over_http2().into_iter().enumerate() {
        let path = format!("/h2/{number}");
        let bearer = format!("Bearer {TOKEN}");
        let mut fields: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", HOST.as_bytes()),
            (b":path", path.as_bytes()),
            (b"authorization", bearer.as_bytes()),
        ];
        fields.extend(spelling.fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice())));
        let trailers: Vec<(&[u8], &[u8])> =
            spelling.trailers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
        let outcome = proxy.connect_http2().ask(
            &fields,
            (!trailers.is_empty()).then_some(b"abc".as_slice()),
            &trailers,
        );
        let seen = service.received_at(&path);
        println!("{kind:?} h2 {}: {outcome:?} {:?}", spelling.name, seen.len());
        for r in &seen {
            report(r, &expected);
        }
    }
    println!("{:?}", service.received_at("/hidden"));
    println!("{:?}", service.received().last());
}

fn report(r: &Received, expected: &[&str; 6]) {
    for (name, value) in NAMES.iter().zip(expected) {
        let v = r.lenient_values(&name.to_ascii_lowercase());
        if v != [value.to_string()] && !(value.is_empty() && v.is_empty()) {
            println!("   !! {name} {v:?}");
        }
    }
    if r.contains(FORGED) {
        println!("   forged {r:?}");
    }
    if r.contains(TOKEN) {
        println!("   TOKEN {r:?}");
    }
    for n in ["connection", "upgrade", "trailer"] {
        let v = r.lenient_values(n);
        if !v.is_empty() {
            println!("   {n}: {v:?}");
        }
    }
}
