//! The groups claim of a provider: names that rules can compare, and diagnostics about the rest.

use std::fmt;

use infra_shared::printable::{is_printable, printable};
use serde_json::Value;
use unicode_normalization::is_nfc;

const MAX_GROUPS: usize = 256;
const MAX_NAME_BYTES: usize = 256;
/// Limits of messages: number of names, and characters of each.
const MAX_SHOWN: usize = 20;
const MAX_SHOWN_CHARACTERS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupsClaim {
    /// The claim is missing or null.
    #[default]
    Missing,
    /// Neither a text nor a list, so the user has no groups.
    WrongType(&'static str),
    Listed {
        names: Vec<String>,
        /// Number of names that are ambiguous or not printable.
        left_out: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("groups: more than 256 ({0})")]
pub struct TooManyGroups(pub usize);

impl GroupsClaim {
    /// Reads the claim. A name counts exactly as sent or is skipped. Names that are empty, too long, not printable or
    /// not in NFC are skipped, never normalised: U+212A (the kelvin sign) would become a plain K.
    pub(super) fn read(claim: Option<&Value>, provider: &str) -> Result<Self, TooManyGroups> {
        let listed = match claim {
            None | Some(Value::Null) => return Ok(Self::Missing),
            Some(name @ Value::String(_)) => std::slice::from_ref(name),
            Some(Value::Array(names)) => names.as_slice(),
            Some(Value::Object(_)) => return Ok(Self::WrongType("object")),
            Some(Value::Number(_)) => return Ok(Self::WrongType("number")),
            Some(Value::Bool(_)) => return Ok(Self::WrongType("boolean")),
        };
        if listed.len() > MAX_GROUPS {
            return Err(TooManyGroups(listed.len()));
        }
        let (names, odd): (Vec<&Value>, Vec<&Value>) = listed.iter().partition(|name| is_comparable(name));
        if let Some(first) = odd.first() {
            let first = first.as_str().map(|name| printable(name, MAX_SHOWN_CHARACTERS));
            tracing::warn!(
                provider,
                ignored = odd.len(),
                first,
                "ignored some groups: a group name must be printable text of 1 to 256 bytes in Unicode form NFC"
            );
        }
        let names = names.into_iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        Ok(Self::Listed { names, left_out: odd.len() })
    }

    pub fn names(&self) -> &[String] {
        match self {
            Self::Listed { names, .. } => names,
            Self::Missing | Self::WrongType(_) => &[],
        }
    }
}

/// Bounded and printable, for an operator who looks for the reason of a rejection.
impl fmt::Display for GroupsClaim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, left_out) = match self {
            Self::Missing => return formatter.write_str("missing from the response"),
            Self::WrongType(kind) => return write!(formatter, "of the wrong type ({kind})"),
            Self::Listed { names, left_out } => (names, *left_out),
        };
        let shown: Vec<String> =
            names.iter().take(MAX_SHOWN).map(|name| printable(name, MAX_SHOWN_CHARACTERS)).collect();
        write!(formatter, "[{}]", shown.join(", "))?;
        if names.len() > MAX_SHOWN {
            write!(formatter, " and {} more", names.len() - MAX_SHOWN)?;
        }
        if left_out > 0 {
            write!(formatter, ", {left_out} ignored")?;
        }
        Ok(())
    }
}

fn is_comparable(name: &Value) -> bool {
    name.as_str().is_some_and(|name| {
        (1..=MAX_NAME_BYTES).contains(&name.len()) && is_nfc(name) && name.chars().all(is_printable)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claim: &Value) -> Result<GroupsClaim, TooManyGroups> {
        GroupsClaim::read(Some(claim), "okta")
    }

    #[test]
    fn odd_group_names_are_skipped_not_normalised() {
        let odd = [
            "",
            "a\u{200d}dmins",
            "admins\u{200d}",
            "ad\tmins",
            "admins\n",
            "a\u{1b}[31m",
            "\u{212a}8s-admins",
            "Zoe\u{308}",
            &"g".repeat(257),
            "\u{202e}snimda",
        ];
        let mut claim: Vec<Value> = odd.iter().map(|name| json!(name)).collect();
        claim.extend([json!(7), json!(null), json!({"a": 1}), json!("plain"), json!("Zo\u{eb}")]);
        let told = read(&json!(claim)).expect("few");
        assert_eq!(told.names(), ["plain", "Zo\u{eb}"]);
        assert_eq!(told.to_string(), "[plain, Zo\u{eb}], 13 ignored");
        for name in odd {
            assert!(read(&json!(name)).expect("one").names().is_empty(), "{name:?}");
        }
    }

    #[test]
    fn missing_groups_differ_from_wrong_type() {
        assert_eq!(GroupsClaim::read(None, "okta"), Ok(GroupsClaim::Missing));
        assert_eq!(read(&json!(null)), Ok(GroupsClaim::Missing));
        for (claim, kind) in [(json!({}), "object"), (json!(7), "number"), (json!(true), "boolean")] {
            assert_eq!(read(&claim), Ok(GroupsClaim::WrongType(kind)));
        }
        assert_eq!(read(&json!("one")).expect("one").names(), ["one"]);
        assert_eq!(read(&json!([])).expect("none").to_string(), "[]");
    }

    #[test]
    fn too_many_groups_are_rejected_with_count() {
        assert_eq!(read(&json!(vec!["g"; 256])).expect("256").names().len(), 256);
        let error = read(&json!(vec!["g"; 257])).expect_err("257");
        assert_eq!(error.to_string(), "groups: more than 256 (257)");
    }

    #[test]
    fn groups_display_is_bounded() {
        let names: Vec<String> = (0..256).map(|number| format!("{number:03}{}", "x".repeat(253))).collect();
        let shown = read(&json!(names)).expect("256").to_string();
        assert!(shown.len() < 1500 && shown.ends_with("] and 236 more"), "{shown}");
    }
}
