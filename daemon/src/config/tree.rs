//! Parses YAML into a tree with positions, so that errors can name line and column.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use super::error::{Fault, FaultAt};

/// A position in the file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// Maximum distance in lines between a tab and the parser's error.
const FARTHEST_TAB: u64 = 3;

/// No `Debug`: any text may be a secret.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

pub(super) enum Value {
    Nothing,
    Boolean(bool),
    Whole(i128),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    Section(Vec<(Key, Node)>),
}

pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Node {
    /// Reads one YAML document.
    pub(super) fn parse(text: &str) -> Result<Self, FaultAt> {
        let tree: Spanned<Value> = serde_saphyr::from_str(text).map_err(|error| fault(&error, text))?;
        Ok(tree.into())
    }

    /// The texts of all keys with this name, each with the section of the file that it is in.
    pub(super) fn texts_of(&self, key: &str) -> Vec<(String, String)> {
        let Value::Section(sections) = &self.value else { return Vec::new() };
        let found = sections.iter().flat_map(|(section, node)| {
            let mut texts = Vec::new();
            node.collect_texts(key, &mut texts);
            texts.into_iter().map(|text| (section.text.clone(), text.to_owned()))
        });
        found.collect()
    }

    fn collect_texts<'a>(&'a self, key: &str, texts: &mut Vec<&'a str>) {
        match &self.value {
            Value::List(nodes) => nodes.iter().for_each(|node| node.collect_texts(key, texts)),
            Value::Section(entries) => {
                for (name, node) in entries {
                    match &node.value {
                        Value::Text(text) if name.text == key => texts.push(text),
                        _ => node.collect_texts(key, texts),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Converts the parser's error without its text, which quotes the file and may contain a secret.
fn fault(error: &Error, text: &str) -> FaultAt {
    let error = error.without_snippet();
    let place = error.location().map_or(Place { line: 1, column: 1 }, Place::from);
    let fault = match error {
        Error::DuplicateMappingKey { .. } => duplicate(text, place),
        Error::MultipleDocuments { .. } => Fault::SeveralDocuments,
        _ => Fault::NotYaml,
    };
    // The parser reports a consequence of the tab, in a nearby line.
    match find_tab(text, place.line).filter(|_| fault == Fault::NotYaml) {
        Some(place) => FaultAt { place, fault: Fault::Tab },
        None => FaultAt { place, fault },
    }
}

/// Names the key that is repeated at `place`, and the line before with the same key at the same indentation.
fn duplicate(text: &str, place: Place) -> Fault {
    let before = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
    let key_in = |line: &str| {
        let key: String = line.chars().skip(before).take_while(char::is_ascii_alphanumeric).collect();
        // Anything else may be a secret.
        line.contains(&format!("{key}:")).then_some(key).filter(|key| !key.is_empty())
    };
    let is_indented = |line: &str| line.chars().take(before).all(|character| " -".contains(character));
    let mut lines: Vec<(u64, &str)> =
        (1..).zip(text.lines()).take_while(|(line, _)| *line <= place.line).collect();
    let key = lines.pop().and_then(|(_, line)| key_in(line)).unwrap_or_default();
    let is_first = |line: &str| is_indented(line) && key_in(line).is_some_and(|found| found == key);
    let first = lines.iter().rev().find(|(_, line)| is_first(line));
    Fault::DuplicateKey { first_line: first.map(|(line, _)| *line), key }
}

/// Finds the nearest tab in an indentation (YAML 1.2 §6.1).
fn find_tab(text: &str, line: u64) -> Option<Place> {
    let tabs = (1..).zip(text.lines()).filter_map(|(number, content): (u64, &str)| {
        let indentation = content.chars().take_while(|character| character.is_whitespace());
        let column =
            indentation.zip(1..).find_map(|(character, column)| (character == '\t').then_some(column));
        column.filter(|_| !content.trim().is_empty()).map(|column| Place { line: number, column })
    });
    let tabs = tabs.filter(|place| place.line.abs_diff(line) <= FARTHEST_TAB);
    tabs.min_by_key(|place| place.line.abs_diff(line))
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { place: spanned.referenced.into(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Whole(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Fraction(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Value>>()? {
            nodes.push(node.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut section: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = section.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push((Key { place: key.referenced.into(), text: key.value }, node.into()));
        }
        Ok(Value::Section(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_key_is_named_with_its_first_line() {
        for (text, expected) in [
            ("version: 1\nlog: {}\nlog: {}\n", "`log` is given twice, first in line 2: remove one"),
            (
                "providers:\n  - name: a\n    kind: okta\n  - name: b\n    kind: oidc\n    kind: okta\n",
                "`kind` is given twice, first in line 5: remove one",
            ),
            ("providers:\n  - name: a\n    name: b\n", "`name` is given twice, first in line 2: remove one"),
            ("log: {level: info, level: debug}\n", "`level` is given twice: remove one"),
            ("\"a b\": 1\n\"a b\": 2\n", "this key is given twice: remove one"),
        ] {
            let Err(fault) = Node::parse(text) else { panic!("taken: {text:?}") };
            assert_eq!(fault.fault.to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn tab_in_indentation_is_reported_with_position() {
        for (text, line, column) in [
            ("version: 1\nproviders:\n\t- name: okta\n", 3, 1),
            ("version: 1\nproviders:\n  - name: okta\n  \tkind: okta\n", 4, 3),
            ("version: 1\nlog:\n\tlevel: debug\nmetrics: {listen: \"127.0.0.1:9090\"}\n", 3, 1),
        ] {
            let Err(fault) = Node::parse(text) else { panic!("taken: {text:?}") };
            assert_eq!(fault, FaultAt { place: Place { line, column }, fault: Fault::Tab }, "{text:?}");
        }
        let Err(fault) = Node::parse("version: [1\n") else { panic!("taken") };
        assert_eq!(fault.fault, Fault::NotYaml);
    }
}
