//! The log in a file: appended to, set aside when it is full, opened anew when it was moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::chain::{Chain, digest};

/// The longest line is far shorter.
const LAST_BYTES: u64 = 64 * 1024;

pub(super) struct AuditFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    file: File,
    size: u64,
}

impl AuditFile {
    /// Opens or creates the file (0600), and finds where its chain ended: in it, or in the one that was set aside last.
    pub(super) fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<(Self, Chain)> {
        let (file, size) = open(path)?;
        let mut this = Self { path: path.to_owned(), max_bytes, keep, file, size };
        let chain = match last_line(path)? {
            Some(last) => {
                if !last.is_whole {
                    // A line that a crash cut off stays as it is, and the chain goes on from it.
                    this.file.write_all(b"\n")?;
                    this.size += 1;
                }
                last.chain()
            }
            None => last_line(&aside(path, 1))?.map(|last| last.chain()).unwrap_or_default(),
        };
        Ok((this, chain))
    }

    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.max_bytes {
            self.set_aside()?;
        }
        // One call: a reader never sees half a line, but for a crash.
        self.file.write_all(line.as_bytes())?;
        self.size += length;
        Ok(())
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        for number in (1..self.keep).rev() {
            rename_if_there(&aside(&self.path, number), &aside(&self.path, number + 1))?;
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            rename_if_there(&self.path, &aside(&self.path, 1))?;
        }
        self.reopen()
    }
}

/// `audit.jsonl.1` is the one that was set aside last.
pub(super) fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
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
        // Of a line that was cut off only the verification can say which number it had: one more than the one before.
        Chain { sequence: sequence.unwrap_or_default(), previous: digest(&self.text) }
    }
}

fn last_line(path: &Path) -> io::Result<Option<LastLine>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
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
