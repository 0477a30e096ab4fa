//! Which entries are wanted, which of those that are there are ours, and what has to change in which file.

use std::path::{Path, PathBuf};

use super::KubeconfigError;
use super::edit::{self, CannotEdit};
use super::files::{Contents, shown};
use super::node::{Kind, Node, parse};

/// What is to stand in the kubeconfig.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of the context, of its cluster and of its user.
    pub name: String,
    /// The API server's URL.
    pub server: String,
    /// Who vouches for the API server: certificates in PEM, in Base64 on top of it.
    pub authority: Option<String>,
    pub namespace: Option<String>,
    /// The program that gets the user's token, and its arguments.
    pub command: String,
    pub arguments: Vec<String>,
    /// The variable that the program needs, and its value: client-go runs it with those of whatever program asks.
    pub variable: (&'static str, Option<String>),
    /// What to do where the program is missing.
    pub install_hint: String,
    /// Whether the context becomes the current one.
    pub is_current: bool,
    /// Whether entries of others are replaced.
    pub is_forced: bool,
}

/// A file that changes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) has_lost_comments: bool,
}

/// The version of the protocol between client-go and a plugin.
pub const EXEC_API_VERSION: &str = "client.authentication.k8s.io/v1";

/// A list of a kubeconfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Clusters,
    Users,
    Contexts,
}

impl Section {
    fn key(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Users => "users",
            Self::Contexts => "contexts",
        }
    }

    /// The key under which an entry of the list holds what it says.
    fn body(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Users => "user",
            Self::Contexts => "context",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Clusters => "a cluster",
            Self::Users => "a user",
            Self::Contexts => "a context",
        }
    }
}

/// A file with its document.
struct Document<'a> {
    contents: &'a Contents,
    root: Option<Node>,
}

struct Kubeconfig<'a>(Vec<Document<'a>>);

/// What has to change, file by file.
pub(super) fn plan(files: &[Contents], wanted: &Wanted) -> Result<Vec<Change>, KubeconfigError> {
    let kubeconfig = Kubeconfig::read(files)?;
    let mut changes: Vec<Change> = Vec::new();
    for section in [Section::Clusters, Section::Users, Section::Contexts] {
        let old = kubeconfig.find(section, &wanted.name);
        let Some(entry) = kubeconfig.entry(section, old, wanted)? else { continue };
        let target = old.map_or_else(|| kubeconfig.usual(), |(document, _)| Some(document.contents));
        change(&mut changes, target, |text| edit::put(text, section.key(), &wanted.name, &entry))?;
    }
    if wanted.is_current {
        let named = |document: &&Document<'_>| document.current().is_some_and(|name| !name.is_empty());
        let holder = kubeconfig.0.iter().find(named);
        if holder.and_then(Document::current) != Some(&wanted.name) {
            let target = holder.map_or_else(|| kubeconfig.usual(), |document| Some(document.contents));
            change(&mut changes, target, |text| edit::set(text, "current-context", &wanted.name))?;
        }
    }
    Ok(changes)
}

fn change(
    changes: &mut Vec<Change>,
    target: Option<&Contents>,
    edit: impl FnOnce(&str) -> Result<edit::Edited, CannotEdit>,
) -> Result<(), KubeconfigError> {
    let Some(target) = target else { return Ok(()) };
    let known = changes.iter().position(|change| change.path == target.path);
    let before = target.text.clone().unwrap_or_default();
    let text = known.and_then(|index| changes.get(index)).map_or(before.as_str(), |change| &change.after);
    let edited = edit(text).map_err(|reason| cannot_edit(&target.path, reason))?;
    match known.and_then(|index| changes.get_mut(index)) {
        Some(change) => {
            change.after = edited.text;
            change.has_lost_comments |= edited.has_lost_comments;
        }
        None => changes.push(Change {
            path: target.path.clone(),
            before,
            after: edited.text,
            has_lost_comments: edited.has_lost_comments,
        }),
    }
    Ok(())
}

