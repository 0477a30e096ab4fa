//! What is wrong with a configuration file, and what to do about it.
//!
//! No message repeats a value: the value itself, or one that slipped into its place, may be a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::secrets::ReferenceError;

use super::tree::Place;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read: {source}; name the file with `--config FILE`")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {limit} bytes: is it the configuration?")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{path} is not text in UTF-8")]
    NotText { path: PathBuf },
    #[error("{path} is empty; this is enough to start with:\n\n{example}")]
    Empty { path: PathBuf, example: &'static str },
    #[error("{path}, line {line}, column {column}: {fault}")]
    Faulty { path: PathBuf, line: u64, column: u64, fault: Box<Fault> },
}

/// The rule that a place in the file breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "this is not YAML: look for a bracket or quote left open, or indentation that differs, here or just above"
    )]
    NotYaml,
    #[error("a tab indents this line, and YAML allows spaces only: replace the tab with spaces")]
    Tab,
    #[error("this key is here for the second time; remove one of the two")]
    DuplicateKey,
    #[error("a second document starts here; the configuration is one document: remove the `---`")]
    SeveralDocuments,
    #[error("unknown key {key}{}; {}", In(.section), advice(.nearest.as_deref(), .known))]
    UnknownKey { key: String, section: String, nearest: Option<String>, known: String },
    #[error("`{key}` is missing{}; add, for example, `{example}`", In(.section))]
    Missing { key: String, section: String, example: String },
    #[error("`{key}` must be {expected}")]
    Unacceptable { key: String, expected: String },
    #[error(
        "`{backend}:` is no backend yet: declare it, for example with `secrets: [{{name: {backend}, kind: {}, config: \
         {{…}}}}]`", kind_of(.backend)
    )]
    Undeclared { backend: String },
    #[error("`{key}`: {error}")]
    Reference { key: String, error: ReferenceError },
    #[error("`{key}`: {path} cannot be used: {cause}")]
    File { key: String, path: PathBuf, cause: String },
}

/// A fault and its place, until the file's name is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultAt {
    pub(super) place: Place,
    pub(super) fault: Fault,
}

/// ` in X`, or nothing at the top of the file.
struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(formatter, " in `{}`", self.0) }
    }
}

fn advice(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("remove it, or write one of {known}"),
    }
}

/// The kind that a backend of this name usually has.
fn kind_of(name: &str) -> &str {
    if name == "awssm" { "awssecretsmanager" } else { name }
}
