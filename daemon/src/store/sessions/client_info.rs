//! How a session was opened, so that people can recognise it.

use std::net::IpAddr;

use infra_shared::api::LoginMethod;

use super::StoreError;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's name for its machine, for people to read.
    pub device: Option<String>,
    pub login_method: LoginMethod,
    /// The client address; `None` if not recorded.
    pub address: Option<IpAddr>,
}

impl ClientInfo {
    /// Parses stored texts.
    pub(in crate::store) fn parse(
        device: Option<String>,
        login_method: &str,
        address: Option<String>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            device,
            login_method: [LoginMethod::Browser, LoginMethod::Paste]
                .into_iter()
                .find(|method| text(*method) == login_method)
                .ok_or(StoreError::UnexpectedRow("login_method"))?,
            address: address
                .map(|text| text.parse().map_err(|_| StoreError::UnexpectedRow("address")))
                .transpose()?,
        })
    }

    /// The stable name in the database.
    pub(in crate::store) fn login_method_text(&self) -> &'static str {
        text(self.login_method)
    }
}

fn text(login_method: LoginMethod) -> &'static str {
    match login_method {
        LoginMethod::Browser => "browser",
        LoginMethod::Paste => "paste",
    }
}
