//! How a session was opened, so that people can recognise it.

use std::net::IpAddr;

use infra_shared::api::LoginMethod;
use rusqlite::Row;

use super::StoreError;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's name for its machine, for people to read.
    pub device: Option<String>,
    pub login_method: LoginMethod,
    /// The client address; `None` if not recorded.
    pub address: Option<IpAddr>,
}

pub(super) fn read(row: &Row<'_>) -> Result<ClientInfo, StoreError> {
    let login_method: String = row.get("login_method")?;
    let address: Option<String> = row.get("address")?;
    Ok(ClientInfo {
        device: row.get("device")?,
        login_method: [LoginMethod::Browser, LoginMethod::Paste]
            .into_iter()
            .find(|way| login_method_text(*way) == login_method)
            .ok_or(StoreError::UnexpectedRow("login_method"))?,
        address: address
            .map(|text| text.parse().map_err(|_| StoreError::UnexpectedRow("address")))
            .transpose()?,
    })
}

/// The stable name in the database.
pub(super) fn login_method_text(login_method: LoginMethod) -> &'static str {
    match login_method {
        LoginMethod::Browser => "browser",
        LoginMethod::Paste => "paste",
    }
}
