//! Responses of the API server to allowed requests: discovery, self reviews and a few objects.

use serde_json::{Value, json};

use super::User;
use super::authorization::{Action, Target};
use infra_harness::https::{Answer, Request};

pub(super) fn answer(request: &Request, action: &Action, user: &User) -> Answer {
    match &action.target {
        Target::Path(path) => match discovery(path) {
            Some(document) => Answer::json(200, &document),
            None => status(404, "NotFound", "the server could not find the requested resource"),
        },
        Target::Resource { resource, namespace, name, .. } => {
            match (request.method.as_str(), resource.as_str(), namespace, name) {
                ("POST", "selfsubjectreviews", None, None) => Answer::json(201, &self_subject_review(user)),
                ("GET", "configmaps", Some(namespace), None) => {
                    Answer::json(200, &list("ConfigMap", &[config_map(namespace)]))
                }
                ("GET", "secrets", Some(_), None) => Answer::json(200, &list("Secret", &[])),
                ("POST", "configmaps", Some(_), None) => {
                    let created = serde_json::from_slice(&request.body).unwrap_or_default();
                    Answer::json(201, &created)
                }
                _ => status(404, "NotFound", "the server could not find the requested resource"),
            }
        }
    }
}

/// An API server's error response.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Answer::json(code, &body)
}

/// The old discovery format, one document per version. Clients that request the new format accept it, too.
fn discovery(path: &str) -> Option<Value> {
    let resource = |name: &str, kind: &str, is_namespaced: bool, verbs: &[&str]| json!({ "name": name, "singularName": "", "kind": kind, "namespaced": is_namespaced, "verbs": verbs });
    let resources = |version: &str, resources: &[Value]| json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources });
    let version = json!({ "groupVersion": "authentication.k8s.io/v1", "version": "v1" });
    let all = ["create", "get", "list"];
    Some(match path {
        "/version" => {
            json!({ "major": "1", "minor": "35", "gitVersion": "v1.35.2", "platform": "linux/amd64" })
        }
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        "/apis" => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [{ "name": "authentication.k8s.io", "versions": [version], "preferredVersion": version }],
        }),
        "/api/v1" => resources(
            "v1",
            &[resource("configmaps", "ConfigMap", true, &all), resource("secrets", "Secret", true, &all)],
        ),
        "/apis/authentication.k8s.io/v1" => resources(
            "authentication.k8s.io/v1",
            &[resource("selfsubjectreviews", "SelfSubjectReview", false, &["create"])],
        ),
        _ => return None,
    })
}

fn self_subject_review(user: &User) -> Value {
    json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "status": { "userInfo": {
            "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        } },
    })
}

fn config_map(namespace: &str) -> Value {
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": { "name": "settings", "namespace": namespace }, "data": { "colour": "green" },
    })
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({ "kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {}, "items": items })
}
