//! Strict access to sections and values: rejects unknown keys, converts no types.

use std::ops::RangeInclusive;

use super::error::{Fault, FaultAt};
use super::schema;
use super::tree::{Key, Node, Place, Value};

/// A section with the keys of its definition in the schema.
pub(super) struct Section<'a> {
    definition: &'static str,
    place: Place,
    path: String,
    entries: Vec<(&'a str, &'a Node)>,
}

/// A value with its path in the file.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
    /// Its schema; `null` if that depends on other values.
    schema: &'static serde_json::Value,
}

impl<'a> Section<'a> {
    pub(super) fn top(node: &'a Node) -> Result<Self, FaultAt> {
        Self::read(node, String::new(), "infrad")
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Returns the value of `key`. `None` if it is missing or empty.
    pub(super) fn find(&self, key: &str) -> Option<Field<'a>> {
        #[cfg(test)]
        schema::record(self.definition, key);
        let (_, node) = self.entries.iter().find(|(name, _)| *name == key)?;
        let schema = schema::property(self.definition, key);
        (!matches!(node.value, Value::Nothing)).then(|| Field { node, path: self.path_of(key), schema })
    }

    /// Like [`Self::find`], but treats empty text as missing.
    pub(super) fn find_unless_empty(&self, key: &str) -> Option<Field<'a>> {
        let is_empty = |field: &Field<'_>| matches!(&field.node.value, Value::Text(text) if text.is_empty());
        self.find(key).filter(|field| !is_empty(field))
    }

    /// Returns the value of the required `key`. The error suggests the line `example`.
    pub(super) fn require(&self, key: &str, example: &str) -> Result<Field<'a>, FaultAt> {
        self.find(key).ok_or_else(|| self.missing(key, example))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, FaultAt> {
        self.find(key).map_or(Ok(false), |field| field.boolean())
    }

    pub(super) fn missing(&self, key: &str, example: &str) -> FaultAt {
        let (key, section, example) = (key.to_owned(), self.path.clone(), example.to_owned());
        FaultAt { place: self.place, fault: Fault::Missing { key, section, example } }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn read(node: &'a Node, path: String, definition: &'static str) -> Result<Self, FaultAt> {
        let keys = schema::keys(definition);
        let section = Self { definition, place: node.place, path, entries: Vec::new() };
        let entries = match &node.value {
            Value::Nothing => return Ok(section),
            Value::Section(entries) => entries,
            _ => {
                let expected = format!("a section with keys such as `{}:`", keys.first().unwrap_or(&"name"));
                let key = if section.path.is_empty() { "the file".to_owned() } else { section.path };
                return Err(FaultAt { place: node.place, fault: Fault::Unacceptable { key, expected } });
            }
        };
        for (key, _) in entries {
            if !keys.contains(&key.text.as_str()) {
                return Err(FaultAt {
                    place: key.place,
                    fault: unknown_key(&key.text, &section.path, &keys),
                });
            }
        }
        let entries = entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
        Ok(Self { entries, ..section })
    }
}

