//! Which sessions to revoke, and which were.

use infra_shared::token_text::SessionID;

/// Which sessions to revoke. Expired ones are included, so that neither a clock that steps back nor another
/// configuration can revive them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSelector {
    Ids(Vec<SessionID>),
    /// The other sessions of this session's user.
    OthersOf(SessionID),
    Users {
        filter: UserFilter,
        except: Option<SessionID>,
    },
}

/// Selects users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFilter {
    All,
    /// Users with this e-mail address, verified or not, or with this subject.
    Named(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedSession {
    pub id: SessionID,
    pub issuer: String,
    pub subject: String,
}

impl SessionSelector {
    pub const ALL: Self = Self::Users { filter: UserFilter::All, except: None };
}
