//! Who a user is in a cluster: names with a prefix, and none of Kubernetes' own.

use crate::sessions::Caller;

/// What an API server is told of users, and calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Stands before names of users and groups; `{provider}` in it stands for the name of the user's provider.
    pub prefix: String,
    /// Whether users are named by their verified e-mail, and not by their subject.
    pub username_is_email: bool,
    /// What the API server calls itself in `spec.audiences`, beside the service's audience.
    pub api_audiences: Vec<String>,
}

/// A user, as a cluster's rules name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterUser {
    pub username: String,
    pub groups: Vec<String>,
}

/// Why somebody is nobody in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAClusterUser {
    #[error(
        "the identity provider does not vouch for the user's e-mail; `username: subject` would name them otherwise"
    )]
    NoVerifiedEmail,
    #[error("the user's name would be one of Kubernetes' own")]
    Reserved,
}

/// Users and groups that Kubernetes itself gives a meaning to, such as `system:masters`.
const RESERVED: &str = "system:";

impl Cluster {
    pub const DEFAULT_PREFIX: &str = "infra:";

    /// What `caller` is called in the cluster. A group that would get a reserved name is left out.
    pub fn user(&self, caller: &Caller) -> Result<ClusterUser, NotAClusterUser> {
        let user = caller.user();
        let prefix = self.prefix.replace("{provider}", &user.provider);
        let name = if self.username_is_email {
            // Its case makes no difference to whoever gets the mail, and would to the cluster.
            caller.verified_email().ok_or(NotAClusterUser::NoVerifiedEmail)?.to_ascii_lowercase()
        } else {
            user.subject.clone()
        };
        let username = allowed(format!("{prefix}{name}")).ok_or(NotAClusterUser::Reserved)?;
        let groups = user.groups.iter().filter_map(|group| allowed(format!("{prefix}{group}"))).collect();
        Ok(ClusterUser { username, groups })
    }

    /// Of the audiences that the API server asks for, those that are its own; `None` where none is. It may ask for none,
    /// and is then told the service's.
    pub fn audiences<'a>(&'a self, own: &'a str, asked: &[String]) -> Option<Vec<&'a str>> {
        let known = || std::iter::once(own).chain(self.api_audiences.iter().map(String::as_str));
        if asked.is_empty() {
            return Some(vec![own]);
        }
        let common: Vec<&str> =
            known().filter(|audience| asked.iter().any(|asked| asked == audience)).collect();
        (!common.is_empty()).then_some(common)
    }
}

fn allowed(name: String) -> Option<String> {
    let is_reserved = name.to_ascii_lowercase().starts_with(RESERVED);
    (!is_reserved).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_begins_as_kubernetes_own_do() {
        assert_eq!(allowed("infra:system:masters".to_owned()).as_deref(), Some("infra:system:masters"));
        for reserved in ["system:masters", "System:masters", "system:"] {
            assert_eq!(allowed(reserved.to_owned()), None, "{reserved}");
        }
    }
}
