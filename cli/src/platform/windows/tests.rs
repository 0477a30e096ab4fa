//! Access lists, links, locks and replaced files, on real directories.
//!
//! Most run under Wine too. `cargo test -- --include-ignored` on Windows runs the others.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use tempfile::TempDir;
use windows_sys::Win32::Networking::WinSock::{WSAEACCES, WSAEADDRINUSE};
use windows_sys::Win32::Storage::FileSystem::FILE_SHARE_READ;

use super::descriptor::{Descriptor, apply, own_sid};
use super::{
    check_writable, create_new, create_private_directory, file_url, find_program, host_name, is_link,
    open_lock, open_to_others, open_without_waiting, other_owner, replace, reserved_ports_hint,
    temporary_beside, tighten, try_lock, uptime, writable_by_others,
};
use crate::home::{Home, HomeError, Server, TrustRecord};
use crate::terminal::Terminal;

const TERMINAL: Terminal =
    Terminal { interactive: false, is_terminal_output: false, quiet: true, verbose: 0 };

/// Spaces, and letters outside Latin and outside the code page of any console.
const NAME: &str = "Зоя Ünal 日本 😀";

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A list that adds these entries to this user's own.
fn list(entries: &str) -> String {
    format!("D:P(A;OICI;FA;;;{}){entries}", own_sid().expect("a user"))
}

fn file(path: &Path) -> File {
    fs::write(path, "text").expect("a file");
    File::open(path).expect("our file")
}

/// Who else has access, as a message says it.
fn others(path: &Path) -> Option<String> {
    open_to_others(path, &path.metadata().expect("it exists")).expect("its list").map(|open| open.to_string())
}

fn may_write(path: &Path) -> Option<String> {
    writable_by_others(path, &path.metadata().expect("it exists"))
        .expect("its list")
        .map(|open| open.to_string())
}

#[test]
fn created_directory_and_its_files_are_private() {
    let parent = directory();
    let path = parent.path().join(NAME).join("infra");
    create_private_directory(&path).expect("created");
    create_private_directory(&path).expect("it exists already");
    assert_eq!((others(&path), may_write(&path)), (None, None));
    assert_eq!(other_owner(&path, &path.metadata().expect("it exists")).expect("its owner"), None);

    let target = path.join(NAME);
    let mut temporary = temporary_beside(&path, ".new-").expect("a file");
    assert_eq!(others(temporary.path()), None);
    temporary.write_all(b"text").expect("written");
    replace(temporary, &target).expect("renamed");
    assert_eq!(others(&target), None);
    assert_eq!(fs::read(&target).expect("our file"), b"text");
    assert_eq!(fs::read_dir(&path).expect("our directory").count(), 1);
}

/// As a directory at `D:\`, which every user of the machine may read and write to.
#[test]
fn list_of_the_directory_above_is_not_inherited() {
    let parent = directory();
    apply(parent.path(), &list("(A;OICI;0x1301bf;;;AU)(A;OICI;FR;;;BU)")).expect("applied");
    let path = parent.path().join("infra");
    create_private_directory(&path).expect("created");
    assert_eq!((others(&path), may_write(&path)), (None, None));
}

#[test]
fn file_that_others_can_read_is_tightened() {
    let parent = directory();
    let path = parent.path().join("sessions.json");
    let opened = file(&path);
    apply(&path, &list("(A;;FR;;;WD)")).expect("applied");
    let open = others(&path).expect("everyone has access");
    assert!(open.starts_with("access for ") && !open.contains("S-1-"), "not by name: {open}");
    assert_eq!(may_write(&path), None);
    assert!(tighten(&path, &opened));
    assert_eq!(others(&path), None);
}

#[test]
#[ignore = "Wine keeps no single rights"]
fn each_right_to_change_a_directory_counts_as_writing() {
    let parent = directory();
    // Add a file, add a directory, delete what is in it, delete it, change its list or owner, and all of them.
    for right in ["0x2", "0x4", "0x40", "SD", "WD", "WO", "FW", "FA", "GW", "GA"] {
        apply(parent.path(), &list(&format!("(A;OICI;{right};;;WD)"))).expect("applied");
        assert!(may_write(parent.path()).is_some(), "{right}");
    }
    for right in ["FR", "0x1", "GR", "GX"] {
        apply(parent.path(), &list(&format!("(A;OICI;{right};;;WD)"))).expect("applied");
        assert_eq!(may_write(parent.path()), None, "{right}");
    }
    // The system, administrators, and what only entries inside inherit.
    apply(parent.path(), &list("(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICIIO;FA;;;WD)")).expect("applied");
    assert_eq!(may_write(parent.path()), None);
}

