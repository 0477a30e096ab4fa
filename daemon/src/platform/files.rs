//! How many files the process may have open. Each connection is one.

use std::io;

/// Raises the soft limit to the hard one; how many that is, `None` for any number.
pub fn allow_open_files() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current)
}
