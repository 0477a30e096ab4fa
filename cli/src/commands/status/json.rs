//! Output of `status --json`, schema 1.

use infra_shared::api::{Delegation, Session, User};
use infra_shared::origin::Origin;
use jiff::Timestamp;
use serde::Serialize;

use super::super::ClientError;
use super::report::{CheckMode, Report, State};
use crate::home::Storage;

/// Output of `status --json`, schema 1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json {
    schema: u32,
    state: State,
    server: Option<Origin>,
    trust: Option<&'static str>,
    user: Option<User>,
    session: Option<JsonSession>,
    storage: Option<Storage>,
    checked: &'static str,
    clock_offset_seconds: Option<i64>,
    pending_sign_out_until: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonSession {
    #[serde(flatten)]
    session: Session,
    /// `null` for the session of a login.
    delegation: Option<Delegation>,
    /// 0 if the session has ended, `null` if that is unknown.
    seconds_left: Option<i64>,
}

impl Report {
    /// Whether the state comes from the daemon's response.
    fn is_from_daemon(&self) -> bool {
        self.checked == CheckMode::Online
            && self.state != State::Untrusted
            && !matches!(&self.cause, Some(ClientError::Daemon(cause)) if cause.problem().is_none())
    }

    pub(super) fn json(&self) -> Json {
        let session = self.session.clone().map(|mut session| {
            let seconds_left = match self.state {
                State::Active => Some(self.left(&session).as_secs()),
                State::LoggedOut | State::Expired | State::Revoked => Some(0),
                State::Unreachable | State::Untrusted => None,
            };
            // Always written, here and not by the session itself.
            let delegation = session.delegation.take();
            JsonSession { session, delegation, seconds_left }
        });
        Json {
            schema: 1,
            state: self.state,
            server: self.server.clone(),
            trust: self.trust,
            user: self.user.clone(),
            session,
            storage: self.storage,
            checked: if self.is_from_daemon() { "online" } else { "offline" },
            clock_offset_seconds: self.clock_offset_seconds,
            pending_sign_out_until: self.undelivered,
        }
    }
}