#[test]
#[ignore = "Wine invents a list where there is none"]
fn missing_list_admits_everyone() {
    let parent = directory();
    let path = parent.path().join("file");
    let opened = file(&path);
    apply(&path, "D:NO_ACCESS_CONTROL").expect("applied");
    assert!(others(&path).is_some() && !Descriptor::of(&path).expect("a descriptor").has_list());
    assert!(tighten(&path, &opened) && others(&path).is_none());
}

#[test]
fn home_that_others_can_write_to_is_refused_unchanged() {
    let parent = directory();
    apply(parent.path(), &list("(A;OICI;FA;;;WD)")).expect("applied");
    let home = Home::new(parent.path().to_owned(), TERMINAL);
    for refused in [home.read().map(drop), home.update(|_| ()).map(drop)] {
        assert!(matches!(refused, Err(HomeError::WritableByOthers { .. })), "{refused:?}");
    }
    assert!(may_write(parent.path()).is_some());
    assert_eq!(fs::read_dir(parent.path()).expect("a directory").count(), 0);
}

#[test]
fn home_with_any_name_stores_state() {
    let parent = directory();
    let home = Home::new(parent.path().join(NAME).join("in fra"), TERMINAL);
    let origin: Origin = "a.test".parse().expect("an origin");
    let trust = TrustRecord::Pinned { pin: Pin::of_public_key(b"a") };
    let server =
        Server { trust, provider: None, keyring: false, ca_rollover: None, previous_trust: Vec::new() };
    home.update(|state| state.config.servers.insert(origin.clone(), server)).expect("stored");
    assert!(home.read().expect("a state").config.servers.contains_key(&origin));
    let inspection = home.inspect();
    assert!(inspection.problems.is_empty(), "{:?}", inspection.problems);
}

#[test]
#[ignore = "Wine asks the list only where Linux has a mode for it"]
fn read_only_profile_is_reported_and_nothing_is_created() {
    let parent = directory();
    apply(parent.path(), &format!("D:P(A;OICI;GRGX;;;{})", own_sid().expect("a user"))).expect("applied");
    let denied =
        |result: io::Result<()>| result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    assert!(denied(check_writable(parent.path())));
    assert!(denied(create_private_directory(&parent.path().join("infra"))));
    let home = Home::new(parent.path().join("infra"), TERMINAL);
    assert!(matches!(home.update(|_| ()), Err(HomeError::Io { .. })));
    apply(parent.path(), &list("")).expect("the owner may always");
    assert_eq!(fs::read_dir(parent.path()).expect("a directory").count(), 0);
}

#[test]
fn locked_file_excludes_another_lock_and_stays_readable() {
    let parent = directory();
    let path = parent.path().join("login.lock");
    let mut first = open_lock(&path).expect("created");
    try_lock(&first).expect("a free lock");
    first.write_all(b"https://okta.test\n").expect("written");
    let mut second = open_lock(&path).expect("it exists");
    assert!(matches!(try_lock(&second), Err(TryLockError::WouldBlock)));
    let mut text = String::new();
    second.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "https://okta.test\n");
    drop(first);
    try_lock(&second).expect("it was released");
}

#[test]
#[ignore = "Wine replaces no open file"]
fn file_is_replaced_while_another_program_reads_it() {
    let parent = directory();
    let path = parent.path().join("sessions.json");
    let mut reader = file(&path);
    let mut temporary = temporary_beside(parent.path(), ".new-").expect("a file");
    temporary.write_all(b"new").expect("written");
    replace(temporary, &path).expect("replaced");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("the old file");
    assert_eq!(
        (text.as_str(), fs::read(&path).expect("the new file").as_slice()),
        ("text", b"new".as_slice())
    );
}

/// As a virus scanner opens it.
#[test]
fn file_held_by_another_program_is_replaced_once_it_is_free() {
    let parent = directory();
    let path = parent.path().join("sessions.json");
    drop(file(&path));
    let held = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ).open(&path).expect("our file");
    let temporary = || temporary_beside(parent.path(), ".new-").expect("a file");
    replace(temporary(), &path).expect_err("it is in use for longer than a scan takes");
    assert_eq!(fs::read(&path).expect("the old file"), b"text");
    assert_eq!(fs::read_dir(parent.path()).expect("a directory").count(), 1, "the new one is removed");
    drop(held);
    replace(temporary(), &path).expect("replaced");
    assert_eq!(fs::read(&path).expect("the new file"), b"");
}

