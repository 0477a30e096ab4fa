//! The log in a file: append, rotate when full, reopen after a move.
//!
//! A failure to create a file loses no lines: the new file is created before old files move.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::chain::{Chain, digest};
use super::path_check::find_fault;
use crate::platform::{self, Account, PlatformError};

/// Far more than the longest line.
const LAST_BYTES: u64 = 64 * 1024;

pub(super) struct AuditFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    file: File,
    /// The size that triggers rotation. After a failed rotation, larger than `max_bytes`.
    full_at: u64,
    /// The length before a partial line that could not be removed.
    whole: Option<u64>,
}

impl AuditFile {
    /// Opens or creates the file (0600) and finds the end of its chain, in it or in the last rotated file.
    pub(super) fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<(Self, Chain)> {
        let file = open(path, OpenOptions::new().create(true))?;
        let mut this = Self { path: path.to_owned(), max_bytes, keep, file, full_at: max_bytes, whole: None };
        // A line that a crash cut off stays as it is, and the chain continues from it.
        let chain = match this.end_last_line()? {
            Some(chain) => chain,
            None => last_rotated_chain(path)?,
        };
        Ok((this, chain))
    }

    /// Checks that [`Self::open`] would succeed. Creates and changes nothing.
    pub(super) fn check(path: &Path) -> io::Result<()> {
        let has_lines = match open(path, &mut OpenOptions::new()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                platform::check_file_place(path).map_err(|error| match error {
                    PlatformError::Io { source, .. } => source,
                    other => io::Error::other(other),
                })?;
                false
            }
            opened => last_line(&mut opened?)?.is_some(),
        };
        if has_lines { Ok(()) } else { last_rotated_chain(path).map(drop) }
    }

    /// Ends the file with a complete line. If a partial line remains, returns the chain that continues from it.
    pub(super) fn repair(&mut self) -> io::Result<Option<Chain>> {
        let Some(length) = self.whole else { return Ok(None) };
        let chain = if self.file.set_len(length).is_ok() { None } else { self.end_last_line()? };
        self.whole = None;
        Ok(chain)
    }

    /// Appends a line. Call [`repair`](Self::repair) before.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let mut metadata = self.file.metadata()?;
        if metadata.nlink() == 0 {
            // The file was deleted, so its lines would be lost.
            self.reopen()?;
            metadata = self.file.metadata()?;
        }
        let mut size = metadata.len();
        let length = line.len() as u64;
        if size > 0 && size + length > self.full_at {
            match self.rotate() {
                Ok(()) => (self.full_at, size) = (self.max_bytes, 0),
                Err(error) => {
                    // Retry the rotation only after some more lines.
                    self.full_at = size + length + self.max_bytes / 16;
                    tracing::error!(%error, "cannot rotate the full audit log: still writing to the same file");
                }
            }
        }
        // A single write, so that readers see complete lines except after a crash.
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // A full disk may leave a partial line. If it cannot be removed, the next write repairs it.
            if self.file.set_len(size).is_err() {
                self.whole = Some(size);
            }
            return Err(error);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn set_incomplete(&mut self, whole: u64) {
        self.whole = Some(whole);
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(fault) = find_fault(&self.path, &Account::of_this_process()) {
            return Err(io::Error::other(fault));
        }
        self.file = open(&self.path, OpenOptions::new().create(true))?;
        (self.full_at, self.whole) = (self.max_bytes, None);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let next = with_suffix(&self.path, "new");
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = open(&next, OpenOptions::new().create_new(true))?;
        if let Err(error) = self.shift_rotated().and_then(|()| std::fs::rename(&next, &self.path)) {
            // The file is empty, and the next rotation removes it too.
            let _ = std::fs::remove_file(&next);
            return Err(error);
        }
        self.file = file;
        Ok(())
    }

    /// Frees the first rotated name and moves the file there.
    fn shift_rotated(&self) -> io::Result<()> {
        // Delete files above a lowered `keep`, the oldest first, so that an interruption leaves no gap.
        for number in rotated_numbers(&self.path)?.into_iter().rev().filter(|number| *number > self.keep) {
            std::fs::remove_file(rotated_path(&self.path, number))?;
        }
        if self.keep == 0 {
            return Ok(());
        }
        // Shift only up to the first gap, so that no file beyond it moves or is deleted.
        let free =
            (1..self.keep).find(|number| !rotated_path(&self.path, *number).exists()).unwrap_or(self.keep);
        for number in (1..free).rev() {
            rename_if_there(&rotated_path(&self.path, number), &rotated_path(&self.path, number + 1))?;
        }
        rename_if_there(&self.path, &rotated_path(&self.path, 1))
    }

    /// Completes the last line with a line feed and returns the chain from there.
    fn end_last_line(&mut self) -> io::Result<Option<Chain>> {
        let Some(last) = last_line(&mut self.file)? else { return Ok(None) };
        if !last.is_whole {
            self.file.write_all(b"\n")?;
        }
        Ok(Some(last.chain()))
    }
}

/// The end of the chain in the last rotated file.
fn last_rotated_chain(path: &Path) -> io::Result<Chain> {
    match File::open(rotated_path(path, 1)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Chain::default()),
        older => Ok(last_line(&mut older?)?.map(|last| last.chain()).unwrap_or_default()),
    }
}

/// `audit.jsonl.1` is the last rotated file.
pub(super) fn rotated_path(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, number)
}

/// The numbers of the rotated files in ascending order, possibly with gaps.
pub(super) fn rotated_numbers(path: &Path) -> io::Result<Vec<u32>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?.file_name();
        let number = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
        // Accept only names as written here: `.01` belongs to another program.
        let number =
            number.and_then(|text| text.parse::<u32>().ok().filter(|number| number.to_string() == text));
        numbers.extend(number.filter(|number| *number > 0));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn with_suffix(path: &Path, suffix: impl std::fmt::Display) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = how.read(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
    // A pipe with a stalled reader would lose lines or block every login.
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct LastLine {
    text: Vec<u8>,
    is_whole: bool,
}

impl LastLine {
    fn chain(&self) -> Chain {
        let sequence = serde_json::from_slice::<serde_json::Value>(&self.text)
            .ok()
            .and_then(|line| line.get("sequence").and_then(serde_json::Value::as_u64));
        // A partial line has no readable sequence number. The verification derives it from the line before.
        Chain { sequence: sequence.unwrap_or_default(), previous: digest(&self.text) }
    }
}

fn last_line(file: &mut File) -> io::Result<Option<LastLine>> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LAST_BYTES)))?;
    let mut end = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut end)?;
    let is_whole = end.pop_if(|byte| *byte == b'\n').is_some();
    if end.is_empty() {
        return Ok(None);
    }
    let text = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
    Ok(Some(LastLine { text, is_whole }))
}
