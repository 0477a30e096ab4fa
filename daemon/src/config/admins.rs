//! `admins`: administrators, who list and revoke sessions of other users.

use super::error::FaultAt;
use super::section::Field;
use super::{allow, services};
use crate::identity::{Allow, ProviderSettings};
use crate::sessions::ProviderRule;

const EXAMPLE: &str = "a list such as `[{provider: okta, groups: [infra-admins]}]`";

pub(super) fn read(field: &Field<'_>, providers: &[ProviderSettings]) -> Result<Vec<ProviderRule>, FaultAt> {
    field.list(EXAMPLE)?.iter().map(|item| rule(item, providers)).collect()
}

fn rule(item: &Field<'_>, providers: &[ProviderSettings]) -> Result<ProviderRule, FaultAt> {
    let section = item.section("admins")?;
    let provider = services::provider_name(&section.require("provider", "provider: okta")?, providers)?;
    let (groups, emails) = (allow::groups(&section)?, allow::emails(&section)?);
    if groups.is_empty() && emails.is_empty() {
        return Err(item.wrong("at least one of `groups` and `emails`, because empty lists match no user"));
    }
    Ok(ProviderRule { provider, allow: Allow::Listed { groups, email_domains: Vec::new(), emails } })
}
