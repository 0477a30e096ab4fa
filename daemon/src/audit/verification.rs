//! Verifies that a log is an unbroken chain: each line has the hash of the line before. No line contains the hash of
//! the last one, the head. Only a head kept elsewhere detects a changed last line or a truncated log.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Chain, digest};
use super::file::{rotated_numbers, rotated_path};

/// A log that is an unbroken chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub files: usize,
    pub lines: u64,
    /// The number of the first existing line. Above 1 if older files were deleted.
    pub first: u64,
    /// Starts of chains: at each start of the daemon in a journal, once in a file. A chain does not cover earlier
    /// lines. Empty if the start was deleted.
    pub beginnings: Vec<Position>,
    /// Numbers missing among the rotated files although later ones exist.
    pub gaps: Vec<u32>,
    /// The hash of the last line. Keep it elsewhere to detect changes to the log up to here.
    pub head: String,
    /// The line that has the requested head.
    pub kept_head: Option<KeptHead>,
    /// Lines that a crash cut off.
    pub cut_off: u64,
    /// Events that could not be written, as the lines after them say.
    pub missing_events: u64,
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
    /// The number of the line with this head.
    pub number: u64,
    /// The first line that it covers: the start of its chain, or the first remaining line.
    pub from: Position,
}

/// Why a log is not an unbroken chain.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: the hash does not match the line before: that line was changed, or lines were removed \
         or inserted between them"
    )]
    Broken { path: PathBuf, line: u64 },
    #[error(
        "no line has the head {head}: its line was changed or removed, or an earlier line was changed and all later \
         lines were rewritten"
    )]
    HeadMissing { head: String },
    #[error(
        "{path}, line {line}: another chain starts here, so the lines from here on do not prove the lines before"
    )]
    ChainRestarts { path: PathBuf, line: u64 },
    #[error("{path}, line {line}: this is not a line of an audit log")]
    Foreign { path: PathBuf, line: u64 },
    #[error("it has no lines")]
    Empty,
}

#[derive(Deserialize)]
struct Link {
    sequence: u64,
    #[serde(rename = "previousHash")]
    previous: String,
    #[serde(default)]
    event: String,
    /// Of `events_missing`.
    #[serde(default)]
    count: u64,
}

/// How often to retry if files were rotated while they were opened.
const TRIES: usize = 16;

/// Verifies the log at `path` and its rotated files from the oldest existing line. In an exported journal
/// (`is_journal`), each start of the daemon begins a chain.
pub fn verify(path: &Path, kept_head: Option<&str>, is_journal: bool) -> Result<Verified, VerifyError> {
    let unreadable = |source| VerifyError::Unreadable { path: path.to_owned(), source };
    let mut tries = 0;
    let opened = loop {
        tries += 1;
        // Open files stay the same if they are renamed.
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
    let numbers = rotated_numbers(path).map_err(unreadable)?;
    let gaps = (1..numbers.last().copied().unwrap_or(1)).filter(|number| !numbers.contains(number)).collect();
    verification.done(opened.len(), gaps)
}

/// Returns the files of the log, the oldest first and the current one last.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let older = rotated_numbers(path)?.into_iter().rev().map(|number| rotated_path(path, number));
    Ok(older.chain([path.to_owned()]).collect())
}

fn open_all(path: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    files(path)?.into_iter().map(|path| File::open(&path).map(|file| (path, file))).collect()
}

/// Returns the files of the log with their inodes.
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
    /// The first line of the current chain.
    from: Option<Position>,
    beginnings: Vec<Position>,
    lines: u64,
    cut_off: u64,
    missing_events: u64,
}

impl Verification {
    fn file(&mut self, path: &Path, file: &File) -> Result<(), VerifyError> {
        let unreadable = |source| VerifyError::Unreadable { path: path.to_owned(), source };
        for (line, text) in (1..).zip(BufReader::new(file).split(b'\n')) {
            let text = text.map_err(unreadable)?;
            let position = Position { path: path.to_owned(), line };
            self.line(&text, position).map_err(|fault| match fault {
                Fault::Broken => VerifyError::Broken { path: path.to_owned(), line },
                Fault::ChainRestarts => VerifyError::ChainRestarts { path: path.to_owned(), line },
                Fault::Foreign => VerifyError::Foreign { path: path.to_owned(), line },
            })?;
        }
        Ok(())
    }

    fn line(&mut self, text: &[u8], position: Position) -> Result<(), Fault> {
        let beginning = Chain::default();
        let is_beginning = |link: &Link| link.sequence == 1 && link.previous == beginning.previous;
        let link = serde_json::from_slice::<Link>(text);
        let missing =
            link.as_ref().ok().filter(|link| link.event == "events_missing").map_or(0, |link| link.count);
        self.missing_events = self.missing_events.saturating_add(missing);
        let (sequence, is_cut_off) = match (link, &self.chain) {
            (Ok(link), None) => {
                self.beginnings.extend(is_beginning(&link).then(|| position.clone()));
                (link.sequence, false)
            }
            (Ok(link), Some(before)) if link.previous == before.previous => {
                // After a partial line, the numbers restart.
                let follows = link.sequence == before.sequence + 1 || before.sequence == 0;
                if !follows {
                    return Err(Fault::Broken);
                }
                (link.sequence, false)
            }
            // A journal has no last line to continue, so each start of the daemon begins a chain.
            (Ok(link), Some(_)) if is_beginning(&link) => {
                if !self.is_journal {
                    return Err(Fault::ChainRestarts);
                }
                self.beginnings.push(position.clone());
                self.from = None;
                (link.sequence, false)
            }
            (Ok(_), Some(_)) => return Err(Fault::Broken),
            // The hash in the next line covers the bytes of a partial line.
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
            missing_events: self.missing_events,
        })
    }
}

/// Whether a crash could have left `text`: the beginning of a line.
fn is_cut_off(text: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"schema\":";
    !text.is_empty() && (text.starts_with(BEGINNING) || BEGINNING.starts_with(text))
}

enum Fault {
    Broken,
    ChainRestarts,
    Foreign,
}
