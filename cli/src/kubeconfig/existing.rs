//! The existing entries of the kubeconfig, and which of them `infra` created.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::Entries;

pub(super) const USER: &str = "user";
pub(super) const CLUSTER: &str = "cluster";
pub(super) const CONTEXT: &str = "context";

/// The kubeconfig as `kubectl config view` prints it. Secrets in it are skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Existing {
    clusters: Option<Vec<Entry<Cluster>>>,
    users: Option<Vec<Entry<User>>>,
    contexts: Option<Vec<Entry<Context>>>,
}

#[derive(Debug, Deserialize)]
struct Entry<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    body: T,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct User {
    exec: Option<Exec>,
}

#[derive(Debug, Deserialize)]
struct Exec {
    command: String,
    args: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Context {
    cluster: Option<String>,
    user: Option<String>,
    namespace: Option<String>,
}

impl Existing {
    /// Kinds of entries of this name that `infra` did not make and that would change.
    pub(super) fn foreign(&self, entries: &Entries) -> Vec<&'static str> {
        let name = entries.name.as_str();
        let user = find(self.users.as_ref(), name).filter(|user| !user.is_ours());
        let cluster = find(self.clusters.as_ref(), name)
            .filter(|cluster| !cluster.equals(entries) && !self.is_our_cluster(name));
        let context = find(self.contexts.as_ref(), name)
            .filter(|context| !context.equals(entries) && !self.is_our_context(context));
        let kinds = [(USER, user.is_some()), (CLUSTER, cluster.is_some()), (CONTEXT, context.is_some())];
        kinds.into_iter().filter_map(|(kind, is_foreign)| is_foreign.then_some(kind)).collect()
    }

    /// Whether the cluster is as in `entries`.
    pub(super) fn has_cluster(&self, entries: &Entries) -> bool {
        find(self.clusters.as_ref(), &entries.name).is_some_and(|cluster| cluster.equals(entries))
    }

    fn is_our_context(&self, context: &Context) -> bool {
        let user = context.user.as_deref().and_then(|user| find(self.users.as_ref(), user));
        user.is_some_and(User::is_ours)
    }

    /// Whether contexts use the cluster, and all of them are ours.
    fn is_our_cluster(&self, name: &str) -> bool {
        let contexts = self.contexts.iter().flatten().map(|context| &context.body);
        let mut users = contexts.filter(|context| context.cluster.as_deref() == Some(name)).peekable();
        users.peek().is_some() && users.all(|context| self.is_our_context(context))
    }
}

impl User {
    fn is_ours(&self) -> bool {
        let Some(Exec { command, args }) = &self.exec else { return false };
        let program = Path::new(command).file_stem();
        program.is_some_and(|name| name == "infra")
            && args
                .iter()
                .flatten()
                .collect::<Vec<_>>()
                .windows(2)
                .any(|pair| pair == ["kubernetes", "token"])
    }
}

impl Cluster {
    fn equals(&self, entries: &Entries) -> bool {
        let authority = entries.authority.as_ref().map(|pem| BASE64_STANDARD.encode(pem));
        self.server.as_ref() == Some(&entries.server)
            && (authority.is_none() || authority == self.certificate_authority_data)
    }
}

impl Context {
    fn equals(&self, entries: &Entries) -> bool {
        [&self.cluster, &self.user].into_iter().all(|name| name.as_ref() == Some(&entries.name))
            && (entries.namespace.is_none() || entries.namespace == self.namespace)
    }
}

/// The first entry of this name.
fn find<'a, T>(list: Option<&'a Vec<Entry<T>>>, name: &str) -> Option<&'a T> {
    list?.iter().find(|entry| entry.name == name).map(|entry| &entry.body)
}
