//! `infra` reads and runs nothing from the working directory, as shown by a trace of every file that it
//! opens.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::peers;
use infra_harness::planted::planted;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::Provider;

#[test]
fn infra_reads_nothing_from_the_working_directory() {
    let Some(strace) = peers::find_program("strace") else { return };
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let planted = planted();
    let trace = alice.home().join("trace");
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let run = |words: &[&str], variable: Option<(&str, &str)>, codes: &[i32]| {
        let options = ["-f", "-qq", "-e", "trace=%file", "-o"].map(OsStr::new);
        let under = [strace.as_os_str()].into_iter().chain(options).chain([trace.as_os_str()]);
        let call = alice.infra(words).under(under).in_directory(planted.path()).browser(&browser);
        let call = variable.into_iter().fold(call, |call, (name, value)| call.env(name, value));
        let ran = call.run();
        assert!(ran.code.is_some_and(|code| codes.contains(&code)), "{ran}");
        let text = fs::read_to_string(&trace).expect("a trace");
        // Control: the trace shows opened files.
        assert!(text.contains("/libc.so.6"), "nothing was traced\n{text}");
        let touched = touched(&text, planted.path());
        assert_eq!(touched, Vec::<String>::new(), "{words:?} looked into the working directory\n{ran}");
    };
    // Control: the search would find such a file.
    for read in
        ["openat(AT_FDCWD, \"config.json\", O_RDONLY) = 3", "execve(\"./xdg-open\", [\"xdg-open\"]) = 0"]
    {
        assert_eq!(touched(&format!("7 {read}\n"), planted.path()).len(), 1, "{read}");
    }
    let below = format!("7 stat(\"{}/x\", 0x7) = -1 ENOENT\n", planted.path().display());
    assert_eq!(touched(&below, planted.path()).len(), 1);
    let (server, fingerprint) = (daemon.origin(), daemon.fingerprint());
    for (words, codes) in [
        (&["--version"][..], &[0][..]),
        (&["completions", "bash"], &[0]),
        (&["status"], &[0]),
        (&["status", "--offline", "--json"], &[0]),
        (&["status", "--all"], &[0]),
        (&["token"], &[0]),
        (&["use", &server], &[0]),
        (&["trust", &server, "--fingerprint", &fingerprint], &[0]),
        (&["login"], &[0]),
        (&["login", "other.test"], &[4, 5]),
        (&["login", "--force", "--keyring"], &[0]),
        (&["doctor"], &[0, 1]),
        (&["doctor", "other.test"], &[1]),
    ] {
        run(words, None, codes);
    }
    // Variables that would lead into the working directory.
    for variable in
        [("TZ", "UTC"), ("TZ", ":localtime"), ("LANG", "localtime"), ("TERM", "xdg-open"), ("HOME", "")]
    {
        run(&["status"], Some(variable), &[0]);
    }
    run(&["logout"], None, &[0]);
    run(&["logout", "--all", "--forget"], None, &[0]);
}

/// The calls in a trace that name something by a relative path or below `directory`, except those of programs
/// that `infra` started.
fn touched(trace: &str, directory: &Path) -> Vec<String> {
    let process = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let others: Vec<String> = trace
        .lines()
        .filter(|line| line.contains(" execve(") && !line.contains("/infra\""))
        .map(process)
        .collect();
    let below = directory.display().to_string();
    let is_relative = |path: &str| !path.starts_with('/');
    trace
        .lines()
        .filter(|line| line.contains(" execve(") || !others.contains(&process(line)))
        .filter(|line| {
            let paths: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            let relative_to_here = !line.contains("at(") || line.contains("AT_FDCWD");
            let first = paths.first().copied().unwrap_or_default();
            line.contains(&below)
                || (relative_to_here && !paths.is_empty() && is_relative(first) && !first.is_empty())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn home_that_is_gone_is_named_and_not_made_again() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    let gone = alice.home().join("infrad-dev-gone");
    let call = |words: &[&str]| {
        let call = alice.infra(words).env("INFRA_HOME", gone.join("infra"));
        call.env("INFRA_SERVER", daemon.origin()).env("INFRA_FINGERPRINT", daemon.fingerprint())
    };
    let origin = daemon.origin();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["token"],
        &["token", "--audience", "demo"],
        &["exec", "--audience", "demo", "--", "true"],
        &["sessions"],
    ] {
        call(words).run().expect(3).stderr_contains(&["infrad-dev-gone, which does not exist"]);
    }
    for words in [&["logout"][..], &["logout", "--all"]] {
        call(words).run().expect(0).stderr_contains(&["infrad-dev-gone, which does not exist"]);
    }
    call(&["use", &origin]).run().expect(2);
    call(&["doctor"]).run();
    assert!(!gone.exists(), "a command that stores nothing made it");
    daemon.stop();
    let call = alice.infra(["login"]).env("INFRA_HOME", gone.join("infra"));
    let call = call.env("INFRA_SERVER", &origin).env("INFRA_FINGERPRINT", daemon.fingerprint());
    call.run().expect(4).stderr_contains(&["infrad-dev-gone, which does not exist"]);
    assert!(!gone.exists(), "a failed sign-in left it behind");
    daemon.start_again();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let call = login::call(&alice, &daemon).env("INFRA_HOME", gone.join("infra")).browser(&browser);
    call.run().expect(0).stderr_contains(&["infrad-dev-gone for INFRA_HOME, because it did not exist"]);
    assert!(gone.join("infra/sessions.json").exists());
}
