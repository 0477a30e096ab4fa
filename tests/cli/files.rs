//! `~/.infra` on full and read-only disks, and owned by other users: files stay complete, existing data
//! survives, and no message reports success for a failed operation.

use infra_harness::daemon::Daemon;
use infra_harness::disk::Disk;
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::skip;
use infra_shared::api::ProblemCode;

/// Slightly more than the size of the files in `~/.infra`.
const KILOBYTES: u32 = 128;

#[test]
fn login_is_revoked_and_old_session_kept_if_disk_is_full() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let Some(disk) = disk(&alice) else { return };
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).inside(&disk).run().expect(0);
    let token = alice.infra(["token"]).inside(&disk).run().expect(0).stdout;
    let before = std::fs::read(disk.path(".infra/sessions.json")).expect("a session");

    disk.fill();
    let again = ["login", "--force", "--no-keyring"];
    let ran = alice.infra(again).browser(&browser).inside(&disk).run().expect(1).stdout_is_empty();
    assert!(ran.stderr.contains("No space left"), "{ran}");
    assert_eq!(std::fs::read(disk.path(".infra/sessions.json")).expect("a session"), before);
    assert_eq!(alice.infra(["token"]).inside(&disk).run().expect(0).stdout, token);
    alice.infra(["status", "--quiet"]).inside(&disk).run().expect(0);
    // The daemon does not keep the session that could not be stored.
    let log = daemon.complete_log();
    assert_eq!(log.matches("signed in").count(), log.matches("signed out").count() + 1, "{log}");

    disk.empty();
    alice.infra(again).browser(&browser).inside(&disk).run().expect(0);
    assert_ne!(alice.infra(["token"]).inside(&disk).run().expect(0).stdout, token);
}

#[test]
fn logout_revokes_the_session_even_if_disk_is_full() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let Some(disk) = disk(&alice) else { return };
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).inside(&disk).run().expect(0);
    let token = alice.infra(["token"]).inside(&disk).run().expect(0).stdout;

    disk.fill();
    alice.infra(["logout"]).inside(&disk).run().expect(1).stderr_contains(&["was revoked", "No space left"]);
    assert_eq!(
        daemon.api().get_as("/v1/session", token.trim_end()).problem().code,
        ProblemCode::SessionRevoked
    );
    let status = alice.infra(["status", "--json"]).inside(&disk).run();
    assert_eq!(status.clone().expect(3).json()["state"], "revoked", "{status}");
    disk.empty();
    alice.infra(["logout"]).inside(&disk).run().expect(0);
    alice.infra(["token"]).inside(&disk).run().expect(3).stdout_is_empty();
}

#[test]
fn read_only_home_can_be_read() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    let Some(disk) = disk(&alice) else { return };
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).inside(&disk).run().expect(0);

    disk.make_read_only();
    alice.infra(["token"]).inside(&disk).run().expect(0);
    let status = alice.infra(["status", "--json"]).inside(&disk).run();
    assert_eq!(status.clone().expect(0).json()["state"], "active", "{status}");
    let ran =
        alice.infra(["login", "--force"]).browser(&browser).inside(&disk).run().expect(1).stdout_is_empty();
    assert!(ran.stderr.contains("Read-only file system"), "{ran}");
    daemon.stop();
    let ran = alice.infra(["logout"]).inside(&disk).run().expect(1);
    assert!(ran.stderr.contains("Read-only file system"), "{ran}");
    // The failed sign-out kept the session.
    alice.infra(["token"]).inside(&disk).run().expect(0);
}

#[test]
fn files_of_another_user_are_rejected() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let home = alice.infra_home();
    for path in [home.join("sessions.json"), home.join("config.json"), home.clone()] {
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            return skip::report("only root can give files away");
        }
        for arguments in [&["status"][..], &["token"], &["logout"], &["login", "--force"]] {
            let ran = alice.infra(arguments).run().expect(1).stdout_is_empty();
            assert!(ran.stderr.contains("another user"), "{ran}");
        }
        std::os::unix::fs::chown(&path, Some(0), None).expect("the test is run by root");
    }
    alice.infra(["status", "--quiet"]).run().expect(0);
}

fn disk(user: &User) -> Option<Disk> {
    let disk = Disk::of(user, KILOBYTES);
    if disk.is_none() {
        skip::report("this machine lets nobody mount a disk of their own (`unshare --user --mount`)");
    }
    disk
}
