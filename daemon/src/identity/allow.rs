//! The policy that decides who may sign in.

use serde::Serialize;

use super::Email;

/// The policy that decides who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Allow {
    Everyone,
    /// Any user in one of the lists. The e-mail address counts only if the provider verified it.
    Listed {
        groups: Vec<String>,
        email_domains: Vec<String>,
        emails: Vec<String>,
    },
}

impl Allow {
    /// Whether the policy admits a user with these groups and this verified e-mail address.
    pub fn admits(&self, groups: &[String], verified_email: Option<&str>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Listed { groups: listed, email_domains, emails } => {
                groups.iter().any(|group| listed.contains(group))
                    || verified_email.and_then(Email::parse).is_some_and(|email| {
                        emails.iter().any(|listed| email.is(listed))
                            || email_domains.iter().any(|listed| email.is_in(listed))
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(groups: &[&str], email_domains: &[&str], emails: &[&str]) -> Allow {
        let owned = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect();
        Allow::Listed { groups: owned(groups), email_domains: owned(email_domains), emails: owned(emails) }
    }

    #[test]
    fn policy_everyone_admits_any_user() {
        assert!(Allow::Everyone.admits(&[], None));
    }

    #[test]
    fn group_matches_by_exact_name() {
        let allow = listed(&["engineering"], &[], &[]);
        assert!(allow.admits(&["other".to_owned(), "engineering".to_owned()], None));
        assert!(!allow.admits(&["Engineering".to_owned()], None));
        assert!(!allow.admits(&[], Some("engineering")));
    }

    #[test]
    fn domain_matches_only_itself() {
        let allow = listed(&[], &["example.com"], &[]);
        assert!(allow.admits(&[], Some("alice@Example.COM")));
        for other in [
            "alice@sub.example.com",
            "alice@notexample.com",
            "alice@example.com@evil.test",
            "a@evil@example.com",
            "\"a@evil.test\"@example.com",
            "alice@example.com.",
            "alice@example.com ",
            "alice @example.com",
            "example.com",
        ] {
            assert!(!allow.admits(&[], Some(other)), "{other}");
        }
    }

    #[test]
    fn unverified_email_is_not_admitted() {
        assert!(listed(&[], &[], &["alice@example.com"]).admits(&[], Some("Alice@example.com")));
        assert!(!listed(&[], &["example.com"], &["alice@example.com"]).admits(&[], None));
    }
}
