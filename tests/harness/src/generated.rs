//! Files generated from the argument definitions. Tests compare them with the repository, or write them with
//! `UPDATE=1`.

mod manual;
mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use clap::{Command, ValueEnum};
use infra_shared::completion::{Program, Shell};
use tempfile::TempDir;

use crate::peers;

/// File contents by name.
pub type Files = BTreeMap<String, String>;

/// The completion scripts of a program, one per shell, with the names that packages install.
pub fn completions(program: &Program) -> Files {
    let file = |shell| match shell {
        Shell::Bash => format!("{}.bash", program.name),
        Shell::Elvish => format!("{}.elv", program.name),
        Shell::Fish => format!("{}.fish", program.name),
        Shell::Nushell => format!("{}.nu", program.name),
        Shell::PowerShell => format!("_{}.ps1", program.name),
        Shell::Zsh => format!("_{}", program.name),
    };
    Shell::value_variants().iter().map(|shell| (file(*shell), program.script(*shell))).collect()
}

/// The manual pages of a program, one per command.
pub fn manual_pages(program: &Command, section: &str) -> Files {
    manual::pages(program, section)
}

/// The command reference of a program in Markdown.
pub fn reference(program: &Command) -> String {
    reference::page(program)
}

/// Fails the test unless the file of the repository has these contents. Writes it with `UPDATE=1`.
#[track_caller]
pub fn compare_file(path: &str, contents: &str) {
    let file = repository().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, contents).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let is_current = fs::read_to_string(&file).is_ok_and(|found| found == contents);
    assert!(is_current, "{path} is stale: `UPDATE=1` rewrites it");
}

/// Fails the test unless `folder` contains exactly these files of `program`. Writes them with `UPDATE=1`.
#[track_caller]
pub fn compare(folder: &str, program: &str, files: &Files) {
    let folder = repository().join(folder);
    let is_of_program = |name: &str| name.trim_start_matches('_').split(['-', '.']).next() == Some(program);
    let there: Vec<String> = names(&folder).into_iter().filter(|name| is_of_program(name)).collect();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for name in there.iter().filter(|name| !files.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for (name, contents) in files {
            fs::write(folder.join(name), contents).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        return;
    }
    let stale: Vec<&String> = files
        .iter()
        .filter(|(name, contents)| fs::read_to_string(folder.join(name)).ok().as_ref() != Some(contents))
        .map(|(name, _)| name)
        .chain(there.iter().filter(|name| !files.contains_key(*name)))
        .collect();
    assert!(
        stale.is_empty(),
        "in {}, {stale:?} are not what the arguments are: `UPDATE=1` rewrites them",
        folder.display()
    );
}

/// Fails the test if a manual page reader reports a warning about one of these.
#[track_caller]
pub fn lint(pages: &Files) {
    let (Some(mandoc), Some(groff)) = (peers::find_program("mandoc"), peers::find_program("groff")) else {
        return;
    };
    let folder = TempDir::with_prefix("infra-man-").expect("a temporary directory");
    for (name, contents) in pages {
        let page = folder.path().join(name);
        fs::write(&page, contents).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (program, arguments) in
            [(&mandoc, &["-T", "lint", "-W", "warning"][..]), (&groff, &["-man", "-ww", "-z", "-Tutf8"])]
        {
            let ran =
                process::Command::new(program).args(arguments).arg(&page).env("LC_ALL", "C.UTF-8").output();
            let ran = ran.expect("it starts");
            let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            assert!(said.is_empty() && ran.status.success(), "{} {name}: {said}", program.display());
        }
    }
}

/// The files of a folder of the repository.
pub fn files_of(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join(folder);
    names(&folder).into_iter().map(|name| folder.join(name)).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
