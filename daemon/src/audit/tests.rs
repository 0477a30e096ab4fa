//! Tests the log in real files that are cut, changed, moved and filled.

use std::os::unix::fs::PermissionsExt;

use infra_harness::clock::ManualClock;
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;

struct Fixture {
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.jsonl")
    }

    fn open(&self, max_bytes: u64) -> Audit {
        self.keeping(3, max_bytes)
    }

    fn keeping(&self, keep: u32, max_bytes: u64) -> Audit {
        let settings = AuditSettings::File { path: self.path(), max_bytes, keep };
        Audit::open(&settings, Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH))).expect("a log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).expect("a log")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("written");
    }
}

fn ended(session: &str) -> Event<'_> {
    Event::SessionEnded {
        session,
        issuer: "https://okta.test",
        subject: "00u1",
        reason: "logout",
        ended_by: None,
    }
}

fn record(audit: &Audit, count: usize) {
    for number in 0..count {
        audit.record(&ended(&format!("session-{number}")));
    }
}

#[test]
fn chain_continues_after_restart() {
    let fixture = Fixture::new();
    record(&fixture.open(1 << 20), 3);
    record(&fixture.open(1 << 20), 2);
    let verified = verify(&fixture.path(), None, false).expect("a whole log");
    assert_eq!((verified.files, verified.lines, verified.first, verified.cut_off), (1, 5, 1, 0));
    let text = fixture.text();
    let first = text.lines().next().expect("a line");
    let expected = format!(
        "{{\"schema\":1,\"sequence\":1,\"time\":\"1970-01-01T00:00:00Z\",\"event\":\"session_ended\",\
         \"session\":\"session-0\",\"issuer\":\"https://okta.test\",\"subject\":\"00u1\",\"reason\":\"logout\",\"endedBy\":null,\"previousHash\":\"{}\"}}",
        "0".repeat(64)
    );
    assert_eq!(first, expected);
    let mode = std::fs::metadata(fixture.path()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn verification_detects_any_modified_line() {
    let fixture = Fixture::new();
    record(&fixture.open(1 << 20), 5);
    let whole = fixture.text();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |left_out: usize| -> String {
        let mut kept = lines.clone();
        kept.remove(left_out);
        kept.join("\n") + "\n"
    };
    let changed = whole.replace("session-2", "session-9");
    let moved = [lines[0], lines[2], lines[1], lines[3], lines[4], ""].join("\n");
    let doubled = [lines[0], lines[1], lines[1], lines[2], ""].join("\n");
    for (number, text) in [changed, without(1), without(3), moved, doubled].iter().enumerate() {
        fixture.write(text);
        let error = verify(&fixture.path(), None, false).expect_err("it is not whole any more");
        assert!(matches!(error, VerifyError::Broken { .. }), "{number}: {error}");
    }
    fixture.write("not a log\n");
    assert!(matches!(verify(&fixture.path(), None, false), Err(VerifyError::Foreign { line: 1, .. })));
    fixture.write("");
    assert!(matches!(verify(&fixture.path(), None, false), Err(VerifyError::Empty)));
}

#[test]
fn truncation_is_detected_only_by_kept_head() {
    let fixture = Fixture::new();
    record(&fixture.open(1 << 20), 3);
    let head = verify(&fixture.path(), None, false).expect("whole").head;
    let whole = fixture.text();
    let (short, _) = whole.trim_end().rsplit_once('\n').expect("lines");
    fixture.write(&format!("{short}\n"));
    assert_ne!(verify(&fixture.path(), None, false).expect("it is whole, and shorter").head, head);
}

#[test]
fn chain_continues_after_partial_line() {
    let fixture = Fixture::new();
    record(&fixture.open(1 << 20), 3);
    let whole = fixture.text();
    fixture.write(&whole[..whole.len() - 20]);
    record(&fixture.open(1 << 20), 2);
    let verified = verify(&fixture.path(), None, false).expect("a whole log");
    assert_eq!((verified.lines, verified.cut_off), (5, 1));
    let changed = fixture.text().replace("\"session\":\"session-2\"", "\"session\":\"session-3\"");
    fixture.write(&changed);
    assert!(
        matches!(verify(&fixture.path(), None, false), Err(VerifyError::Broken { .. })),
        "its bytes count too"
    );
}

#[test]
fn lowering_keep_leaves_no_gap() {
    for keep in [2, 1, 0] {
        let fixture = Fixture::new();
        record(&fixture.keeping(5, 1_000), 100);
        let before = verify(&fixture.path(), None, false).expect("a whole log");
        assert_eq!(before.files, 6);
        let audit = fixture.keeping(keep, 1_000);
        assert_eq!(
            verify(&fixture.path(), None, false).expect("a whole log"),
            before,
            "nothing goes before it has to"
        );
        record(&audit, 10);
        let verified = verify(&fixture.path(), None, false).expect("a whole log");
        assert_eq!((verified.files, verified.gaps), (keep as usize + 1, vec![]), "{keep}");
        assert_eq!(verified.first + verified.lines - 1, 110);
    }
}

#[test]
fn full_file_is_rotated_and_oldest_deleted() {
    let fixture = Fixture::new();
    record(&fixture.open(1_000), 100);
    let files = std::fs::read_dir(fixture.directory.path()).expect("a directory").count();
    assert_eq!(files, 4, "the log, and three that were set aside");
    for name in ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.3"] {
        let size = std::fs::metadata(fixture.directory.path().join(name)).expect("a file").len();
        assert!(size <= 1_000, "{name}: {size}");
    }
    let verified = verify(&fixture.path(), None, false).expect("a whole log");
    assert!(verified.first > 1 && verified.files == 4);
    assert_eq!(verified.first + verified.lines - 1, 100);
    record(&fixture.open(1_000), 1);
    verify(&fixture.path(), None, false).expect("the chain continues after a restart");
}

#[test]
fn moved_file_is_recreated_on_reopen() {
    let fixture = Fixture::new();
    let audit = fixture.open(1 << 20);
    record(&audit, 2);
    std::fs::rename(fixture.path(), fixture.directory.path().join("audit.jsonl.1")).expect("moved");
    record(&audit, 1);
    audit.reopen();
    record(&audit, 1);
    assert_eq!(fixture.text().lines().count(), 1);
    assert_eq!(verify(&fixture.path(), None, false).expect("whole").lines, 4);
}

#[test]
fn rejected_tokens_are_logged_as_one_event() {
    let fixture = Fixture::new();
    let audit = fixture.open(1 << 20);
    audit.record_counts();
    for _ in 0..1_000 {
        audit.count_rejected_token(RejectedToken::Unknown);
    }
    audit.count_rejected_token(RejectedToken::Revoked);
    audit.record_counts();
    audit.record_counts();
    let text = fixture.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(
            r#""event":"tokens_rejected","unknown":1000,"expired":0,"revoked":1,"audienceMismatch":0"#
        ),
        "{text}"
    );
}

