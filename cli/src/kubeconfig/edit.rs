//! Changes one place of a kubeconfig's text, and leaves every other byte as it is.
//!
//! What comes out is read again, and refused unless it means what was meant: whatever YAML can look like, nothing else is
//! harmed.

use super::node::{Kind, Node, NotADocument, parse};
use super::written::{self, Undeclared};

/// A text after a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// Whether what was replaced held comments.
    pub(super) has_lost_comments: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotEdit {
    #[error(transparent)]
    NotADocument(#[from] NotADocument),
    #[error("it is not a kubeconfig: {0}")]
    NotAKubeconfig(String),
    #[error("it is written in a way in which this entry cannot be changed without harm to others")]
    Unusual,
}

impl From<Undeclared> for CannotEdit {
    fn from(_: Undeclared) -> Self {
        Self::Unusual
    }
}

/// What a kubeconfig begins with.
const BEGINNING: &str = "apiVersion: v1\nkind: Config\n";

/// Puts `entry` into the list `section`, in the place of the one of its name, or at the end.
pub(super) fn put(text: &str, section: &str, name: &str, entry: &Node) -> Result<Edited, CannotEdit> {
    let text = &begun(text)?;
    let root = root(text)?;
    let mut expected = root.clone();
    let mut comments = false;
    let key = root.pairs().iter().find(|(key, _)| key.as_text() == Some(section));
    let new = match key {
        None => {
            let list = Node::list(vec![entry.clone()]);
            expected.set(section, list.clone());
            add_pair(text, &root, section, &list)?
        }
        Some((key, value)) if value.is_nothing() => {
            let list = Node::list(vec![entry.clone()]);
            expected.set(section, list.clone());
            fill(text, &root, key, value, &list)?
        }
        Some((_, value)) => {
            let Kind::List(items) = &value.kind else {
                return Err(CannotEdit::NotAKubeconfig(format!("`{section}` is not a list")));
            };
            let mut after = items.clone();
            let is_it = |item: &Node| item.find("name").and_then(Node::as_text) == Some(name);
            let new = if let Some((old, place)) = items.iter().zip(&mut after).find(|(item, _)| is_it(item)) {
                *place = entry.clone();
                comments = has_comments(text, old);
                replace(text, old, entry)?
            } else {
                after.push(entry.clone());
                append(text, value, items.last(), entry)?
            };
            set_list(&mut expected, section, after);
            new
        }
    };
    checked(new, &expected, comments)
}

/// Sets a key of the document to a text.
pub(super) fn set(text: &str, key: &str, value: &str) -> Result<Edited, CannotEdit> {
    let text = &begun(text)?;
    let root = root(text)?;
    let value = Node::text(value);
    let mut expected = root.clone();
    expected.set(key, value.clone());
    let new = match root.pairs().iter().find(|(name, _)| name.as_text() == Some(key)) {
        None => add_pair(text, &root, key, &value)?,
        Some((_, old)) if !old.range.is_empty() && matches!(old.kind, Kind::Scalar { .. }) => {
            let written = if root.is_flow { written::flow(&value)? } else { written::block(&value, 0)? };
            spliced(text, old.range.clone(), &written)
        }
        Some((name, old)) if old.is_nothing() => {
            let after = text.get(name.range.end..).and_then(|rest| rest.find(':'));
            let colon = name.range.end + after.ok_or(CannotEdit::Unusual)? + 1;
            spliced(text, colon..colon, &format!(" {}", written::block(&value, 0)?))
        }
        Some(_) => return Err(CannotEdit::NotAKubeconfig(format!("`{key}` is not a text"))),
    };
    checked(new, &expected, false)
}

/// The text, with the beginning of a kubeconfig where it holds none.
fn begun(text: &str) -> Result<String, CannotEdit> {
    if parse(text)?.is_some_and(|root| !matches!(root.kind, Kind::Scalar { .. }) || !root.is_nothing()) {
        return Ok(text.to_owned());
    }
    let newline = newline(text);
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
    Ok(format!("{text}{separator}{}", BEGINNING.replace('\n', newline)))
}

fn root(text: &str) -> Result<Node, CannotEdit> {
    let root = parse(text)?.ok_or(CannotEdit::Unusual)?;
    match root.kind {
        Kind::Map(_) => Ok(root),
        _ => Err(CannotEdit::NotAKubeconfig("there are no keys and values".to_owned())),
    }
}

fn checked(text: String, expected: &Node, has_lost_comments: bool) -> Result<Edited, CannotEdit> {
    match parse(&text) {
        Ok(Some(found)) if found == *expected => Ok(Edited { text, has_lost_comments }),
        _ => Err(CannotEdit::Unusual),
    }
}

fn set_list(root: &mut Node, section: &str, items: Vec<Node>) {
    if let Kind::Map(pairs) = &mut root.kind
        && let Some((_, value)) = pairs.iter_mut().find(|(key, _)| key.as_text() == Some(section))
    {
        value.kind = Kind::List(items);
    }
}

/// Adds an item to a list that holds some.
fn append(text: &str, list: &Node, final_item: Option<&Node>, entry: &Node) -> Result<String, CannotEdit> {
    let final_item = final_item.ok_or(CannotEdit::Unusual)?;
    if list.is_flow {
        let at = final_item.range.end;
        return Ok(spliced(text, at..at, &format!(", {}", written::flow(entry)?)));
    }
    let before = text.get(..final_item.range.start).ok_or(CannotEdit::Unusual)?.trim_end();
    let dash = before.strip_suffix('-').ok_or(CannotEdit::Unusual)?.len();
    let column = column(text, dash).ok_or(CannotEdit::Unusual)?;
    let line = format!("{}- {}", " ".repeat(column), written::block(entry, column + 2)?);
    Ok(with_line_after(text, end(text, final_item), &line))
}

fn replace(text: &str, old: &Node, new: &Node) -> Result<String, CannotEdit> {
    if old.is_flow {
        return Ok(spliced(text, old.range.clone(), &written::flow(new)?));
    }
    let column = column_of(text, old.range.start).ok_or(CannotEdit::Unusual)?;
    let written = written::block(new, column)?.replace('\n', newline(text));
    Ok(spliced(text, old.range.start..end(text, old), &written))
}

/// Adds a key to the document.
fn add_pair(text: &str, root: &Node, key: &str, value: &Node) -> Result<String, CannotEdit> {
    let pair = Node::map([(key, value.clone())]);
    if root.is_flow {
        let written = written::flow(&pair)?;
        let inner = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        return Ok(match root.pairs().last() {
            Some((_, last)) => spliced(text, last.range.end..last.range.end, &format!(", {inner}")),
            None => spliced(text, root.range.start + 1..root.range.start + 1, inner),
        });
    }
    let column = column(text, root.range.start).ok_or(CannotEdit::Unusual)?;
    let line = format!("{}{}", " ".repeat(column), written::block(&pair, column)?);
    Ok(with_line_after(text, end(text, root), &line))
}

/// Puts a list where there was nothing, or an empty one.
fn fill(text: &str, root: &Node, key: &Node, old: &Node, list: &Node) -> Result<String, CannotEdit> {
    if root.is_flow {
        return Ok(spliced(text, old.range.clone(), &written::flow(list)?));
    }
    let column = column(text, key.range.start).ok_or(CannotEdit::Unusual)?;
    let line = format!("{}{}", " ".repeat(column), written::block(list, column)?);
    let emptied = if old.range.is_empty() {
        text.to_owned()
    } else {
        let before = text.get(..old.range.start).ok_or(CannotEdit::Unusual)?.trim_end_matches(' ').len();
        spliced(text, before..old.range.end, "")
    };
    Ok(with_line_after(&emptied, key.range.end, &line))
}

/// Where a node ends, without the space that follows it.
fn end(text: &str, node: &Node) -> usize {
    let end = node.range.end.min(text.len());
    text.get(..end).map_or(end, |before| before.trim_end().len()).max(node.range.start)
}

/// The column of a place that only spaces stand before.
fn column(text: &str, place: usize) -> Option<usize> {
    let before = text.get(..place)?;
    let line = before.rsplit('\n').next()?;
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    line.bytes().all(|byte| byte == b' ').then_some(line.len())
}

/// The column of an item, before which a dash may stand.
fn column_of(text: &str, place: usize) -> Option<usize> {
    let line = text.get(..place)?.rsplit('\n').next()?;
    line.bytes().all(|byte| b" -".contains(&byte)).then_some(line.len())
}

/// Whether comments stand within a node. A `#` in a text is taken for one.
fn has_comments(text: &str, node: &Node) -> bool {
    let range = node.range.start..end(text, node);
    text.get(range).is_some_and(|text| {
        text.lines().any(|line| line.trim_start().starts_with('#') || line.contains(" #"))
    })
}

/// Adds lines below the one in which `place` stands.
fn with_line_after(text: &str, place: usize, line: &str) -> String {
    let newline = newline(text);
    let line = line.replace('\n', newline);
    match text.get(place..).and_then(|rest| rest.find('\n')) {
        Some(length) => {
            let at = place + length + 1;
            spliced(text, at..at, &format!("{line}{newline}"))
        }
        None => format!("{text}{newline}{line}{newline}"),
    }
}

fn spliced(text: &str, range: std::ops::Range<usize>, with: &str) -> String {
    let (before, after) =
        (text.get(..range.start).unwrap_or(text), text.get(range.end..).unwrap_or_default());
    format!("{before}{with}{after}")
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests;
