//! RBAC: the target of a request, and whether a binding or a default role allows it.

use serde_json::Value;

use super::User;
use infra_harness::https::Request;

/// The group of every authenticated user.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// The group that may do everything, without a binding.
const MASTERS: &str = "system:masters";

/// A requested action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) verb: &'static str,
    pub(super) target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A path outside the resources: discovery, version, health.
    Path(String),
    Resource {
        group: String,
        resource: String,
        namespace: Option<String>,
        name: Option<String>,
    },
}

/// A `RoleBinding` to one of the default roles.
pub(super) struct Binding {
    namespace: String,
    role: String,
    /// Kind and name.
    subjects: Vec<(String, String)>,
}

impl Action {
    pub(super) fn of(request: &Request) -> Self {
        let segments: Vec<&str> = request.path.split('/').skip(1).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => ("", &[][..]),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let name = rest.get(1).map(|name| (*name).to_owned());
        let verb = match (request.method.as_str(), &name) {
            ("GET", Some(_)) => "get",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("DELETE", _) => "delete",
            ("PUT", _) => "update",
            _ => "patch",
        };
        match rest.first() {
            Some(resource) => Self {
                verb,
                target: Target::Resource {
                    group: group.to_owned(),
                    resource: (*resource).to_owned(),
                    namespace,
                    name,
                },
            },
            None => Self { verb: "get", target: Target::Path(request.path.clone()) },
        }
    }

    /// The API server's message for a forbidden request.
    pub(super) fn refusal(&self, user: &User) -> String {
        let (name, verb) = (&user.name, self.verb);
        match &self.target {
            Target::Path(path) => format!("forbidden: User \"{name}\" cannot {verb} path \"{path}\""),
            Target::Resource { group, resource, namespace, .. } => {
                let place = namespace.as_ref().map_or_else(
                    || "at the cluster scope".to_owned(),
                    |namespace| format!("in the namespace \"{namespace}\""),
                );
                format!(
                    "{resource} is forbidden: User \"{name}\" cannot {verb} resource \"{resource}\" in API group \
                     \"{group}\" {place}"
                )
            }
        }
    }
}

impl Binding {
    pub(super) fn of(manifest: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text in a RoleBinding").to_owned();
        assert_eq!(manifest["kind"], "RoleBinding", "{manifest}");
        assert_eq!(manifest["roleRef"]["kind"], "ClusterRole", "{manifest}");
        let subjects = manifest["subjects"].as_array().expect("subjects");
        Self {
            namespace: text(&manifest["metadata"]["namespace"]),
            role: text(&manifest["roleRef"]["name"]),
            subjects: subjects.iter().map(|it| (text(&it["kind"]), text(&it["name"]))).collect(),
        }
    }

    fn names(&self, user: &User) -> bool {
        self.subjects.iter().any(|(kind, name)| match kind.as_str() {
            "Group" => user.groups.contains(name),
            "User" => user.name == *name,
            _ => false,
        })
    }

    /// `view` reads everything except secrets; `edit` changes resources and reads secrets.
    fn allows(&self, verb: &str, resource: &str) -> bool {
        let reads = ["get", "list", "watch"].contains(&verb);
        match self.role.as_str() {
            "view" => reads && resource == "configmaps",
            "edit" => ["configmaps", "secrets"].contains(&resource),
            _ => false,
        }
    }
}

pub(super) fn allows(bindings: &[Binding], user: &User, action: &Action) -> bool {
    let is_in = |group: &str| user.groups.iter().any(|it| it == group);
    if is_in(MASTERS) {
        return true;
    }
    match &action.target {
        // `system:public-info-viewer` and `system:discovery`.
        Target::Path(path) => path == "/version" || is_in(AUTHENTICATED),
        // `system:basic-user`
        Target::Resource { group, resource, namespace: None, .. } => {
            let is_own_review = group == "authentication.k8s.io" && resource == "selfsubjectreviews";
            is_own_review && action.verb == "create" && is_in(AUTHENTICATED)
        }
        Target::Resource { resource, namespace: Some(namespace), group, .. } => bindings.iter().any(|it| {
            group.is_empty()
                && it.namespace == *namespace
                && it.names(user)
                && it.allows(action.verb, resource)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes_api::authentication::texts;

    fn action(method: &str, path: &str) -> Action {
        Action::of(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    fn user(name: &str, groups: &[&str]) -> User {
        User {
            name: name.to_owned(),
            uid: String::new(),
            groups: texts(&serde_json::json!(groups)),
            extra: Value::Null,
        }
    }

    #[test]
    fn binding_applies_to_its_namespace_subjects_and_role() {
        let binding = Binding {
            namespace: "web".to_owned(),
            role: "view".to_owned(),
            subjects: vec![("Group".to_owned(), "x:a".to_owned()), ("User".to_owned(), "x:u".to_owned())],
        };
        let bindings = [binding];
        let list = action("GET", "/api/v1/namespaces/web/configmaps");
        assert!(allows(&bindings, &user("x:u", &[]), &list));
        assert!(allows(&bindings, &user("x:b", &["x:a", AUTHENTICATED]), &list));
        assert!(!allows(&bindings, &user("x:a", &["x:u", AUTHENTICATED]), &list), "a group is no user");
        for other in [
            action("GET", "/api/v1/namespaces/default/configmaps"),
            action("GET", "/api/v1/configmaps"),
            action("GET", "/api/v1/namespaces/web/secrets"),
            action("POST", "/api/v1/namespaces/web/configmaps"),
            action("GET", "/apis/apps/v1/namespaces/web/configmaps"),
        ] {
            assert!(!allows(&bindings, &user("x:u", &[AUTHENTICATED]), &other), "{other:?}");
            assert!(allows(&bindings, &user("root", &[MASTERS]), &other), "{other:?}");
        }
    }

    #[test]
    fn anonymous_request_may_only_read_version() {
        let anonymous = user("system:anonymous", &["system:unauthenticated"]);
        assert!(allows(&[], &anonymous, &action("GET", "/version")));
        let review = action("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews");
        for refused in [action("GET", "/api"), action("GET", "/api/v1"), review.clone()] {
            assert!(!allows(&[], &anonymous, &refused), "{refused:?}");
        }
        assert!(allows(&[], &user("x:u", &[AUTHENTICATED]), &review));
    }
}
