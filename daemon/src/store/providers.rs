//! The provider rows, as configured at the last start.

use super::engine::await_engine;
use super::{Store, StoreError};
use crate::keys::Sealed;

pub struct ProviderRow {
    pub name: String,
    pub issuer: String,
    /// The sign-in policy as text. Equal policies have equal texts.
    pub allow_policy: String,
    /// The secret itself for `plaintext`, only its reference for every other kind.
    pub client_secret_reference: Sealed,
}

/// What of a stored row decides about sessions.
pub(super) struct StoredProvider {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) allow_policy: String,
    /// Another daemon that runs on the same database lists it.
    pub(super) is_of_running_member: bool,
}

/// Whether no session ends by a start with `rows`: they contain every stored provider with the same issuer and policy.
/// While a member that runs lists another one, its sessions stay.
pub(super) fn covers(rows: &[ProviderRow], stored: &[StoredProvider]) -> bool {
    let is_covered = |stored: &&StoredProvider| {
        rows.iter().any(|row| {
            row.name == stored.name && row.issuer == stored.issuer && row.allow_policy == stored.allow_policy
        })
    };
    stored.iter().filter(|stored| stored.is_of_running_member).any(|stored| !is_covered(&stored))
        || stored.iter().all(|stored| is_covered(&stored))
}

impl Store {
    /// Whether `rows` contain every provider of the last start with the same issuer and policy. If so, its sessions
    /// stay valid.
    pub async fn covers_stored_providers(&self, rows: &[ProviderRow]) -> Result<bool, StoreError> {
        await_engine!(self, engine => engine.covers_stored_providers(rows))
    }

    pub async fn replace_providers(&self, rows: Vec<ProviderRow>) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.replace_providers(rows))
    }
}