impl<'a> Field<'a> {
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// Returns non-empty text. `expected` describes it, with an example.
    pub(super) fn text(&self, expected: &str) -> Result<&'a str, FaultAt> {
        match &self.node.value {
            Value::Text(text) if !text.trim().is_empty() => Ok(text),
            Value::Whole(_) | Value::Fraction(_) | Value::Boolean(_) => Err(self.in_quotes(expected)),
            _ => Err(self.wrong(expected)),
        }
    }

    fn in_quotes(&self, expected: &str) -> FaultAt {
        self.wrong(format!("{expected}; put it in quotes, because YAML reads it as a number or a boolean"))
    }

    pub(super) fn parsed<T>(
        &self,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FaultAt> {
        let number = match &self.node.value {
            Value::Whole(number) => number.to_string(),
            Value::Fraction(number) => number.to_string(),
            _ => return read(self.text(expected)?).ok_or_else(|| self.wrong(expected)),
        };
        // Suggest quotes only if the quoted text would be valid.
        Err(read(&number).map_or_else(|| self.wrong(expected), |_| self.in_quotes(expected)))
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, FaultAt> {
        let expected = format!("one of {}", words(choices.iter().map(|(word, _)| *word)));
        let text = self.text(&expected)?;
        let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        choice.ok_or_else(|| self.wrong(expected))
    }

    /// Returns a number in the range of the schema.
    pub(super) fn whole(&self, example: &str) -> Result<u32, FaultAt> {
        let bound = |name: &str| self.schema[name].as_u64().and_then(|bound| u32::try_from(bound).ok());
        let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u32::MAX));
        self.whole_within(&(least..=most), example)
    }

    pub(super) fn whole_within(&self, range: &RangeInclusive<u32>, example: &str) -> Result<u32, FaultAt> {
        let number = match &self.node.value {
            Value::Whole(number) => u32::try_from(*number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        number.ok_or_else(|| {
            self.wrong(match (range.start(), range.end()) {
                (start, end) if start == end => start.to_string(),
                (start, end) => format!("a whole number from {start} to {end}, such as {example}"),
            })
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, FaultAt> {
        match self.node.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(self.wrong("`true` or `false`")),
        }
    }

    /// Returns a number with a decimal point: YAML reads `1.3` without quotes as one.
    pub(super) fn fraction(&self) -> Option<f64> {
        match self.node.value {
            Value::Fraction(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn section(&self, definition: &'static str) -> Result<Section<'a>, FaultAt> {
        Section::read(self.node, self.path.clone(), definition)
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Returns the entries of a section with free keys.
    pub(super) fn entries(&self, expected: &str) -> Result<Vec<(&'a str, Self)>, FaultAt> {
        let Value::Section(entries) = &self.node.value else { return Err(self.wrong(expected)) };
        let field = |(key, node): &'a (Key, Node)| {
            // A key that is no word may be a misplaced secret.
            let path = format!("{}.{}", self.path, shown(&key.text).trim_matches('`'));
            (key.text.as_str(), Self { node, path, schema: &serde_json::Value::Null })
        };
        Ok(entries.iter().map(field).collect())
    }

    /// Returns a list of a length that the schema allows.
    pub(super) fn list(&self, expected: &str) -> Result<Vec<Self>, FaultAt> {
        let Value::List(nodes) = &self.node.value else { return Err(self.wrong(expected)) };
        let length = nodes.len() as u64;
        if self.schema["minItems"].as_u64().is_some_and(|least| length < least)
            || self.schema["maxItems"].as_u64().is_some_and(|most| length > most)
        {
            return Err(self.wrong(expected));
        }
        let path = |index| format!("{}[{index}]", self.path);
        Ok(nodes
            .iter()
            .enumerate()
            .map(|(index, node)| Self { node, path: path(index), schema: &self.schema["items"] })
            .collect())
    }

    pub(super) fn texts(&self, expected: &str) -> Result<Vec<String>, FaultAt> {
        self.list(expected)?.iter().map(|field| field.text(expected).map(str::to_owned)).collect()
    }

    pub(super) fn wrong(&self, expected: impl Into<String>) -> FaultAt {
        self.fault(Fault::Unacceptable { key: self.path.clone(), expected: expected.into() })
    }

    /// The value is right, and needs something else in the configuration.
    pub(super) fn needs(&self, value: &'static str, needed: impl Into<String>) -> FaultAt {
        self.fault(Fault::Incomplete { key: self.path.clone(), value, needed: needed.into() })
    }

    pub(super) fn fault(&self, fault: Fault) -> FaultAt {
        FaultAt { place: self.node.place, fault }
    }
}

/// "`a`, `b` or `c`"
pub(super) fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

fn unknown_key(key: &str, section: &str, keys: &[&str]) -> Fault {
    let distance = |known: &&&str| strsim::damerau_levenshtein(&key.to_lowercase(), &known.to_lowercase());
    // A misplaced value can be long; keys are short.
    let nearest = (key.len() <= 64).then(|| keys.iter().min_by_key(distance)).flatten();
    let nearest =
        nearest.filter(|known| distance(known) <= known.len().div_ceil(3)).map(|known| (*known).to_owned());
    if let Some((section, rest)) = key.split_once('.')
        && keys.contains(&section)
        && rest.split('.').all(|part| shown(part).starts_with('`'))
    {
        return Fault::Dotted { section: section.to_owned(), rest: rest.to_owned() };
    }
    Fault::UnknownKey {
        key: shown(key),
        section: section.to_owned(),
        nearest,
        known: words(keys.iter().copied()),
    }
}

/// Returns the key for messages, unless it may be a misplaced secret.
fn shown(key: &str) -> String {
    let is_word = (1..=32).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    if is_word { format!("`{key}`") } else { "(not a word)".to_owned() }
}
