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
    let list = |key, expected: &str, is_good: fn(&str) -> bool| {
        let Some(field) = section.find(key) else { return Ok(Vec::new()) };
        let texts = field.texts(expected)?;
        if texts.iter().all(|text| is_good(text)) { Ok(texts) } else { Err(field.wrong(expected)) }
    };
    let groups =
        list("groups", "a list of groups, such as `[engineering]` without spaces around it", |group| {
            group.trim() == group
        })?;
    let email_domains =
        list("emailDomains", "a list of domains without `@`, such as `[example.com]`", is_domain)?;
    let emails = list("emails", "a list of addresses, such as `[alice@example.com]`", is_email)?;
    let is_empty = groups.is_empty() && email_domains.is_empty() && emails.is_empty();
    Ok((!is_empty).then_some(Allow::Listed { groups, email_domains, emails }))
}

/// Whether the text is one email address, without patterns.
pub(super) fn is_email(text: &str) -> bool {
    !text.contains('*') && Email::parse(text).is_some()
}
