//! Whole kubeconfigs in real directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn wanted() -> Wanted {
    Wanted {
        name: "prod".to_owned(),
        server: "https://k8s.test:6443".to_owned(),
        authority: None,
        namespace: None,
        command: "infra".to_owned(),
        arguments: ["kubernetes", "token", "--cluster", "prod"].map(ToOwned::to_owned).to_vec(),
        variable: ("INFRA_HOME", None),
        install_hint: "install it".to_owned(),
        is_current: false,
        is_forced: false,
    }
}

fn at(path: &Path) -> Files {
    Files::find(Some(path.to_owned()), None, None).expect("a file")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_new_file_is_its_owners_alone_and_a_second_run_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/config");
    assert_eq!(add(&at(&path), &wanted()).expect("entries").changed, std::slice::from_ref(&path));
    assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains("interactiveMode: Never") && text.contains("provideClusterInfo: false"), "{text}");
    assert!(add(&at(&path), &wanted()).expect("entries").changed.is_empty());
    let left: Vec<_> = fs::read_dir(path.parent().expect("a folder")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn what_the_user_added_to_our_entries_stays_and_the_mode_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    add(&at(&path), &wanted()).expect("entries");
    let text = fs::read_to_string(&path).expect("a file");
    let own = text.replace(
        "    server: ",
        "    proxy-url: socks5://localhost:1080\n    insecure-skip-tls-verify: true\n    server: ",
    );
    fs::write(&path, &own).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a file");
    let moved =
        Wanted { server: "https://new.test".to_owned(), authority: Some("QQ==".to_owned()), ..wanted() };
    add(&at(&path), &moved).expect("entries");
    let text = fs::read_to_string(&path).expect("a file");
    assert!(
        text.contains("proxy-url") && text.contains("https://new.test") && text.contains("QQ=="),
        "{text}"
    );
    assert!(!text.contains("insecure") && !text.contains("k8s.test"), "{text}");
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn the_variable_follows_the_home_and_others_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let text = || fs::read_to_string(&path).expect("a file");
    let in_home = |home: &str| Wanted { variable: ("INFRA_HOME", Some(home.to_owned())), ..wanted() };
    add(&at(&path), &wanted()).expect("entries");
    assert!(!text().contains("env"), "{}", text());
    add(&at(&path), &in_home("/first")).expect("entries");
    assert!(text().contains("name: INFRA_HOME") && text().contains("value: /first"), "{}", text());
    let with_own = text().replace(
        "value: /first",
        "value: /first\n      - name: HTTPS_PROXY\n        value: http://proxy.test",
    );
    fs::write(&path, with_own).expect("a file");
    add(&at(&path), &in_home("/second")).expect("entries");
    assert!(text().contains("/second") && text().contains("HTTPS_PROXY"), "{}", text());
    assert!(!text().contains("/first"), "{}", text());
    assert!(add(&at(&path), &in_home("/second")).expect("entries").changed.is_empty());
    add(&at(&path), &wanted()).expect("entries");
    assert!(!text().contains("INFRA_HOME") && text().contains("HTTPS_PROXY"), "{}", text());
}

#[test]
fn entries_of_others_are_replaced_by_force_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let others = "clusters:\n- {name: prod, cluster: {server: https://other.test}}\n";
    let user = "users:\n- name: prod\n  user:\n    client-key-data: c2VjcmV0\n";
    let context = "contexts:\n- name: prod\n  context: {cluster: prod, user: admin}\n";
    for text in [others, user, context] {
        fs::write(&path, text).expect("a file");
        let refused = add(&at(&path), &wanted()).expect_err("another's");
        assert!(matches!(refused, KubeconfigError::Taken { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), text);
        add(&at(&path), &Wanted { is_forced: true, ..wanted() }).expect("entries");
        let forced = fs::read_to_string(&path).expect("a file");
        assert!(!forced.contains("client-key-data") && !forced.contains("other.test"), "{forced}");
    }
    // The same cluster may have other users, too.
    fs::write(&path, others.replace("other.test", "k8s.test:6443")).expect("a file");
    add(&at(&path), &wanted()).expect("entries");
}

#[test]
fn of_several_files_the_one_with_the_entry_is_changed_and_else_the_first_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let list = std::env::join_paths([path("a"), path("b"), path("c")]).expect("paths");
    let files = || Files::find(None, Some(&list), None).expect("files");
    assert_eq!(add(&files(), &wanted()).expect("entries").changed, [path("c")]);
    fs::write(path("b"), "kind: Config\ncurrent-context: x\n").expect("a file");
    let moved = Wanted { server: "https://new.test".to_owned(), is_current: true, ..wanted() };
    let mut changed = add(&files(), &moved).expect("entries").changed;
    changed.sort();
    assert_eq!(changed, [path("b"), path("c")]);
    assert_eq!(fs::read_to_string(path("b")).expect("a file"), "kind: Config\ncurrent-context: prod\n");
    let other = Wanted { name: "stage".to_owned(), ..wanted() };
    assert_eq!(add(&files(), &other).expect("entries").changed, [path("b")]);
    assert!(!path("a").exists());
    let home = Files::find(None, Some("".as_ref()), Some(folder.path().to_owned()));
    assert_eq!(add(&home.expect("a home"), &wanted()).expect("entries").changed, [path(".kube/config")]);
}

#[test]
fn links_and_locked_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("config"));
    fs::write(&file, "kind: Config\n").expect("a file");
    symlink(&file, &link).expect("a link");
    assert!(matches!(add(&at(&link), &wanted()), Err(KubeconfigError::Link { .. })));
    assert!(matches!(
        add(&at(folder.path()), &wanted()),
        Err(KubeconfigError::Io { .. } | KubeconfigError::NotAFile { .. })
    ));
    fs::write(&file, b"a: \xff\n").expect("a file");
    assert!(matches!(add(&at(&file), &wanted()), Err(KubeconfigError::NotText { .. })));

    fs::write(&file, "kind: Config\n").expect("a file");
    let lock = folder.path().join("file.lock");
    fs::write(&lock, "").expect("a lock");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| add(&at(&file), &wanted()));
        fs::remove_file(&lock).expect("the lock");
        assert_eq!(waiting.join().expect("no panic").expect("entries").changed, std::slice::from_ref(&file));
    });
    assert!(!lock.exists());
}

#[test]
fn comments_that_are_lost_leave_a_copy_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    add(&at(&path), &wanted()).expect("entries");
    let text = fs::read_to_string(&path).expect("a file").replace("- user:\n", "- user:\n    # mine\n");
    fs::write(&path, &text).expect("a file");
    let renamed = Wanted { command: "/opt/infra".to_owned(), ..wanted() };
    let done = add(&at(&path), &renamed).expect("entries");
    assert_eq!(done.copies.len(), 1);
    assert_eq!(fs::read_to_string(&done.copies[0]).expect("a copy"), text);
}
