//! Errors in a configuration file, with hints.
//!
//! Messages never contain a value from the file: it may be a secret, even in the wrong place.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::secrets::ReferenceError;

use super::tree::Place;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {limit} bytes, too large for a configuration")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{path} is not UTF-8 text")]
    NotText { path: PathBuf },
    #[error("{path} is empty; start with this:\n\n{example}")]
    Empty { path: PathBuf, example: &'static str },
    #[error("{path}, line {line}, column {column}: {fault}")]
    Faulty { path: PathBuf, line: u64, column: u64, fault: Box<Fault> },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "this is not valid YAML: look for an unclosed bracket or quote, or wrong indentation, in this line or the \
         line above"
    )]
    NotYaml,
    #[error("a tab indents this line, but YAML allows only spaces: replace the tab")]
    Tab,
    #[error("{} is given twice{}: remove one", quoted(.key), first_in(*.first_line))]
    DuplicateKey { key: String, first_line: Option<u64> },
    #[error("a second document starts here, but the configuration is one document: remove the `---`")]
    SeveralDocuments,
    #[error("unknown key {key}{}; {}", In(.section), hint(.nearest.as_deref(), .known))]
    UnknownKey { key: String, section: String, nearest: Option<String>, known: String },
    #[error("a dot in a key means a section: write `{section}: {{{rest}: …}}`")]
    Dotted { section: String, rest: String },
    #[error("`{key}` is missing{}; add, for example, `{example}`", In(.section))]
    Missing { key: String, section: String, example: String },
    #[error("`{key}` must be {expected}")]
    Unacceptable { key: String, expected: String },
    #[error("`{key}: {value}` needs {needed}")]
    Incomplete { key: String, value: &'static str, needed: String },
    #[error(
        "`{backend}:` is not declared: declare it, for example with `secrets: [{{name: {backend}, kind: {}, config: \
         {{…}}}}]`", kind_of(.backend)
    )]
    Undeclared { backend: String },
    #[error("`{key}`: {error}")]
    Reference { key: String, error: ReferenceError },
    #[error("`{key}`: cannot use {path}: {cause}")]
    File { key: String, path: PathBuf, cause: String },
}

/// An error and its position, without the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultAt {
    pub(super) place: Place,
    pub(super) fault: Fault,
}

/// ` in SECTION`, or empty at the top of the file.
struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(formatter, " in `{}`", self.0) }
    }
}

/// A key, or that it cannot be shown.
fn quoted(key: &str) -> String {
    if key.is_empty() { "this key".to_owned() } else { format!("`{key}`") }
}

fn first_in(line: Option<u64>) -> String {
    line.map(|line| format!(", first in line {line}")).unwrap_or_default()
}

fn hint(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("remove it, or write one of {known}"),
    }
}

/// Usual kind of a backend of this name.
fn kind_of(name: &str) -> &str {
    if name == "awssm" { "awssecretsmanager" } else { name }
}