#[test]
fn control_characters_are_removed_from_lines() {
    let fixture = Fixture::new();
    let audit = fixture.open(1 << 20);
    let evil = "a\u{1b}[31m\n{\"event\":\"forged\"}\r\u{202e}\u{2028}\0b";
    audit.record(&ended(evil));
    let text = fixture.text();
    assert_eq!(text.lines().count(), 1);
    assert!(text.trim_end_matches('\n').chars().all(infra_shared::printable::is_printable), "{text:?}");
    verify(&fixture.path(), None, false).expect("whole");
}

#[test]
fn write_failure_is_counted_and_blocks_no_user() {
    let fixture = Fixture::new();
    let audit = fixture.open(200);
    record(&audit, 1);
    // The file is deleted, and a new one cannot be created.
    std::fs::remove_dir_all(fixture.directory.path()).expect("removed");
    record(&audit, 3);
    assert_eq!(audit.failures(), 3);
    std::fs::create_dir(fixture.directory.path()).expect("a directory");
    record(&audit, 1);
    assert_eq!(audit.failures(), 3, "the log continues once it is writable");
    let gap = "\"event\":\"events_missing\",\"count\":3,\"since\":\"1970-01-01T00:00:00Z\"";
    assert!(fixture.text().contains("session-0"), "{}", fixture.text());
    let older = std::fs::read_to_string(fixture.path().with_extension("jsonl.1")).unwrap_or_default();
    assert!(format!("{older}{}", fixture.text()).contains(gap), "{older}\n{}", fixture.text());
}

