//! Copies directories of a daemon, such as backups.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Copies the files in `from`, but no folders, to `to`, which only this user may read.
pub fn copy_files(from: &Path, to: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        if entry.file_type().expect("a kind").is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}
