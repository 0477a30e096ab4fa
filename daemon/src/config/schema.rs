//! JSON Schema of the configuration, for editors and the Helm chart. It is the only list of each section's keys.

#[cfg(test)]
use std::collections::BTreeSet;
use std::sync::LazyLock;
#[cfg(test)]
use std::sync::Mutex;

use serde_json::{Map, Value};

/// JSON Schema, draft 7. It has every key of the daemon. It may accept values that the daemon rejects.
pub const SCHEMA: &str = include_str!("schema.json");

static DEFINITIONS: LazyLock<Value> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    schema.get_mut("definitions").expect("the schema has definitions").take()
});

/// Returns the keys of a section, by the name of its definition.
pub(super) fn keys(definition: &str) -> Vec<&'static str> {
    properties(definition).keys().map(String::as_str).collect()
}

pub(super) fn property(definition: &str, key: &str) -> &'static Value {
    properties(definition).get(key).unwrap_or(&Value::Null)
}

fn properties(definition: &str) -> &'static Map<String, Value> {
    let properties = DEFINITIONS.get(definition).and_then(|definition| definition.get("properties"));
    properties.and_then(Value::as_object).expect("the schema defines each section")
}

/// Keys that were read, with the name of their section's definition.
#[cfg(test)]
static READ: Mutex<BTreeSet<(&'static str, String)>> = Mutex::new(BTreeSet::new());

#[cfg(test)]
pub(super) fn record(definition: &'static str, key: &str) {
    READ.lock().expect("nothing panics with it").insert((definition, key.to_owned()));
}

/// Returns all keys of the schema, and those that were read.
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
