//! The limit on open files. Each connection needs one.

use std::io;

/// Raises the soft limit to the hard limit and returns it. `None` means unlimited.
pub fn allow_open_files() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current)
}
