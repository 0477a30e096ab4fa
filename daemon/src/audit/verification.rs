//! Whether a log is an unbroken chain: every line has the hash of the one before it. The hash of the last line, the head, is in
//! no line: only where it was kept elsewhere does it show a last line that was changed, or lines that were cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Chain, digest};
use super::file::{aside, set_aside};

/// A log that is an unbroken chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub files: usize,
    pub lines: u64,
    /// The number of the first line that is there: more than 1 where older files are gone.
    pub first: u64,
    /// Where a chain begins: in a journal at each start of the daemon, in a file once. Lines after a beginning do not cover
    /// the lines before it. Empty if the beginning is gone.
    pub beginnings: Vec<Position>,
    /// Of the files that were set aside, the numbers that are not there although later ones are.
    pub gaps: Vec<u32>,
    /// The hash of the last line: kept elsewhere, it shows whether the log up to here is unchanged.
    pub head: String,
    /// The line with the head that was looked for.
    pub kept_head: Option<KeptHead>,
    /// Lines that a crash cut off.
    pub cut_off: u64,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub path: PathBuf,
    pub line: u64,
}

/// What a head that was kept elsewhere proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHead {
    /// The number of the line that has it.
    pub number: u64,
    /// The first line that it covers: where the chain begins that this line is part of, or the first line that is left of it.
    pub from: Position,
}

/// Why a log is not an unbroken chain.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: it does not follow the line before it: that line was changed, or lines between them were removed or \
         inserted"
    )]
    Broken { path: PathBuf, line: u64 },
    #[error(
        "no line has the head {head}: the line that it was printed for was changed or removed, or a line before it was changed \
         and all that follow were written again"
    )]
    HeadMissing { head: String },
    #[error(
        "{path}, line {line}: another chain begins, so the lines from here on do not cover the lines before"
    )]
    BeginsAgain { path: PathBuf, line: u64 },
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

/// How often is looked again where files were set aside while they were opened.
const TRIES: usize = 16;

/// Verifies the log at `path`, with what was set aside of it, from the oldest line that is there. In a copy of a journal
/// (`is_journal`), a chain begins at each start of the daemon; the chain of a file goes on.
pub fn verify(path: &Path, kept_head: Option<&str>, is_journal: bool) -> Result<Verified, VerifyError> {
    let unreadable = |source| VerifyError::Unreadable { path: path.to_owned(), source };
    let mut tries = 0;
    let opened = loop {
        tries += 1;
        // What was opened stays the same, whatever it is called later.
        let (before, opened) = (listed(path), open_all(path));
        if tries == TRIES || before.as_ref().ok() == listed(path).as_ref().ok() {
            break opened.map_err(unreadable)?;
        }
    };
    let wanted_head = kept_head.map(str::to_ascii_lowercase);
    let mut verification = Verification { wanted_head, is_journal, ..Verification::default() };
    for (path, file) in &opened {
        verification.file(path, file)?;
    }
    let numbers = set_aside(path).map_err(unreadable)?;
    let gaps = (1..numbers.last().copied().unwrap_or(1)).filter(|number| !numbers.contains(number)).collect();
    verification.done(opened.len(), gaps)
}

/// The files of the log, the oldest first, and the one that is written last.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let older = set_aside(path)?.into_iter().rev().map(|number| aside(path, number));
    Ok(older.chain([path.to_owned()]).collect())
}

fn open_all(path: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    files(path)?.into_iter().map(|path| File::open(&path).map(|file| (path, file))).collect()
}

/// Which files these are, by what they are called.
fn listed(path: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    files(path)?.into_iter().map(|path| std::fs::metadata(&path).map(|it| (path, it.ino()))).collect()
}

#[derive(Default)]
struct Verification {
    wanted_head: Option<String>,
    is_journal: bool,
    kept_head: Option<KeptHead>,
    chain: Option<Chain>,
    first: Option<u64>,
    /// The first line of the chain that is read.
    from: Option<Position>,
    beginnings: Vec<Position>,
    lines: u64,
    cut_off: u64,
}

impl Verification {
    fn file(&mut self, path: &Path, file: &File) -> Result<(), VerifyError> {
        let unreadable = |source| VerifyError::Unreadable { path: path.to_owned(), source };
        for (line, text) in (1..).zip(BufReader::new(file).split(b'\n')) {
            let text = text.map_err(unreadable)?;
            let position = Position { path: path.to_owned(), line };
            self.line(&text, position).map_err(|fault| match fault {
                Fault::Broken => VerifyError::Broken { path: path.to_owned(), line },
                Fault::BeginsAgain => VerifyError::BeginsAgain { path: path.to_owned(), line },
                Fault::Foreign => VerifyError::Foreign { path: path.to_owned(), line },
            })?;
        }
        Ok(())
    }

    fn line(&mut self, text: &[u8], position: Position) -> Result<(), Fault> {
        let beginning = Chain::default();
        let is_beginning = |link: &Link| link.sequence == 1 && link.previous == beginning.previous;
        let (sequence, is_cut_off) = match (serde_json::from_slice::<Link>(text), &self.chain) {
            (Ok(link), None) => {
                self.beginnings.extend(is_beginning(&link).then(|| position.clone()));
                (link.sequence, false)
            }
            (Ok(link), Some(before)) if link.previous == before.previous => {
                // After a line that was cut off, the numbers begin anew.
                let follows = link.sequence == before.sequence + 1 || before.sequence == 0;
                if !follows {
                    return Err(Fault::Broken);
                }
                (link.sequence, false)
            }
            // In a journal there is no last line to go on from: the next start begins anew.
            (Ok(link), Some(_)) if is_beginning(&link) => {
                if !self.is_journal {
                    return Err(Fault::BeginsAgain);
                }
                self.beginnings.push(position.clone());
                self.from = None;
                (link.sequence, false)
            }
            (Ok(_), Some(_)) => return Err(Fault::Broken),
            // Whatever it was, the next line vouches for its bytes.
            (Err(_), _) if is_cut_off(text) => (0, true),
            (Err(_), _) => return Err(Fault::Foreign),
        };
        if !is_cut_off {
            self.first.get_or_insert(sequence);
        }
        self.lines += 1;
        self.cut_off += u64::from(is_cut_off);
        let from = self.from.get_or_insert(position).clone();
        let previous = digest(text);
        if self.wanted_head.as_deref() == Some(&previous) {
            self.kept_head = Some(KeptHead { number: sequence, from });
        }
        self.chain = Some(Chain { sequence, previous });
        Ok(())
    }

    fn done(self, files: usize, gaps: Vec<u32>) -> Result<Verified, VerifyError> {
        let head = self.chain.ok_or(VerifyError::Empty)?.previous;
        if let (Some(head), None) = (self.wanted_head, &self.kept_head) {
            return Err(VerifyError::HeadMissing { head });
        }
        Ok(Verified {
            files,
            lines: self.lines,
            first: self.first.unwrap_or(0),
            beginnings: self.beginnings,
            gaps,
            head,
            kept_head: self.kept_head,
            cut_off: self.cut_off,
        })
    }
}

/// Whether `text` can be what a crash left of a line: any of its bytes from the first on.
fn is_cut_off(text: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"schema\":";
    !text.is_empty() && (text.starts_with(BEGINNING) || BEGINNING.starts_with(text))
}

enum Fault {
    Broken,
    BeginsAgain,
    Foreign,
}