#[test]
fn existing_file_is_never_created_anew() {
    let parent = directory();
    let path = parent.path().join("lock.held");
    create_new(&path).expect("created");
    assert_eq!(create_new(&path).expect_err("it exists").kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn directory_opens_for_the_caller_to_refuse() {
    let parent = directory();
    let opened = open_without_waiting(parent.path()).expect("opened");
    assert!(opened.metadata().expect("a directory").is_dir());
}

/// `mklink`, of the shell: `/J` makes a junction, which needs no privilege.
fn make_link(kind: &[&str], link: &Path, target: &Path) {
    let status = Command::new("cmd").args(["/c", "mklink"]).args(kind).arg(link).arg(target).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot create a link");
}

#[test]
#[ignore = "Wine creates no links"]
fn junctions_and_links_are_refused() {
    let (parent, elsewhere) = (directory(), directory());
    let target = elsewhere.path().join("target");
    fs::write(&target, "keep").expect("a file");
    let (junction, link) = (parent.path().join("junction"), parent.path().join("link"));
    make_link(&["/J"], &junction, elsewhere.path());
    // Needs the developer mode, or an administrator.
    make_link(&[], &link, &target);
    for path in [&junction, &link] {
        assert!(open_without_waiting(path).is_err_and(|error| is_link(&error)), "{}", path.display());
    }
    assert!(open_lock(&link).is_err_and(|error| is_link(&error)));
    let home = Home::new(junction, TERMINAL);
    assert!(matches!(home.update(|_| ()), Err(HomeError::Link { .. })));
    assert_eq!(fs::read_dir(elsewhere.path()).expect("a directory").count(), 1);
    assert_eq!(fs::read(&target).expect("a file"), b"keep");
}

#[test]
#[ignore = "Wine has no shares of its own"]
fn directory_on_a_shared_drive_is_private() {
    let parent = directory();
    let local = parent.path().to_str().expect("a path").replace(':', "$");
    let shared = PathBuf::from(format!(r"\\localhost\{local}")).join("infra");
    let home = Home::new(shared.clone(), TERMINAL);
    home.update(|_| ()).expect("created");
    assert_eq!((others(&shared), may_write(&shared)), (None, None));
}

#[test]
fn program_is_found_by_its_name_outside_the_working_directory() {
    let folder = directory();
    let program = folder.path().join("my tool.exe");
    fs::write(&program, "").expect("a file");
    fs::write(folder.path().join("script.cmd"), "").expect("a file");
    let path = env::join_paths([Path::new(""), Path::new("."), folder.path()]).expect("a list");
    let find = |name: &str| find_program(name.as_ref(), &path);
    assert_eq!(find("my tool"), Some(program.clone()));
    assert_eq!(find("my tool.EXE").map(|found| found.exists()), Some(true));
    assert_eq!((find("script"), find("script.cmd")), (None, None));
    // A path without a drive, or without a folder, depends on the working directory.
    for relative in [r".\my tool.exe", r"\my tool.exe", r"C:my tool.exe", "./my tool"] {
        assert_eq!(find(relative), None, "{relative}");
    }
    // The tests run in the directory of the package.
    assert_eq!(find_program("Cargo.toml".as_ref(), ";.".as_ref()), None);
}

#[test]
fn url_of_file_keeps_letters_and_encodes_signs() {
    for (path, url) in [
        (r"C:\Зоя Ünal\a#b%.html", "file:///C:/Зоя%20Ünal/a%23b%25.html"),
        (r"C:\日本\😀.html", "file:///C:/日本/😀.html"),
        (r"\\server\a b\x.html", "file://server/a%20b/x.html"),
    ] {
        assert_eq!(file_url(Path::new(path)).as_deref(), Some(url));
    }
    assert_eq!(file_url(Path::new("x.html")), None);
}

#[test]
fn reserved_port_is_explained() {
    let error = io::Error::from_raw_os_error;
    let hint = reserved_ports_hint(&[error(WSAEADDRINUSE), error(WSAEACCES)]).expect("a hint");
    assert!(hint.contains("netsh interface ipv4 show excludedportrange protocol=tcp"), "{hint}");
    assert_eq!(reserved_ports_hint(&[error(WSAEADDRINUSE)]), None);
}

#[test]
fn machine_is_known() {
    assert!(!host_name().is_empty());
    assert!(uptime().is_some_and(|seconds| seconds > 0));
}
