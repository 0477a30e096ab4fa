//! How a session was opened, so that people can recognise it.

use std::net::IpAddr;

use infra_shared::api::OpenedBy;
use rusqlite::Row;

use super::StoreError;

/// How a session was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// The client's name for its machine, for people to read.
    pub device: Option<String>,
    pub opened_by: OpenedBy,
    /// The client address; `None` if not recorded.
    pub address: Option<IpAddr>,
}

pub(super) fn of(row: &Row<'_>) -> Result<Opening, StoreError> {
    let opened_by: String = row.get("opened_by")?;
    let address: Option<String> = row.get("address")?;
    Ok(Opening {
        device: row.get("device")?,
        opened_by: [OpenedBy::Browser, OpenedBy::Paste]
            .into_iter()
            .find(|way| opened_by_text(*way) == opened_by)
            .ok_or(StoreError::UnexpectedRow("opened_by"))?,
        address: address
            .map(|text| text.parse().map_err(|_| StoreError::UnexpectedRow("address")))
            .transpose()?,
    })
}

/// The stable name in the database.
pub(super) fn opened_by_text(opened_by: OpenedBy) -> &'static str {
    match opened_by {
        OpenedBy::Browser => "browser",
        OpenedBy::Paste => "paste",
    }
}
