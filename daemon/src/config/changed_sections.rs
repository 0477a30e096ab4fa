//! Finds sections that changed since the file was last read.

use sha2::{Digest, Sha256};

use super::tree::{Node, Value};

/// Names and digests of the sections. Digests, because the contents may be secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sections(Vec<(String, [u8; 32])>);

impl Sections {
    pub(super) fn from_tree(tree: &Node) -> Self {
        let Value::Section(entries) = &tree.value else { return Self::default() };
        let digest = |node: &Node| {
            let mut hasher = Sha256::new();
            update(&mut hasher, node);
            hasher.finalize().into()
        };
        let written = entries.iter().filter(|(_, node)| !matches!(node.value, Value::Nothing));
        Self(written.map(|(key, node)| (key.text.clone(), digest(node))).collect())
    }

    /// Returns the sections that were changed, added or removed between `self` and `other`. Ignores comments and order.
    pub fn differing_from(&self, other: &Self) -> Vec<String> {
        let is_in = |sections: &Self, entry| sections.0.contains(entry);
        let mut names: Vec<String> = self
            .0
            .iter()
            .filter(|entry| !is_in(other, entry))
            .chain(other.0.iter().filter(|entry| !is_in(self, entry)))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Adds an unambiguous encoding of the value.
fn update(hasher: &mut Sha256, node: &Node) {
    let mut add = |kind: u8, bytes: &[u8]| {
        hasher.update([kind]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    match &node.value {
        Value::Nothing => add(0, &[]),
        Value::Boolean(value) => add(1, &[u8::from(*value)]),
        Value::Whole(value) => add(2, &value.to_be_bytes()),
        Value::Fraction(value) => add(3, &value.to_be_bytes()),
        Value::Text(text) => add(4, text.as_bytes()),
        Value::List(items) => {
            add(5, &(items.len() as u64).to_be_bytes());
            for item in items {
                update(hasher, item);
            }
        }
        Value::Section(entries) => {
            add(6, &(entries.len() as u64).to_be_bytes());
            for (key, value) in entries {
                hasher.update((key.text.len() as u64).to_be_bytes());
                hasher.update(key.text.as_bytes());
                update(hasher, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Sections {
        let Ok(tree) = Node::parse(text) else { panic!("this is YAML: {text}") };
        Sections::from_tree(&tree)
    }

    #[test]
    fn only_changed_values_make_a_section_differ() {
        let first = sections("a: 1\nb: {c: [p, q], d: true}\n");
        let same = sections("# a comment\nb:\n  c: [p, \"q\"]\n  d: true\na: 1\ne:\n");
        assert_eq!(first.differing_from(&same), [""; 0]);
        for (text, differing) in [
            ("a: 2\nb: {c: [p, q], d: true}", vec!["a"]),
            ("a: \"1\"\nb: {c: [p], d: true}", vec!["a", "b"]),
            ("b: {c: [pq], d: true}\na: 1", vec!["b"]),
            ("a: 1", vec!["b"]),
            ("a: 1\nb: {c: [p, q], d: true}\ne: 1", vec!["e"]),
        ] {
            assert_eq!(first.differing_from(&sections(text)), differing, "{text}");
            assert_eq!(sections(text).differing_from(&first), differing, "{text}");
        }
    }
}
