//! How nodes are written: as `kubectl` writes them, or between brackets.

use super::node::{Kind, Node, is_plain_text};

/// A node with an anchor, a tag or an alias cannot be written anew: what it refers to may stand elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undeclared;

/// In lines, the first of which begins at `column` already.
pub(super) fn block(node: &Node, column: usize) -> Result<String, Undeclared> {
    check(node)?;
    match &node.kind {
        Kind::Map(pairs) if !pairs.is_empty() => {
            let lines = pairs.iter().map(|(key, value)| {
                let is_nested = matches!(&value.kind, Kind::Map(_) | Kind::List(_)) && !value.is_nothing();
                let below = if matches!(value.kind, Kind::Map(_)) { column + 2 } else { column };
                let separator = if is_nested { format!("\n{}", " ".repeat(below)) } else { " ".to_owned() };
                Ok(format!("{}:{separator}{}", block(key, column)?, block(value, below)?))
            });
            joined(lines, &format!("\n{}", " ".repeat(column)))
        }
        Kind::List(items) if !items.is_empty() => {
            let lines = items.iter().map(|item| Ok(format!("- {}", block(item, column + 2)?)));
            joined(lines, &format!("\n{}", " ".repeat(column)))
        }
        Kind::Scalar { text, is_text: true } if is_plain(text) => Ok(text.clone()),
        _ => flow(node),
    }
}

/// In one line, between brackets.
pub(super) fn flow(node: &Node) -> Result<String, Undeclared> {
    check(node)?;
    match &node.kind {
        Kind::Scalar { text, is_text: true } => Ok(quoted(text)),
        // Nothing, written as nothing, has to be seen between brackets.
        Kind::Scalar { text, .. } if text.is_empty() => Ok("null".to_owned()),
        Kind::Scalar { text, .. } => Ok(text.clone()),
        Kind::List(items) => Ok(format!("[{}]", joined(items.iter().map(flow), ", ")?)),
        Kind::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| Ok(format!("{}: {}", flow(key)?, flow(value)?)));
            Ok(format!("{{{}}}", joined(pairs, ", ")?))
        }
        Kind::Alias(_) => Err(Undeclared),
    }
}

fn check(node: &Node) -> Result<(), Undeclared> {
    if node.decoration.is_some() { Err(Undeclared) } else { Ok(()) }
}

fn joined(parts: impl Iterator<Item = Result<String, Undeclared>>, with: &str) -> Result<String, Undeclared> {
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join(with))
}

/// A JSON string, which is one of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text needs no quotes in a line of its own.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@+=-:".contains(&byte);
    is_plain_text(text)
        && text.bytes().all(plain)
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && !text.ends_with(':')
}