#[test]
fn end_of_a_gap_is_recorded_without_another_event() {
    let fixture = Fixture::new();
    let audit = fixture.open(200);
    record(&audit, 1);
    std::fs::remove_dir_all(fixture.directory.path()).expect("removed");
    record(&audit, 2);
    audit.record_counts();
    assert_eq!(audit.failures(), 2, "that the gap cannot be closed yet is no missing event");
    std::fs::create_dir(fixture.directory.path()).expect("a directory");
    audit.record_counts();
    assert!(fixture.text().contains("\"event\":\"events_missing\",\"count\":2,"), "{}", fixture.text());
}

#[test]
fn log_behind_symlink_is_rejected() {
    let fixture = Fixture::new();
    std::os::unix::fs::symlink("/tmp/elsewhere", fixture.path()).expect("a link");
    let settings = AuditSettings::File { path: fixture.path(), max_bytes: 1 << 20, keep: 1 };
    let opened = Audit::open(&settings, Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH)));
    assert!(opened.is_err_and(|error| error.to_string().contains("audit.jsonl")));
}

#[test]
fn unauthenticated_events_are_rate_limited_in_audit_log() {
    let fixture = Fixture::new();
    let audit = fixture.open(1 << 20);
    let started = Event::LoginStarted { provider: "okta" };
    for _ in 0..MAX_UNAUTHENTICATED_LINES + 5 {
        audit.record_or_count(&started, SuppressedEvent::Started);
    }
    audit.count(SuppressedEvent::StartRateLimited);
    record(&audit, 1);
    audit.record_counts();
    let text = fixture.text();
    let told = text.lines().filter(|line| line.contains("login_started")).count();
    assert_eq!(u64::try_from(told), Ok(MAX_UNAUTHENTICATED_LINES));
    assert!(text.contains("session_ended"), "events of unauthenticated clients displace no others");
    let counted =
        r#""event":"logins_suppressed","startRateLimited":1,"finishRateLimited":0,"started":5,"rejected":0"#;
    assert!(text.contains(counted), "{text}");

    // A minute later lines are available again, and nothing was suppressed. Exchanges with unverified tokens have lines of their own.
    let unverified =
        Event::WorkloadTokenRejected { workload: None, reason: "unknown_issuer", detail: "", request: "" };
    for _ in 0..MAX_UNAUTHENTICATED_LINES {
        audit.record_unverified_or_count(&unverified, SuppressedEvent::WorkloadRejected);
    }
    audit.record_counts();
    let text = fixture.text();
    let written = text.lines().filter(|line| line.contains("unknown_issuer")).count();
    assert_eq!(u64::try_from(written), Ok(MAX_EXCHANGE_LINES));
    for _ in 0..MAX_EXCHANGE_LINES {
        audit.record_unverified_or_count(&unverified, SuppressedEvent::WorkloadRejected);
    }
    let text = fixture.text();
    audit.record_or_count(&started, SuppressedEvent::Started);
    audit.record_counts();
    let later = fixture.text();
    assert_eq!(later.lines().count(), text.lines().count() + 1);
    verify(&fixture.path(), None, false).expect("a whole log");
}

#[test]
fn failed_rotation_continues_in_same_file() {
    let fixture = Fixture::new();
    let audit = fixture.open(1_000);
    record(&audit, 10);
    let count = || std::fs::read_dir(fixture.directory.path()).expect("a directory").count();
    let before = count();
    // A directory blocks the name under which the next file is created.
    std::fs::create_dir_all(fixture.directory.path().join("audit.jsonl.new/in")).expect("a directory");
    record(&audit, 30);
    assert_eq!((audit.failures(), count()), (0, before + 1));
    assert_eq!(verify(&fixture.path(), None, false).expect("whole").lines, 40);
    std::fs::remove_dir_all(fixture.directory.path().join("audit.jsonl.new")).expect("removed");
    record(&audit, 3);
    assert!(fixture.text().len() <= 1_000, "it is set aside once that can be");
    verify(&fixture.path(), None, false).expect("whole");
}

#[test]
fn missing_rotated_file_is_detected() {
    let fixture = Fixture::new();
    record(&fixture.open(1_000), 8);
    let name = |number: u32| fixture.directory.path().join(format!("audit.jsonl.{number}"));
    assert!(name(2).exists());
    let whole = verify(&fixture.path(), None, false).expect("whole");
    assert_eq!((whole.gaps.len(), whole.beginnings.len()), (0, 1));
    std::fs::rename(name(2), name(3)).expect("moved");
    let gap = verify(&fixture.path(), None, false).expect("every line is there");
    assert_eq!((gap.gaps, gap.lines), (vec![2], whole.lines));
    std::fs::remove_file(name(1)).expect("removed");
    assert!(matches!(verify(&fixture.path(), None, false), Err(VerifyError::Broken { line: 1, .. })));
    std::fs::remove_file(name(3)).expect("removed");
    assert_eq!(verify(&fixture.path(), None, false).expect("what is left").beginnings, [], "it says so");
}

