//! Maps users to Kubernetes names: with a prefix, and never to a name that Kubernetes reserves.

use crate::sessions::Caller;

/// How users are named in a cluster, and which audiences its API server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Prefix of user and group names. `{provider}` is replaced by the name of the user's provider.
    pub prefix: String,
    /// Whether the username is the verified e-mail address instead of the subject.
    pub username_is_email: bool,
    /// Audiences that the API server sends in `spec.audiences`, in addition to the service's own.
    pub api_audiences: Vec<String>,
}

/// A user as the cluster's RBAC rules name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterUser {
    pub username: String,
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAClusterUser {
    #[error(
        "the identity provider has not verified the user's e-mail; `username: subject` would use the subject instead"
    )]
    NoVerifiedEmail,
    #[error("the user's name would be reserved by Kubernetes")]
    Reserved,
}

/// Prefix of names with a meaning to Kubernetes itself, such as `system:masters`.
const RESERVED: &str = "system:";

impl Cluster {
    pub const DEFAULT_PREFIX: &str = "infra:";

    /// Names of `caller` in the cluster. Omits groups that would get a reserved name.
    pub fn map_user(&self, caller: &Caller) -> Result<ClusterUser, NotAClusterUser> {
        let user = caller.user();
        let prefix = self.prefix.replace("{provider}", &user.provider);
        // A workload has no address. Its subject differs from every person's.
        let name = if self.username_is_email && user.workload().is_none() {
            // Mail systems ignore the case of an address; cluster rules do not.
            caller.verified_email().ok_or(NotAClusterUser::NoVerifiedEmail)?.to_ascii_lowercase()
        } else {
            user.subject.clone()
        };
        let username = allowed(format!("{prefix}{name}")).ok_or(NotAClusterUser::Reserved)?;
        let groups = user.groups.iter().filter_map(|group| allowed(format!("{prefix}{group}"))).collect();
        Ok(ClusterUser { username, groups })
    }

    /// Returns those of the requested audiences that belong to the API server, or `None` if none does. If it requests
    /// none, returns the service's own.
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
    fn reserved_kubernetes_names_are_rejected() {
        assert_eq!(allowed("infra:system:masters".to_owned()).as_deref(), Some("infra:system:masters"));
        for reserved in ["system:masters", "System:masters", "system:"] {
            assert_eq!(allowed(reserved.to_owned()), None, "{reserved}");
        }
    }
}
