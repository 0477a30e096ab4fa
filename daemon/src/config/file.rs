//! Reads the text of the configuration file, with a size limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::ConfigError;

/// Larger than any configuration. Stops a device or a log that was named by mistake.
const LIMIT: u64 = 1024 * 1024;

const EXAMPLE: &str = "\
version: 1
providers:
  - name: okta
    kind: okta
    issuer: https://example.okta.com
    clientID: 0oa1b2c3
    clientSecret: env:OKTA_CLIENT_SECRET
";

/// Reads the text. It may contain `plaintext:` secrets, so it is zeroized after use.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = read_bounded(path, LIMIT).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => ConfigError::TooLarge { path: path.to_owned(), limit: LIMIT },
        _ => unreadable(error),
    })?;
    let Ok(text) = str::from_utf8(&bytes) else {
        return Err(ConfigError::NotText { path: path.to_owned() });
    };
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---")
    {
        return Err(ConfigError::Empty { path: path.to_owned(), example: EXAMPLE });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads the whole file. Fails if it has more than `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the file is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, ConfigError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("infrad.yaml");
        std::fs::write(&path, bytes).expect("a file");
        read(&path).map(|text| text.to_string())
    }

    #[test]
    fn file_is_read() {
        assert_eq!(read_bytes(b"version: 1\n").expect("text"), "version: 1\n");
    }

    #[test]
    fn empty_file_error_contains_an_example() {
        for text in ["", "\n \n", "# only a comment\n---\n"] {
            let error = read_bytes(text.as_bytes()).expect_err("an empty file");
            assert!(error.to_string().contains("clientSecret: env:OKTA_CLIENT_SECRET"), "{text:?}: {error}");
        }
    }

    #[test]
    fn missing_huge_or_binary_file_is_rejected() {
        let missing = read(Path::new("/nonexistent/infrad.yaml")).expect_err("no file");
        assert!(matches!(missing, ConfigError::Unreadable { .. }));
        assert!(missing.to_string().contains("/nonexistent/infrad.yaml"));
        let huge = vec![b'#'; 1024 * 1024 + 1];
        assert!(matches!(read_bytes(&huge), Err(ConfigError::TooLarge { .. })));
        assert!(matches!(read_bytes(b"version: \xff"), Err(ConfigError::NotText { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn endless_file_is_rejected() {
        assert!(matches!(read(Path::new("/dev/zero")), Err(ConfigError::TooLarge { .. })));
    }
}
