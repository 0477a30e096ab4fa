//! Other servers with token introspection.

use std::any::Any;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_peers::canaille::{self, Canaille};
use infra_peers::certified_provider::{CLIENT_SECRET, CertifiedProvider, Paths, SERVICE};
use infra_peers::openbao::{OpenBao, ROOT_TOKEN};
use infra_shared::http::{Trust, authorities_from_pem};

use crate::load::{BenchRequest, Target};

/// A running server, stopped when dropped.
pub(crate) struct OtherServer {
    pub(crate) name: String,
    pub(crate) target: Target,
    _running: Box<dyn Any>,
}

/// Starts the servers that are installed.
pub(crate) fn start() -> Vec<OtherServer> {
    [provider(), openbao(), canaille()].into_iter().flatten().collect()
}

fn provider() -> Option<OtherServer> {
    let provider = CertifiedProvider::start(Paths::Custom)?;
    let (port, path) = provider.endpoint("introspect");
    let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{SERVICE}:{CLIENT_SECRET}")));
    let request = BenchRequest::form(&path, authorization, format!("token={}", provider.service_token()));
    let trust = Trust::Authorities(vec![provider.authority_certificate()]);
    Some(OtherServer {
        name: "the certified OpenID Provider's introspection (Node)".to_owned(),
        target: Target { port, trust, process: None, requests: Arc::new(vec![request]) },
        _running: Box::new(provider),
    })
}

fn openbao() -> Option<OtherServer> {
    let server = OpenBao::start()?;
    let authorities = std::fs::read(server.authority_file()).expect("its certificate");
    let trust = Trust::Authorities(authorities_from_pem(&authorities).expect("certificates"));
    let port = server.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let headers = vec![("x-vault-token", ROOT_TOKEN.to_owned())];
    let path = "/v1/auth/token/lookup-self".to_owned();
    let request = BenchRequest { method: "GET", path, headers, body: String::new() };
    Some(OtherServer {
        name: "OpenBao's `auth/token/lookup-self` (in memory)".to_owned(),
        target: Target { port, trust, process: None, requests: Arc::new(vec![request]) },
        _running: Box::new(server),
    })
}

fn canaille() -> Option<OtherServer> {
    let server = Canaille::start()?;
    let authorization = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{}:{}", canaille::CLIENT, canaille::CLIENT_SECRET))
    );
    let request = BenchRequest::form("/oauth/introspect", authorization, format!("token={}", server.token()));
    let trust = Trust::Authorities(vec![server.authority_certificate()]);
    Some(OtherServer {
        name: "canaille's introspection (Python)".to_owned(),
        target: Target { port: server.port(), trust, process: None, requests: Arc::new(vec![request]) },
        _running: Box::new(server),
    })
}
