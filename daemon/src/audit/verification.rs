//! Whether a log is whole: every line names the one before it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Chain, digest};
use super::file::aside;

/// A log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub files: usize,
    pub lines: u64,
    /// The number of the first line that is there: more than 1 where older files are gone.
    pub first: u64,
    /// By what the next line would name the last: kept elsewhere, it shows a log that was cut short.
    pub head: String,
    /// Lines that a crash cut off.
    pub cut_off: u64,
}

/// Why a log is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: it does not follow the line before it: one of them was changed, or lines between them are gone"
    )]
    Broken { path: PathBuf, line: u64 },
    #[error("{path}, line {line}: it is not a line of an audit log")]
    Foreign { path: PathBuf, line: u64 },
    #[error("there is no line in it")]
    Empty,
}

#[derive(Deserialize)]
struct Link {
    sequence: u64,
    previous: String,
}

/// Verifies the log at `path`, with what was set aside of it, from the oldest line that is there.
pub fn verify(path: &Path) -> Result<Verified, VerifyError> {
    let older = (1..).map(|number| aside(path, number)).take_while(|path| path.exists());
    let mut files: Vec<PathBuf> = older.collect();
    files.reverse();
    files.push(path.to_owned());
    let mut verification = Verification::default();
    for file in &files {
        verification.file(file)?;
    }
    verification.done(files.len())
}

#[derive(Default)]
struct Verification {
    chain: Option<Chain>,
    first: u64,
    lines: u64,
    cut_off: u64,
}

impl Verification {
    fn file(&mut self, path: &Path) -> Result<(), VerifyError> {
        let unreadable = |source| VerifyError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        for (line, text) in (1..).zip(BufReader::new(file).split(b'\n')) {
            let text = text.map_err(unreadable)?;
            self.line(&text).map_err(|fault| match fault {
                Fault::Broken => VerifyError::Broken { path: path.to_owned(), line },
                Fault::Foreign => VerifyError::Foreign { path: path.to_owned(), line },
            })?;
        }
        Ok(())
    }

    fn line(&mut self, text: &[u8]) -> Result<(), Fault> {
        let (sequence, is_cut_off) = match (serde_json::from_slice::<Link>(text), &self.chain) {
            (Ok(link), None) => (link.sequence, false),
            (Ok(link), Some(before)) if link.previous == before.previous => {
                // After a line that was cut off, the numbers begin anew.
                let follows = link.sequence == before.sequence + 1 || before.sequence == 0;
                if !follows {
                    return Err(Fault::Broken);
                }
                (link.sequence, false)
            }
            (Ok(_), Some(_)) => return Err(Fault::Broken),
            // Whatever it was, the next line vouches for its bytes.
            (Err(_), Some(_)) if text.starts_with(b"{\"schema\":") => (0, true),
            (Err(_), _) => return Err(Fault::Foreign),
        };
        if self.chain.is_none() {
            self.first = sequence;
        }
        self.lines += 1;
        self.cut_off += u64::from(is_cut_off);
        self.chain = Some(Chain { sequence, previous: digest(text) });
        Ok(())
    }

    fn done(self, files: usize) -> Result<Verified, VerifyError> {
        let head = self.chain.ok_or(VerifyError::Empty)?.previous;
        Ok(Verified { files, lines: self.lines, first: self.first, head, cut_off: self.cut_off })
    }
}

enum Fault {
    Broken,
    Foreign,
}
