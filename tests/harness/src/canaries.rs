//! Searches for leaked secrets in files, texts, arguments, environments and process memory.

use std::fmt::Write;
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem;

/// Above the size of any mapping of a program under test.
const MAX_MAPPING: u64 = 1024 * 1024 * 1024;

/// Named secrets, each in every encoding in which it could leak.
#[derive(Debug, Default)]
pub struct Canaries {
    forms: Vec<(String, Vec<u8>)>,
}

impl Canaries {
    /// Adds a secret: raw, in hexadecimal, in both Base64 alphabets and percent-encoded.
    pub fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= 12, "{name} is so short that it is found by chance");
        let hex = hex(secret);
        // The last character of Base64 without padding depends on the bytes that follow.
        let base64 = |engine: &base64::engine::GeneralPurpose| {
            let text = engine.encode(secret);
            text.get(..text.len() - 2).unwrap_or_default().to_owned()
        };
        let url: String = url::form_urlencoded::byte_serialize(secret).collect();
        let forms = [
            secret.to_vec(),
            hex.clone().into_bytes(),
            hex.to_uppercase().into_bytes(),
            base64(&BASE64_STANDARD_NO_PAD).into_bytes(),
            base64(&BASE64_URL_SAFE_NO_PAD).into_bytes(),
            url.into_bytes(),
        ];
        for form in forms {
            if !self.forms.iter().any(|(_, known)| *known == form) {
                self.forms.push((name.to_owned(), form));
            }
        }
    }

    /// Returns the names of the secrets in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Vec<String> {
        let found = self.forms.iter().filter(|(_, form)| memmem::find(bytes, form).is_some());
        let mut names: Vec<String> = found.map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }

    /// Returns the secrets in files below `directory`, except in the files named in `besides`, as `PATH:
    /// NAME`.
    pub fn find_in_files(&self, directory: &Path, besides: &[&Path]) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if besides.contains(&path.as_path()) {
                continue;
            }
            let kind = entry.file_type().expect("a file has a kind");
            if kind.is_dir() {
                found.extend(self.find_in_files(&path, besides));
            } else if kind.is_file() {
                let bytes = match fs::read(&path) {
                    // A running program may remove its temporary files.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    bytes => bytes.expect("a file"),
                };
                let names = self.find(&bytes);
                found.extend(names.into_iter().map(|name| format!("{}: {name}", path.display())));
            }
        }
        found
    }

    /// Returns the secrets in the arguments or environment of the processes that this test started, and of those that these
    /// started. Other tests have the same secrets, and some put them into environments.
    pub fn find_in_processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in descendants(std::process::id()) {
            for what in ["cmdline", "environ"] {
                let path = format!("/proc/{process}/{what}");
                // The process may have exited, or belong to another user.
                let Ok(bytes) = fs::read(&path) else { continue };
                found.extend(self.find(&bytes).into_iter().map(|name| format!("{path}: {name}")));
            }
        }
        found
    }

    /// Returns the secrets in the memory of a process. `None` if this user may not read it.
    pub fn find_in_memory(&self, process: u32) -> Option<Vec<String>> {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
        let mut memory = fs::File::open(format!("/proc/{process}/mem")).ok()?;
        let mut found = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (range, access) = (words.next()?, words.next()?);
            let place = words.next_back().unwrap_or_default();
            if !access.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            let mut bytes = Vec::new();
            memory.seek(SeekFrom::Start(start)).ok()?;
            // Unreadable mappings, such as a device's, hold no data of ours.
            let _ = (&mut memory).take((end - start).min(MAX_MAPPING)).read_to_end(&mut bytes);
            found.extend(self.find(&bytes).into_iter().map(|name| format!("{name} in {place} ({range})")));
        }
        Some(found)
    }
}

/// Returns this process and its descendants.
fn descendants(process: u32) -> Vec<u32> {
    let running = fs::read_dir("/proc").expect("Linux").flatten();
    let running = running.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = running.filter_map(|process| Some((process, parent(process)?))).collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(process, _)| *process));
        next += 1;
    }
    found
}

/// Returns the parent of a process, unless the process has exited.
fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const SECRET: &str = "canary+of/the harness";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        canaries.add("secret", SECRET);
        canaries
    }

    #[test]
    fn secret_is_found_in_every_encoding() {
        let hex = hex(SECRET.as_bytes()).to_uppercase();
        let url: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for form in [SECRET.to_owned(), hex, url, BASE64_STANDARD_NO_PAD.encode(SECRET)] {
            assert_eq!(canaries().find(format!("before {form} after").as_bytes()), ["secret"], "{form}");
        }
        assert_eq!(canaries().find(b"canary of another harness"), Vec::<String>::new());
    }

    #[test]
    fn secret_is_found_in_files_except_excluded_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("below").join("file");
        fs::create_dir(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, format!("x{SECRET}x")).expect("a file");
        assert_eq!(canaries().find_in_files(directory.path(), &[]).len(), 1);
        assert_eq!(canaries().find_in_files(directory.path(), &[&path]), Vec::<String>::new());
    }

    #[test]
    fn secret_is_found_in_process_arguments_environment_and_memory() {
        let mut child = Command::new("cat")
            .arg("-")
            .env("INFRA_TEST_CANARY", "canary of an environment")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("cat");
        let mut canaries = Canaries::default();
        canaries.add("environment", "canary of an environment");
        let place = format!("/proc/{}/environ: environment", child.id());
        // A new process gets its environment a moment after it starts.
        let found = crate::wait::until(std::time::Duration::from_secs(30), || {
            canaries.find_in_processes().contains(&place).then_some(())
        });
        let in_memory = canaries.find_in_memory(child.id());
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert!(found.is_some(), "not found in the environment");
        assert!(in_memory.is_some_and(|found| !found.is_empty()), "not found in the memory");
    }
}
