//! Finds the data directory in a configuration with a fault elsewhere, for commands that only ask the running daemon.

use std::path::PathBuf;

use super::directories::Directories;
use super::tree::{Node, Value};

const KEY: &str = "dataDir";

/// Where the data may be, the likeliest first. Empty if `text` names a place that cannot be told for certain, because
/// another place may hold the data of another daemon.
pub(super) fn data_dirs(text: &str, directories: &Directories) -> Vec<PathBuf> {
    let named = match Node::parse(text) {
        Ok(Node { value: Value::Section(entries), .. }) => {
            let found = entries.iter().find(|(key, _)| key.text == KEY).map(|(_, node)| match &node.value {
                Value::Text(text) => text.clone(),
                _ => String::new(),
            });
            found.into_iter().collect()
        }
        // Each line at the left edge is a key of the file, whatever is wrong with the others.
        _ => text
            .lines()
            .filter_map(|line| Some(scalar(line.strip_prefix(KEY)?.strip_prefix(':')?)))
            .collect::<Vec<_>>(),
    };
    match named.as_slice() {
        [] if text.contains(KEY) => Vec::new(),
        [] => directories.data.iter().chain(&directories.running).cloned().collect(),
        [one] => Vec::from_iter(Some(PathBuf::from(one)).filter(|path| path.is_absolute())),
        _ => Vec::new(),
    }
}

/// The text of a value in one line, without quotes and comment.
fn scalar(value: &str) -> String {
    let value = value.split(" #").next().unwrap_or_default().trim();
    value.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_directory_is_found_beside_a_fault() {
        let directories = Directories {
            data: Some("/default".into()),
            running: vec!["/of-unit".into()],
            ..Directories::default()
        };
        for (text, expected) in [
            ("version: 1\ndataDir: /data\nlisten: [\n", &["/data"][..]),
            ("dataDir: '/data' # here\nlimits:\n\tmaxConnections: 1\n", &["/data"]),
            ("{version: 1, dataDir: /data, no: 1}", &["/data"]),
            ("version: [", &["/default", "/of-unit"]),
            ("", &["/default", "/of-unit"]),
            // Not certain, so perhaps the data of another daemon.
            ("dataDir: /data\ndataDir: /other\n", &[]),
            ("{dataDir: /data, x: [", &[]),
            ("dataDir: data\n", &[]),
            ("dataDir: [1]\n", &[]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(data_dirs(text, &directories), expected, "{text:?}");
        }
    }
}