impl<'a> Kubeconfig<'a> {
    fn read(files: &'a [Contents]) -> Result<Self, KubeconfigError> {
        let document = |contents: &'a Contents| {
            let text = contents.text.as_deref().unwrap_or_default();
            let root = parse(text).map_err(|reason| cannot_edit(&contents.path, reason.into()))?;
            if root.as_ref().is_some_and(|root| !matches!(root.kind, Kind::Map(_))) {
                let reason = CannotEdit::NotAKubeconfig("there are no keys and values".to_owned());
                return Err(cannot_edit(&contents.path, reason));
            }
            Ok(Document { contents, root })
        };
        files.iter().map(document).collect::<Result<_, _>>().map(Self)
    }

    /// The entry that counts: the first of its name.
    fn find(&self, section: Section, name: &str) -> Option<(&Document<'a>, &Node)> {
        self.0.iter().find_map(|document| Some((document, document.find(section, name)?)))
    }

    /// The file for what is new: the first that is there, else the last of the list.
    fn usual(&self) -> Option<&'a Contents> {
        let there = self.0.iter().find(|document| document.contents.text.is_some());
        there.or(self.0.last()).map(|document| document.contents)
    }

    /// The entry that has to be written; `None` where what is there will do.
    fn entry(
        &self,
        section: Section,
        old: Option<(&Document<'a>, &Node)>,
        wanted: &Wanted,
    ) -> Result<Option<Node>, KubeconfigError> {
        let fresh =
            || Node::map([(section.body(), wanted.body(section)), ("name", Node::text(&wanted.name))]);
        let Some((document, old)) = old else { return Ok(Some(fresh())) };
        // Joined with what is there: `proxy-url`, say, is the user's own.
        let mut joined = old.clone();
        let mut body = wanted.body(section);
        if let Some(exec) = body.find_mut("exec") {
            exec.remove("env");
        }
        if section == Section::Clusters
            && body.find(AUTHORITY_DATA).is_some()
            && let Some(cluster) = joined.find_mut(section.body())
        {
            cluster.remove("certificate-authority");
            cluster.remove("insecure-skip-tls-verify");
        }
        joined.set(section.body(), body);
        if section == Section::Users
            && let Some(exec) = joined.find_mut(section.body()).and_then(|user| user.find_mut("exec"))
        {
            wanted.set_variable(exec);
        }
        if joined == *old {
            return Ok(None);
        }
        if self.is_ours(section, old, &wanted.name) {
            return Ok(Some(joined));
        }
        if wanted.is_forced {
            return Ok(Some(fresh()));
        }
        Err(KubeconfigError::Taken {
            path: shown(&document.contents.path),
            kind: section.kind(),
            name: wanted.name.clone(),
        })
    }

    /// Whether an entry was made here: a user whom `infra` gets a token, and what only such users are joined with.
    fn is_ours(&self, section: Section, entry: &Node, name: &str) -> bool {
        match section {
            Section::Users => is_our_user(entry),
            Section::Contexts => self.has_our_user(entry),
            Section::Clusters => {
                let all = self.0.iter().flat_map(|document| document.items(Section::Contexts));
                let mut joined = all
                    .filter(|context| said(context, Section::Contexts, "cluster") == Some(name))
                    .peekable();
                joined.peek().is_some() && joined.all(|context| self.has_our_user(context))
            }
        }
    }

    fn has_our_user(&self, context: &Node) -> bool {
        said(context, Section::Contexts, "user")
            .and_then(|user| self.find(Section::Users, user))
            .is_some_and(|(_, user)| is_our_user(user))
    }
}

impl Document<'_> {
    fn items(&self, section: Section) -> &[Node] {
        self.root.as_ref().and_then(|root| root.find(section.key())).map_or(&[], Node::items)
    }

    fn find(&self, section: Section, name: &str) -> Option<&Node> {
        let is_it = |item: &&Node| item.find("name").and_then(Node::as_text) == Some(name);
        self.items(section).iter().find(is_it)
    }

    fn current(&self) -> Option<&str> {
        self.root.as_ref()?.find("current-context")?.as_text()
    }
}

const AUTHORITY_DATA: &str = "certificate-authority-data";

impl Wanted {
    fn body(&self, section: Section) -> Node {
        match section {
            Section::Clusters => {
                let mut cluster = Node::map([("server", Node::text(&self.server))]);
                if let Some(authority) = &self.authority {
                    cluster.set(AUTHORITY_DATA, Node::text(authority));
                }
                cluster
            }
            Section::Users => {
                let mut exec = Node::map([
                    ("apiVersion", Node::text(EXEC_API_VERSION)),
                    ("command", Node::text(&self.command)),
                    ("args", Node::list(self.arguments.iter().map(|word| Node::text(word)).collect())),
                    ("installHint", Node::text(&self.install_hint)),
                    ("interactiveMode", Node::text("Never")),
                    ("provideClusterInfo", Node::boolean(false)),
                ]);
                self.set_variable(&mut exec);
                Node::map([("exec", exec)])
            }
            Section::Contexts => {
                let mut context =
                    Node::map([("cluster", Node::text(&self.name)), ("user", Node::text(&self.name))]);
                if let Some(namespace) = &self.namespace {
                    context.set("namespace", Node::text(namespace));
                }
                context
            }
        }
    }
}

impl Wanted {
    /// Sets or removes the variable among those of an entry, which may have others of its user's.
    fn set_variable(&self, exec: &mut Node) {
        let (name, value) = &self.variable;
        let is_other = |item: &&Node| item.find("name").and_then(Node::as_text) != Some(name);
        let before = exec.find("env").map_or(&[][..], Node::items);
        let others = before.iter().filter(is_other).cloned();
        let ours =
            value.iter().map(|value| Node::map([("name", Node::text(name)), ("value", Node::text(value))]));
        let variables: Vec<Node> = others.chain(ours).collect();
        if variables.is_empty() {
            exec.remove("env");
        } else {
            exec.set("env", Node::list(variables));
        }
    }
}

/// What an entry says under a key.
fn said<'a>(entry: &'a Node, section: Section, key: &str) -> Option<&'a str> {
    entry.find(section.body())?.find(key)?.as_text()
}

fn is_our_user(entry: &Node) -> bool {
    let Some(exec) = entry.find("user").and_then(|user| user.find("exec")) else { return false };
    let program = exec.find("command").and_then(Node::as_text).map(Path::new).and_then(Path::file_stem);
    let words: Vec<&str> =
        exec.find("args").map_or(&[][..], Node::items).iter().filter_map(Node::as_text).collect();
    program.is_some_and(|name| name == "infra")
        && words.windows(2).any(|pair| pair == ["kubernetes", "token"])
}

fn cannot_edit(path: &Path, reason: CannotEdit) -> KubeconfigError {
    KubeconfigError::CannotEdit { path: shown(path), reason }
}
