//! Keeps the shape of the code: modules use only modules of lower layers, a module is a file and a folder, and a file
//! has one purpose.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the daemon, top to bottom. A module may use modules of lower rows, but none of its own row or above.
const DAEMON: &[&[&str]] = &[
    &["lib", "main"],
    &["commands"],
    &["arguments"],
    &["assembly"],
    &["failure"],
    &["config", "dev"],
    &["logging"],
    &["terminal"],
    &["api", "control", "monitoring", "upkeep"],
    &["listener", "services"],
    &["sessions"],
    &["identity", "jwt", "tls"],
    &["store"],
    &["keys"],
    &["secrets"],
    &["outbound", "audit"],
    &["addresses", "platform", "fair_queue"],
];

/// The modules of the CLI, in the same order.
const CLI: &[&[&str]] = &[
    &["lib", "main"],
    &["commands"],
    &["browser_login", "kubeconfig", "trust"],
    &["arguments"],
    &["completion"],
    &["daemon_client", "home", "keyring"],
    &["terminal"],
    &["settings"],
    &["failure"],
    &["platform", "proxy"],
];

const LONGEST_FILE: usize = 400;

#[test]
fn modules_use_only_lower_layers() {
    for (package, ranks) in [("daemon/src", DAEMON), ("cli/src", CLI)] {
        let files = rust_files(package);
        assert!(files.len() > 10, "the files of {package} are not where they were");
        let faults: Vec<String> =
            files.iter().flat_map(|(path, text)| rank_faults(ranks, path, text)).collect();
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

#[test]
fn modules_are_files_with_folders_and_have_one_purpose() {
    for package in ["daemon/src", "cli/src", "shared/src"] {
        let files = rust_files(package);
        assert!(!files.is_empty(), "{package} has no files");
        let faults: Vec<String> = files.iter().flat_map(|(path, text)| shape_faults(path, text)).collect();
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

/// The compiler ignores a file that no `mod` names, so its tests would never run.
#[test]
fn every_test_file_is_part_of_its_program() {
    for folder in ["tests/cli", "tests/daemon", "tests/hostile", "tests/packages"] {
        let files = rust_files(folder);
        let (_, main) =
            files.iter().find(|(path, _)| path == Path::new("main.rs")).expect("the program's first file");
        let forgotten: Vec<&Path> = files
            .iter()
            .map(|(path, _)| path.as_path())
            .filter(|path| *path != Path::new("main.rs"))
            .filter(|path| !main.contains(&format!("\nmod {};", module(path))))
            .collect();
        assert!(files.len() > 5 && forgotten.is_empty(), "{folder}: {forgotten:?}");
    }
}

/// A test can move tokio's clock, but not that of the standard library.
#[test]
fn modules_measure_time_with_the_clock_of_tokio() {
    let measures =
        |text: &str| code(text).lines().any(|it| it.contains("std::time") && it.contains("Instant"));
    let files = rust_files("daemon/src");
    let faults: Vec<&Path> = files
        .iter()
        .filter(|(_, text)| measures(text))
        .map(|(path, _)| path.as_path())
        .filter(|path| !path.ends_with("tests.rs"))
        .collect();
    assert!(measures("use std::time::{Duration, Instant};") && faults.is_empty(), "{faults:?}");
}

/// Another engine would replace nothing else.
#[test]
fn database_library_is_used_by_one_engine_only() {
    let files = rust_files("daemon/src");
    for (library, engine) in [("rusqlite", "store/sqlite"), ("tokio_postgres", "store/postgres")] {
        let (inside, outside): (Vec<_>, Vec<_>) = files
            .iter()
            .filter(|(_, text)| code(text).contains(library))
            .map(|(path, _)| path.as_path())
            .partition(|path| path.starts_with(engine) || *path == Path::new(engine).with_extension("rs"));
        assert!(!inside.is_empty() && outside.is_empty(), "{library}: {outside:?}");
    }
}

/// Everything that differs between systems is in one room of the CLI, so that another system needs one folder more.
#[test]
fn only_platform_module_of_cli_asks_for_the_system() {
    let files = rust_files("cli/src");
    let faults: Vec<&Path> = files
        .iter()
        .filter(|(path, text)| module(path) != "platform" && asks_for_system(text))
        .map(|(path, _)| path.as_path())
        // Chooses the library for the keyring of each system.
        .filter(|path| !is_test(path) && *path != Path::new("keyring.rs"))
        .collect();
    assert!(faults.is_empty(), "{faults:?}: move it to cli/src/platform/");
    for text in [
        "use rustix::fs::access;",
        "std::os::unix::fs::chown(p)",
        "#[cfg(unix)]",
        "cfg!(target_os = \"macos\")",
    ] {
        assert!(asks_for_system(text), "{text}");
    }
    assert!(!asks_for_system("// as rustix:: does\n#[cfg(test)]\nmod tests {\n use std::os::unix::net;"));
}

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.parent().is_some_and(|folder| folder.ends_with("tests"))
}

fn asks_for_system(text: &str) -> bool {
    let code = code(text);
    let is_condition = |line: &str| {
        let line = line.trim_start();
        (line.contains("cfg(") || line.contains("cfg!("))
            && ["unix", "windows", "target_os", "target_family"].iter().any(|system| line.contains(system))
    };
    code.contains("rustix::") || code.contains("std::os::") || code.lines().any(is_condition)
}

#[test]
fn rank_check_finds_use_of_module_above_or_beside() {
    for (path, text) in [
        ("store/sessions.rs", "use crate::sessions::Sessions;"),
        ("store.rs", "fn f() { crate::api::router(); }"),
        ("identity.rs", "use crate::{\n    keys::DoesNotOpen,\n    tls::{LocalAuthority, TlsError},\n};"),
        ("dev.rs", "use crate::config::Config;"),
        ("keys/native.rs", "use super::super::store::Store;"),
        ("keys.rs", "use super::store::Store;"),
        ("platform.rs", "/* x */ pub(in crate::outbound) fn f() {}"),
        ("cellar.rs", "use crate::store::Store;"),
    ] {
        assert_eq!(rank_faults(DAEMON, Path::new(path), text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn rank_check_allows_use_of_module_below_or_own_module() {
    for (path, text) in [
        ("api/logins.rs", "use crate::sessions::{LoginError, Sessions};\nuse super::problem::Problem;"),
        ("commands/serve.rs", "use crate::assembly::Daemon;\nuse crate::commands::Context;"),
        ("keys/native/file.rs", "use super::super::KeyError;\nuse super::Native;"),
        (
            "store.rs",
            "// as crate::api does\nuse my_crate::api;\n#[cfg(test)]\nmod tests { use crate::api; }",
        ),
        ("lib.rs", "use crate::commands::Context;"),
        ("store/tests.rs", "use crate::sessions::Sessions;"),
    ] {
        assert_eq!(rank_faults(DAEMON, Path::new(path), text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn shape_check_finds_violations() {
    let long = format!("//! Long.\n{}", "\n".repeat(LONGEST_FILE));
    for (path, text) in [
        ("store/mod.rs", "//! A file with the wrong name."),
        ("store.rs", "use std::fs;"),
        ("store.rs", "//! The store.\npub mod encryption;"),
        ("store.rs", "//! The store.\n    pub(crate) mod encryption;"),
        ("store.rs", long.as_str()),
    ] {
        assert_eq!(shape_faults(Path::new(path), text).len(), 1, "{path}: {text}");
    }
    assert!(shape_faults(Path::new("lib.rs"), "//! A library.\npub mod store;").is_empty());
    assert!(shape_faults(Path::new("store/tests.rs"), &long).is_empty());
}

/// Returns the violations of the ranks in the file at `path`, relative to the package's `src`.
fn rank_faults(ranks: &[&[&str]], path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let module = module(path);
    if path.ends_with("tests.rs") {
        return Vec::new();
    }
    let Some(own) = rank(ranks, &module) else {
        return vec![format!(
            "{shown}: the module `{module}` has no rank: give it one in tests/daemon/structure.rs"
        )];
    };
    let code = code(text);
    let depth = path.components().count();
    let mut faults = Vec::new();
    for used in modules_used(&code) {
        let allowed = used == module || own == 0 || rank(ranks, &used).is_none_or(|used| own < used);
        if !allowed {
            faults.push(format!("{shown}: `{module}` uses `{used}`, which is not below it"));
        }
    }
    // In `keys.rs` one `super` is the crate, in `keys/native.rs` two are. This would bypass the check of `crate::`
    // paths.
    if own > 0 && code.contains(&"super::".repeat(depth)) {
        faults.push(format!("{shown}: leaves its module by `super`: write `crate::MODULE`"));
    }
    faults
}

/// Returns the violations of the module's shape in the file at `path`.
fn shape_faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // Only fuzzing programs see the file of `fuzzing` as public.
    let is_public_module = |line: &str| {
        let line = line.trim_start();
        line.starts_with("pub")
            && line != "pub(crate) mod fuzzing;"
            && line.split_once(" mod ").is_some_and(|(visibility, _)| !visibility.contains(' '))
    };
    if path.ends_with("mod.rs") {
        faults.push("name the file after its module, not `mod.rs`".to_owned());
    }
    if !text.starts_with("//!") {
        faults.push("the first line says what the file is for: `//! …`".to_owned());
    }
    if path != Path::new("lib.rs") && text.lines().any(is_public_module) {
        faults.push("submodules are private: export their items instead".to_owned());
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE && !path.ends_with("tests.rs") {
        faults.push(format!("{lines} lines tell more than one story"));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", path.display())).collect()
}

fn module(path: &Path) -> String {
    let first = path.components().next().map(|first| PathBuf::from(first.as_os_str())).unwrap_or_default();
    first.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn rank(ranks: &[&[&str]], module: &str) -> Option<usize> {
    ranks.iter().position(|row| row.contains(&module))
}

/// Returns the text without comment lines and without the tests at its end.
fn code(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test, unix))]\nmod tests {"];
    let text = tests.into_iter().fold(text, |text, tests| text.split(tests).next().unwrap_or_default());
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// Returns the names that follow `crate::`, alone or in braces.
fn modules_used(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (index, found) in code.match_indices("crate::") {
        let before = code[..index].chars().next_back();
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_') {
            continue;
        }
        let rest = &code[index + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(first_names(group)),
            None => modules.push(name(rest)),
        }
    }
    modules.sort();
    modules.dedup();
    modules
}

/// Returns the first name of each path in `a, b::{c, d}}…`, up to the brace that closes the group.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut names) = (0_u32, String::new(), Vec::new());
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(name(std::mem::take(&mut item).trim())),
            _ => item.push(character),
        }
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.push(name(item.trim()));
    names.retain(|name| !name.is_empty());
    names
}

fn name(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Returns every Rust file below `folder` of the workspace, with its path from there.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join(folder);
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                files.push((path.strip_prefix(&root).expect("below the root").to_owned(), text));
            }
        }
    }
    files.sort();
    files
}
