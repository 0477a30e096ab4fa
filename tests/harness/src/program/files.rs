//! Lists files with modes.

use std::fmt::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Lists everything below `directory`, itself included: kind, mode and name, one per line, sorted. Empty if
/// it does not exist.
pub fn files_with_modes(directory: &Path) -> String {
    let mut lines = Vec::new();
    describe(directory, ".", &mut lines);
    lines.sort_by(|(left, _), (right, _)| left.cmp(right));
    lines.into_iter().fold(String::new(), |mut text, (_, line)| {
        let _ = writeln!(text, "{line}");
        text
    })
}

fn describe(path: &Path, name: &str, lines: &mut Vec<(String, String)>) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    let kind = match metadata {
        ref metadata if metadata.is_symlink() => "link",
        ref metadata if metadata.is_dir() => "directory",
        ref metadata if metadata.nlink() > 1 => "hard link",
        _ => "file",
    };
    let mode = metadata.permissions().mode() & 0o7777;
    lines.push((name.to_owned(), format!("{mode:04o} {kind} {name}")));
    if metadata.is_dir() {
        for entry in path.read_dir().into_iter().flatten().flatten() {
            let child = entry.file_name().to_string_lossy().into_owned();
            let child = if name == "." { child } else { format!("{name}/{child}") };
            describe(&entry.path(), &child, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_shows_modes_and_kinds() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
        std::fs::write(directory.path().join("b"), "").expect("a file");
        std::fs::set_permissions(directory.path().join("b"), std::fs::Permissions::from_mode(0o640))
            .expect("chmod");
        std::os::unix::fs::symlink("b", directory.path().join("a")).expect("a link");

        assert_eq!(files_with_modes(directory.path()), "0700 directory .\n0777 link a\n0640 file b\n");
        assert_eq!(files_with_modes(&directory.path().join("none")), "");
    }
}
