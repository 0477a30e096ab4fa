//! Who acts for a user (RFC 8693 §4.1): the command to which a session was delegated.

use serde::Serialize;

use crate::sessions::Caller;

/// The claim `act` of RFC 8693.
#[derive(Serialize)]
pub(super) struct Actor<'a> {
    /// `delegate:LABEL`. The user chose the label, and may have used it before.
    pub(super) sub: String,
    /// The ID of the delegated session, which is unique.
    sid: &'a str,
}

/// `None` for the session of a login: the user acts.
pub(super) fn actor(caller: &Caller) -> Option<Actor<'_>> {
    let delegation = caller.delegation()?;
    Some(Actor { sub: format!("delegate:{}", delegation.label), sid: caller.session().id.as_str() })
}
