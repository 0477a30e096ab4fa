//! Failed calls as the user sees them: what happened and what to do.

use infra_shared::api::ProblemCode;
use infra_shared::http::{KeyExchange, Untrusted};
use infra_shared::origin::Origin;

use super::DaemonError;
use crate::failure::{Exit, Failure};
use crate::platform;
use crate::proxy;
use crate::settings;

/// The hint if a server does not answer.
pub const UNREACHABLE_HINT: &str =
    "again; if it keeps failing, check the address and your network, or ask the server's operator";

/// Closed by a daemon over its limit, or by an old middlebox whose limit for a `ClientHello` is one packet.
const HANDSHAKE_HINT: &str = "again; if it keeps failing, ask the server's operator if your address has too many connections \
    (`connections_refused`); else a middlebox may reject the large first message of the handshake: \
    `INFRA_KEY_EXCHANGE=classical` makes it small, but gives up protection against quantum computers";

impl DaemonError {
    /// The hint if the request did not reach the daemon at `origin`.
    pub fn unreachable_hint(&self, origin: &Origin) -> &'static str {
        match self {
            Self::Proxy(error) => proxy::hint(error),
            Self::Unreachable(_) if origin.is_loopback() => platform::LOOPBACK_HINT,
            Self::HandshakeClosed if settings::key_exchange() == KeyExchange::Hybrid => HANDSHAKE_HINT,
            _ => UNREACHABLE_HINT,
        }
    }

    /// The failure that the user sees for a failed call to `origin`.
    pub fn to_failure(&self, origin: &Origin) -> Failure {
        let exit = self.exit();
        let failure = match (self, exit) {
            (Self::Untrusted(reason), _) => return untrusted_failure(origin, reason),
            (Self::Problem { problem, .. }, _) if problem.code == ProblemCode::ProviderUnavailable => {
                Failure::new(exit, format!("{origin} cannot use the identity provider"))
            }
            (Self::Problem { .. }, Exit::Unreachable) => {
                Failure::new(exit, format!("the request to {origin} failed"))
            }
            (Self::Problem { problem, .. }, _) if problem.code == ProblemCode::Forbidden => {
                Failure::new(exit, format!("{origin} does not allow this"))
            }
            (Self::Problem { problem, .. }, _) if problem.code == ProblemCode::Delegated => {
                Failure::new(exit, format!("{origin} does not allow this to a delegated session"))
            }
            (_, Exit::Unreachable) => Failure::new(exit, format!("{origin} cannot be reached")),
            (_, Exit::LoginFailed) => Failure::new(exit, "the sign-in was rejected"),
            (_, Exit::LoginNeeded) => Failure::new(exit, format!("you need to sign in to {origin}")),
            _ => Failure::new(exit, format!("the request to {origin} failed")),
        };
        let failure = failure.because(self);
        match self {
            Self::Problem { retry_after: Some(wait), .. } => {
                failure.hint(format!("again in {} s; if it keeps failing, ask your operator", wait.as_secs()))
            }
            // Without a time, waiting does not help: an operator must fix it.
            Self::Problem { problem, .. }
                if matches!(
                    problem.code,
                    ProblemCode::LoginRejected | ProblemCode::ProviderUnavailable | ProblemCode::Unavailable
                ) =>
            {
                failure.hint(format!("ask the operator of {origin}, and give the request ID"))
            }
            Self::Problem { problem, .. } if problem.code == ProblemCode::Delegated => failure.hint(
                "run it outside of `infra delegate`; or for a service, start the command again with its `--audience`",
            ),
            Self::NotADaemon => failure
                .hint("check the address; if it is right, ask the server's operator which `infra` to use"),
            Self::Unreachable(_) | Self::HandshakeClosed | Self::Proxy(_) => {
                failure.hint(self.unreachable_hint(origin))
            }
            _ => failure,
        }
    }
}

/// The server's identity is not the expected one. Nothing was sent to it.
fn untrusted_failure(origin: &Origin, reason: &Untrusted) -> Failure {
    let failure =
        Failure::new(Exit::Untrusted, format!("{origin} did not prove its identity; nothing was sent to it"));
    let failure = match reason {
        Untrusted::OtherPin { expected, received } => {
            failure.because_text(format!("expected {expected}")).because_text(format!("received {received}"))
        }
        _ => failure.because(reason),
    };
    match reason {
        Untrusted::OtherPin { .. } | Untrusted::UnknownAuthority | Untrusted::NoAuthoritySent => failure.hint(format!(
            "ask the server's operator through another channel if its identity has changed; if so, `infra trust {origin} \
             --fingerprint sha256:…`, or `infra trust {origin} --system` if it has a public certificate now; if not, an \
             attacker may be intercepting your connection"
        )),
        Untrusted::WrongName => failure.hint("check the address: it must be the one that the server's operator gave you"),
        Untrusted::Expired | Untrusted::NotYetValid => {
            failure.hint("check the clock of this machine (`date`); if it is right, tell the server's operator")
        }
        Untrusted::NoTLS => failure.hint("check the address and the port"),
        Untrusted::Unacceptable => failure.hint("report this to the server's operator"),
    }
}
