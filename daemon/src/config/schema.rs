//! The JSON Schema of the configuration: for editors and the chart, and the only list of each section's keys.

#[cfg(test)]
use std::collections::BTreeSet;
use std::sync::LazyLock;
#[cfg(test)]
use std::sync::Mutex;

use serde_json::{Map, Value};

/// JSON Schema, draft 7. It may accept a value that the daemon refuses, and has every key that the daemon has.
pub const SCHEMA: &str = include_str!("schema.json");

static DEFINITIONS: LazyLock<Value> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    schema.get_mut("definitions").expect("the schema has definitions").take()
});

/// The keys of a section, by the name of its definition.
pub(super) fn keys(definition: &str) -> Vec<&'static str> {
    properties(definition).keys().map(String::as_str).collect()
}

/// What the schema says of a key.
pub(super) fn property(definition: &str, key: &str) -> &'static Value {
    properties(definition).get(key).unwrap_or(&Value::Null)
}

fn properties(definition: &str) -> &'static Map<String, Value> {
    let properties = DEFINITIONS.get(definition).and_then(|definition| definition.get("properties"));
    properties.and_then(Value::as_object).expect("the schema defines each section")
}

/// The keys that were read, each after the name of its section's definition.
#[cfg(test)]
static READ: Mutex<BTreeSet<(&'static str, String)>> = Mutex::new(BTreeSet::new());

#[cfg(test)]
pub(super) fn record(definition: &'static str, key: &str) {
    READ.lock().expect("nothing panics with it").insert((definition, key.to_owned()));
}

/// The keys of all sections that the schema has, and those that were read.
#[cfg(test)]
pub(super) fn known_and_read() -> [BTreeSet<String>; 2] {
    let sections = DEFINITIONS.as_object().into_iter().flat_map(Map::iter);
    let known = sections.flat_map(|(name, section)| {
        let keys = section.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        keys.map(move |key| format!("{name}.{key}"))
    });
    let read = READ.lock().expect("nothing panics with it").clone();
    [known.collect(), read.into_iter().map(|(name, key)| format!("{name}.{key}")).collect()]
}