#[test]
fn any_prefix_of_a_line_counts_as_partial() {
    for length in [1, 2, 9, 10, 40] {
        for whole_lines in [0, 2] {
            let fixture = Fixture::new();
            record(&fixture.open(1 << 20), whole_lines + 1);
            let text = fixture.text();
            let before: usize = text.lines().take(whole_lines).map(|line| line.len() + 1).sum();
            fixture.write(&text[..before + length]);
            record(&fixture.open(1 << 20), 2);
            let verified = verify(&fixture.path(), None, false).expect("a whole log");
            assert_eq!(verified.cut_off, 1, "{length} bytes after {whole_lines} lines");
        }
    }
}

#[test]
fn journal_chain_restarts_are_reported() {
    let (first, second) = (Fixture::new(), Fixture::new());
    record(&first.open(1 << 20), 3);
    record(&second.open(1 << 20), 2);
    first.write(&(first.text() + &second.text()));
    let verified = verify(&first.path(), None, true).expect("whole");
    let at = |line| Position { path: first.path(), line };
    assert_eq!((verified.lines, verified.first), (5, 1));
    assert_eq!(verified.beginnings, [at(1), at(4)]);
}

#[test]
fn lines_before_a_chain_are_rejected() {
    let (real, forged) = (Fixture::new(), Fixture::new());
    record(&real.open(1 << 20), 3);
    record(&forged.open(1 << 20), 2);
    let head = verify(&real.path(), None, false).expect("whole").head;
    real.write(&(forged.text() + &real.text()));
    for kept_head in [None, Some(head.as_str())] {
        let error = verify(&real.path(), kept_head, false).expect_err("two chains");
        assert!(matches!(error, VerifyError::ChainRestarts { line: 3, .. }), "{error}");
    }
    // A journal may contain several chains. The head covers only its own.
    let kept = verify(&real.path(), Some(&head), true).expect("whole").kept_head;
    assert_eq!(kept, Some(KeptHead { number: 3, from: Position { path: real.path(), line: 3 } }));
    // The same across files: the forged one poses as a rotated file.
    let whole = real.text();
    let lines: Vec<&str> = whole.lines().collect();
    real.write(&(lines[2..].join("\n") + "\n"));
    std::fs::write(real.directory.path().join("audit.jsonl.1"), forged.text()).expect("written");
    let error = verify(&real.path(), Some(&head), false).expect_err("two chains");
    assert!(
        matches!(&error, VerifyError::ChainRestarts { path, line: 1 } if *path == real.path()),
        "{error}"
    );
}

#[test]
fn full_disk_leaves_no_partial_line() {
    let user = infra_harness::program::User::new();
    let Some(disk) = infra_harness::disk::Disk::of(&user, 64) else { return };
    let path = disk.path("audit.jsonl");
    let settings = AuditSettings::File { path: path.clone(), max_bytes: 1 << 20, keep: 3 };
    let audit = Audit::open(&settings, Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH))).expect("a log");
    record(&audit, 1);
    disk.fill();
    // Some lines fit into the page of the file; the first that does not needs a new one.
    record(&audit, 100);
    assert!(audit.failures() > 0);
    let text = std::fs::read_to_string(&path).expect("a log");
    assert!(text.ends_with("}\n"), "{text}");
    disk.empty();
    record(&audit, 2);
    let verified = verify(&path, None, false).expect("whole");
    // The log itself says how many events are missing, and where.
    let gaps = std::fs::read_to_string(&path).expect("a log").matches("\"event\":\"events_missing\"").count();
    assert!(gaps > 0);
    assert_eq!((verified.cut_off, verified.missing_events), (0, audit.failures()));
    assert_eq!(verified.lines + audit.failures(), 103 + u64::try_from(gaps).expect("a few"));
}

