//! `allow`: admitted users, by group and by email.

use crate::identity::{Allow, Email, is_domain};

use super::error::FaultAt;
use super::section::{Field, Section};

/// Whether the field is `everyone`. Other text is an error.
pub(super) fn is_everyone(field: &Field<'_>, expected: &str) -> Result<bool, FaultAt> {
    if !field.is_text() {
        return Ok(false);
    }
    field.parsed(expected, |text| (text == "everyone").then_some(true))
}

/// Reads `groups`, `emailDomains` and `emails` of a section. `None` if all are empty.
pub(super) fn listed(section: &Section<'_>) -> Result<Option<Allow>, FaultAt> {
    const DOMAINS: &str = "a list of domains without `@`, such as `[example.com]`";
    let groups = groups(section)?;
    let email_domains = list(section, "emailDomains", DOMAINS, is_domain)?;
    let emails = emails(section)?;
    let is_empty = groups.is_empty() && email_domains.is_empty() && emails.is_empty();
    Ok((!is_empty).then_some(Allow::Listed { groups, email_domains, emails }))
}

pub(super) fn groups(section: &Section<'_>) -> Result<Vec<String>, FaultAt> {
    const EXPECTED: &str = "a list of groups, such as `[engineering]` without spaces around it";
    list(section, "groups", EXPECTED, |group| group.trim() == group)
}

pub(super) fn emails(section: &Section<'_>) -> Result<Vec<String>, FaultAt> {
    const EXPECTED: &str = "a list of addresses, such as `[alice@example.com]`";
    // No patterns.
    list(section, "emails", EXPECTED, |text| !text.contains('*') && Email::parse(text).is_some())
}

fn list(
    section: &Section<'_>,
    key: &str,
    expected: &str,
    is_valid: fn(&str) -> bool,
) -> Result<Vec<String>, FaultAt> {
    let Some(field) = section.find(key) else { return Ok(Vec::new()) };
    let texts = field.texts(expected)?;
    if texts.iter().all(|text| is_valid(text)) { Ok(texts) } else { Err(field.wrong(expected)) }
}
