//! Rules about claims: exact text, byte for byte.

use infra_shared::printable::printable;
use serde_json::{Map, Value};

/// Limits of messages, in characters.
const MAX_SHOWN: usize = 100;

/// A claim that must be one of these texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    pub name: String,
    /// Never empty.
    pub values: Vec<String>,
}

impl ClaimRule {
    /// Whether the claim is a text that the rule lists. A number, a boolean or a list never matches, so `["main"]` is not
    /// `main` and 1 is not `1`.
    fn matches(&self, claims: &Map<String, Value>) -> bool {
        match claims.get(&self.name) {
            Some(Value::String(text)) => self.values.iter().any(|value| value == text),
            _ => false,
        }
    }
}

/// Describes the first claim that does not match, for the operator. `None` if all match.
pub(super) fn first_difference(rules: &[ClaimRule], claims: &Map<String, Value>) -> Option<String> {
    // A rule without claims would match every token.
    if rules.is_empty() {
        return Some("it has no claims".to_owned());
    }
    let rule = rules.iter().find(|rule| !rule.matches(claims))?;
    let actual = match claims.get(&rule.name) {
        None => "missing".to_owned(),
        Some(Value::String(text)) => format!("`{}`", printable(text, MAX_SHOWN)),
        Some(_) => "no text".to_owned(),
    };
    Some(format!("the claim `{}` is {actual}", rule.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(name: &str, values: &[&str]) -> ClaimRule {
        ClaimRule { name: name.to_owned(), values: values.iter().map(|it| (*it).to_owned()).collect() }
    }

    fn difference(rules: &[ClaimRule], claims: &Value) -> Option<String> {
        first_difference(rules, claims.as_object().expect("an object"))
    }

    #[test]
    fn claim_matches_only_exact_text() {
        let rules =
            [rule("repository_id", &["123456"]), rule("ref", &["refs/heads/main", "refs/heads/next"])];
        for branch in ["refs/heads/main", "refs/heads/next"] {
            assert_eq!(difference(&rules, &json!({"repository_id": "123456", "ref": branch})), None);
        }
        for other in [
            json!("refs/heads/mai"),
            json!("refs/heads/main2"),
            json!("refs/heads/main\u{0}"),
            json!(" refs/heads/main"),
            json!("refs/heads/Main"),
            json!("refs/heads/main,refs/heads/next"),
            json!(["refs/heads/main"]),
            json!({"refs/heads/main": true}),
            json!(["refs/heads/main", "refs/heads/next"]),
            json!(true),
            json!(null),
            json!("\u{ff52}efs/heads/main"),
        ] {
            let claims = json!({"repository_id": "123456", "ref": other});
            assert!(difference(&rules, &claims).is_some(), "{other}");
        }
        for id in [json!(123_456), json!("0123456"), json!("123456.0"), json!("1234567"), json!("12345")] {
            let claims = json!({"repository_id": id, "ref": "refs/heads/main"});
            assert!(difference(&rules, &claims).is_some(), "{id}");
        }
    }

    #[test]
    fn difference_names_claim_and_printable_value() {
        let rules = [rule("ref", &["refs/heads/main"])];
        let of = |claims: Value| difference(&rules, &claims).expect("a difference");
        assert_eq!(of(json!({})), "the claim `ref` is missing");
        assert_eq!(of(json!({"ref": ["refs/heads/main"]})), "the claim `ref` is no text");
        assert_eq!(of(json!({"ref": "a\u{1b}[2J"})), "the claim `ref` is `a[2J`");
        assert_eq!(difference(&[], &json!({})).as_deref(), Some("it has no claims"));
    }
}
