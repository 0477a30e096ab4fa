//! `admins`: administrators, who list and revoke sessions of other users.

use super::error::FaultAt;
use super::section::Field;
use super::{allow, services};
use crate::identity::ProviderSettings;
use crate::sessions::{Admins, AdminsOfProvider};

const EXAMPLE: &str = "a list such as `[{provider: okta, groups: [infra-admins]}]`";

pub(super) fn read(field: &Field<'_>, providers: &[ProviderSettings]) -> Result<Admins, FaultAt> {
    let items = field.list(EXAMPLE)?;
    items.iter().map(|item| admins_of(item, providers)).collect::<Result<_, _>>().map(Admins)
}

fn admins_of(item: &Field<'_>, providers: &[ProviderSettings]) -> Result<AdminsOfProvider, FaultAt> {
    let section = item.section("admins")?;
    let provider = section.require("provider", "provider: okta")?;
    let name = services::provider_name(&provider, providers)?;
    let list = |key, expected: &str| section.find(key).map_or(Ok(Vec::new()), |field| field.texts(expected));
    let groups = list("groups", "a list of groups, such as `[infra-admins]`")?;
    let expected = "a list of addresses, such as `[alice@example.com]`";
    let emails = list("emails", expected)?;
    if !groups.iter().all(|group| group.trim() == group) {
        let field = section.require("groups", "groups: [infra-admins]")?;
        return Err(field.wrong("a list of groups without spaces around them"));
    }
    if !emails.iter().all(|email| allow::is_email(email)) {
        let field = section.require("emails", "emails: [alice@example.com]")?;
        return Err(field.wrong(expected));
    }
    if groups.is_empty() && emails.is_empty() {
        return Err(item.wrong("at least one of `groups` and `emails`, because empty lists match no user"));
    }
    Ok(AdminsOfProvider { provider: name, groups, emails })
}