#[test]
fn irremovable_partial_line_is_completed_and_chained() {
    let fixture = Fixture::new();
    let (mut file, mut chain) = AuditFile::open(&fixture.path(), 1 << 20, 3).expect("a file");
    let line = chain.line(Timestamp::UNIX_EPOCH, &ended("a"));
    file.append(&line).expect("written");
    chain.advance(&line);
    file.append(&line[..30]).expect("written");
    // After a failed write, with a length that cannot be restored.
    file.set_incomplete(u64::MAX);
    let chain = file.repair().expect("mended").expect("another chain");
    file.append(&chain.line(Timestamp::UNIX_EPOCH, &ended("b"))).expect("written");
    let verified = verify(&fixture.path(), None, false).expect("whole");
    assert_eq!((verified.lines, verified.cut_off), (3, 1));
}

#[test]
fn log_writable_by_others_is_rejected() {
    let account = crate::platform::Account::of_this_process();
    let refused = |fixture: &Fixture| {
        let fault = find_fault(&fixture.path(), &account);
        let settings = AuditSettings::File { path: fixture.path(), max_bytes: 1 << 20, keep: 1 };
        let opened = Audit::open(&settings, Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH)));
        assert_eq!(fault.is_some(), opened.is_err(), "a check and a start judge alike: {fault:?}");
        if let (Some(fault), Err(error)) = (&fault, &opened) {
            assert_eq!(error.hint(), fault.hint);
            assert!(error.to_string().starts_with("cannot use the audit log "), "{error}");
        }
        fault
    };
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    for (file, directory, expected) in [
        (0o600, 0o700, None),
        (0o644, 0o755, None),
        (0o620, 0o700, Some("`chmod go-w")),
        (0o602, 0o700, Some("`chmod go-w")),
        (0o600, 0o702, Some("other users can replace files in ")),
        // Like `/tmp`.
        (0o600, 0o1777, None),
    ] {
        let fixture = Fixture::new();
        record(&fixture.open(1 << 20), 1);
        mode(&fixture.path(), file);
        mode(fixture.directory.path(), directory);
        let fault = refused(&fixture).map(|fault| format!("{}: {}", fault.cause, fault.hint));
        assert_eq!(fault.is_some(), expected.is_some(), "{file:o} {directory:o}: {fault:?}");
        assert!(
            fault.is_none_or(|fault| fault.contains(expected.unwrap_or_default())),
            "{file:o} {directory:o}"
        );
    }
    let fixture = Fixture::new();
    assert_eq!(refused(&fixture), None, "it is not there yet");
    let fixture = Fixture::new();
    std::os::unix::fs::symlink("/tmp/elsewhere", fixture.path()).expect("a link");
    assert!(refused(&fixture).is_some_and(|fault| fault.cause.ends_with("is a symbolic link")));
    // Only root can change a file's owner and check on behalf of others.
    let other = crate::platform::Account { uid: account.uid + 1, ..account.clone() };
    if account.uid != 0 {
        let fixture = Fixture::new();
        record(&fixture.open(1 << 20), 1);
        let fault = find_fault(&fixture.path(), &other).expect("a foreign directory");
        assert!(fault.cause.contains(" belongs to "), "{fault:?}");
        return;
    }
    for what in ["file", "directory"] {
        let fixture = Fixture::new();
        record(&fixture.open(1 << 20), 1);
        let given = if what == "file" { fixture.path() } else { fixture.directory.path().to_owned() };
        std::os::unix::fs::chown(&given, Some(other.uid), None).expect("given away");
        let fault = refused(&fixture).expect(what);
        assert!(fault.cause.contains(" belongs to ") && fault.hint.contains("`chown "), "{fault:?}");
        assert_eq!(find_fault(&fixture.path(), &other), None, "root and the service's own user are trusted");
    }
}

#[test]
fn log_made_writable_by_others_is_not_reopened() {
    let fixture = Fixture::new();
    let audit = fixture.open(1 << 20);
    let aside = fixture.directory.path().join("audit.jsonl.1");
    record(&audit, 1);
    std::fs::rename(fixture.path(), &aside).expect("moved");
    fixture.write("");
    std::fs::set_permissions(fixture.path(), std::fs::Permissions::from_mode(0o666)).expect("changed");
    audit.reopen();
    record(&audit, 1);
    assert_eq!(
        std::fs::read_to_string(&aside).expect("the log").lines().count(),
        2,
        "the old file is still written"
    );
}
