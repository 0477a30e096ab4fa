//! A user's kubeconfig: three entries are put into it, and everything else stays as it is, comments included.
//!
//! Read as `kubectl` reads it (several files, of which the first that has an entry counts), and written as `kubectl` writes
//! it: an entry stays in the file that has it, a new one goes to the first file that is there.

mod edit;
mod entries;
mod files;
mod node;
mod written;

use std::path::PathBuf;

use crate::failure::{Exit, Failure};
use edit::CannotEdit;
use entries::{Change, plan};
use files::{Lock, shown};

pub use entries::{EXEC_API_VERSION, Wanted};
pub use files::Files;

/// Why a kubeconfig is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("{path} is a link: what it leads to is not changed behind it")]
    Link { path: String },
    #[error("{path} belongs to another user (uid {owner})")]
    OtherOwner { path: String, owner: u32 },
    #[error("{path} is not a file")]
    NotAFile { path: String },
    #[error("{path} is larger than any kubeconfig")]
    TooLarge { path: String },
    #[error("{path} is not text in UTF-8")]
    NotText { path: String },
    #[error("{path}: {reason}")]
    CannotEdit { path: String, reason: CannotEdit },
    #[error("{path} has {kind} `{name}` already, and it is not one of `infra`")]
    Taken { path: String, kind: &'static str, name: String },
    #[error("{path} was there for {seconds} s: another program changes the kubeconfig, or died while it did")]
    Locked { path: String, seconds: u64 },
    #[error("{path} was changed by another program just now")]
    Changed { path: String },
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// The files that were changed; none where everything was there already.
    pub changed: Vec<PathBuf>,
    /// Copies of files of which comments were lost.
    pub copies: Vec<PathBuf>,
}

/// Puts the entries into the kubeconfig.
pub fn add(files: &Files, wanted: &Wanted) -> Result<Done, KubeconfigError> {
    let first = plan(&files.read()?, wanted)?;
    // Always in the same order, as `kubectl` does: two that wait for each other would wait for ever.
    let mut paths: Vec<PathBuf> = first.iter().map(|change| change.path.clone()).collect();
    paths.sort();
    for path in &paths {
        files::prepare(path)?;
    }
    let _locks = paths.iter().map(|path| Lock::take(path)).collect::<Result<Vec<_>, _>>()?;
    // What was read before the lock may be old.
    let changes = plan(&files.read()?, wanted)?;
    if let Some(Change { path, .. }) = changes.iter().find(|change| !paths.contains(&change.path)) {
        return Err(KubeconfigError::Changed { path: shown(path) });
    }
    let mut done = Done::default();
    for Change { path, before, after, has_lost_comments } in changes {
        files::prepare(&path)?;
        if has_lost_comments {
            done.copies.push(files::keep_copy(&path, &before)?);
        }
        files::write(&path, &after)?;
        done.changed.push(path);
    }
    Ok(done)
}

impl From<KubeconfigError> for Failure {
    fn from(error: KubeconfigError) -> Self {
        let failure = Self::new(Exit::Failed, "the kubeconfig is left as it is").because(&error);
        match error {
            KubeconfigError::Link { .. } => failure.hint("name the file itself with `--kubeconfig`"),
            KubeconfigError::OtherOwner { .. } => {
                failure.hint("`infra` as that user (without `sudo`), or another file with `--kubeconfig`")
            }
            KubeconfigError::Taken { .. } => {
                failure.hint("another name with `--context`, or `--force` to replace what is there")
            }
            KubeconfigError::Locked { path, .. } => {
                failure.hint(format!("once no `kubectl` runs, remove {path}"))
            }
            KubeconfigError::Changed { .. } => failure.hint("the same once more"),
            KubeconfigError::CannotEdit { reason: CannotEdit::Unusual, .. } => {
                failure.hint("a file of its own with `--kubeconfig`, and both files in `KUBECONFIG`")
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests;
