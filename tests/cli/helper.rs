//! `infra helper`: git, Docker's clients and Bazel get a token for the bound host, and no other host gets one.

mod protected;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::program::{Ran, Running, User, built};
use infra_harness::provider::Provider;
use infra_harness::services::{self, introspect};
use infra_harness::{login, peers};
use infra_shared::clock::{Clock, SystemClock};
use protected::{Protected, token_in};
use serde_json::{Value, json};

const HOST: &str = "tool.example.test";

fn daemon(provider: &Provider) -> Daemon {
    services::daemon(
        provider,
        &[
            "{name: git, credentials: [CREDENTIAL], allow: everyone}",
            "{name: registry, credentials: [CREDENTIAL], allow: everyone}",
            "{name: payroll, allow: [{provider: okta, groups: [nobody]}]}",
        ],
    )
}

/// The words of a helper that is bound to `host`.
fn words(tool: &str, server: &str, audience: &str, host: &str) -> Vec<String> {
    ["helper", tool, "--server", server, "--audience", audience, "--host", host].map(str::to_owned).to_vec()
}

/// A helper of alice for [`HOST`], with one more word: the operation.
fn ask(alice: &User, daemon: &Daemon, tool: &str, operation: &str, input: &str) -> Ran {
    let audience = if tool == "git" { "git" } else { "registry" };
    let words = words(tool, &daemon.origin(), audience, HOST);
    alice.infra(words.iter().map(String::as_str).chain([operation])).input(input).run()
}

fn is_valid(daemon: &Daemon, service: &str, token: &str) -> bool {
    introspect(&daemon.api(), service, token).json().get("active") == Some(&Value::Bool(true))
}

/// Whether an output has a token of any kind.
fn has_token(ran: &Ran) -> bool {
    [&ran.stdout, &ran.stderr].iter().any(|text| text.contains("infra_"))
}

#[track_caller]
fn is_one_line(text: &str) {
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
}

/// The program `git` of this machine, perhaps in two versions.
fn gits() -> Vec<(PathBuf, bool)> {
    let mut found: Vec<(PathBuf, bool)> = Vec::new();
    for path in ["/usr/local/bin/git", "/usr/bin/git"].map(PathBuf::from) {
        let Ok(printed) = Command::new(&path).arg("version").output() else { continue };
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let numbers = printed.trim_start_matches("git version ").split('.');
        let numbers: Vec<u32> = numbers.take(2).filter_map(|number| number.trim().parse().ok()).collect();
        found.push((path, numbers >= vec![2, 46]));
    }
    if found.is_empty() {
        assert!(peers::find_program("git").is_none(), "git is in another folder");
    }
    found
}

/// Runs git as alice. Before a prompt, git would run `askpass`.
fn git(program: &Path, alice: &User, arguments: &[&str], authority: &Path) -> Ran {
    let folder = built("infra").parent().expect("a folder").display().to_string();
    let askpass = alice.home().join("askpass");
    write_program(&askpass, &format!("touch {}\nexit 1\n", alice.home().join("asked").display()));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(alice.home());
    command.env("HOME", alice.home()).env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_SSL_CAINFO", authority).env("GIT_ASKPASS", askpass);
    command.env("GIT_TERMINAL_PROMPT", "0");
    Running::start(command, format!("git {}", arguments.join(" ")), None, Duration::from_mins(1)).wait()
}

fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;

    fs::create_dir_all(path.parent().expect("a folder")).expect("the user's own folder");
    fs::write(path, format!("#!/bin/sh\n{script}")).expect("the user's own file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the user's own file");
}

/// Writes the lines of the page into alice's configuration, after a helper that stores credentials.
fn configure_git(program: &Path, alice: &User, daemon: &Daemon, server: &Protected) {
    let key = format!("credential.https://{}.helper", server.host());
    let helper = format!("!infra {}", words("git", &daemon.origin(), "git", &server.host()).join(" "));
    for arguments in [
        &["config", "--global", "--replace-all", "credential.helper", "store"][..],
        &["config", "--global", "--replace-all", &key, ""],
        &["config", "--global", "--add", &key, &helper],
    ] {
        git(program, alice, arguments, &server.authority()).expect(0);
    }
}

#[test]
fn git_sends_a_token_to_the_bound_server() {
    for (program, is_new) in gits() {
        let (provider, alice) = (Provider::start(), User::new());
        let daemon = daemon(&provider);
        login::succeed(&alice, &daemon, &provider);
        for challenges in [&["Bearer realm=\"infra\"", "Basic realm=\"git\""][..], &["Basic realm=\"git\""]] {
            let server = Protected::start(challenges);
            configure_git(&program, &alice, &daemon, &server);
            let ran = git(&program, &alice, &["ls-remote", &server.url("/x.git")], &server.authority());
            assert!(ran.expect(0).stdout.contains("refs/heads/main"));

            let sent = server.authorizations().pop().expect("an authorization");
            let is_bearer = is_new && challenges.len() == 2;
            assert_eq!(sent.starts_with("Bearer "), is_bearer, "{}: {sent}", program.display());
            let (user, token) = token_in(&sent);
            assert_eq!(user.as_deref(), (!is_bearer).then_some("infra"), "{sent}");
            assert!(is_valid(&daemon, "git", &token) && !is_valid(&daemon, "registry", &token), "{sent}");
            assert!(!alice.home().join("asked").exists(), "git prompted");
            assert!(!alice.home().join(".git-credentials").exists(), "another helper stored the token");
        }
        // Control: the line with the empty helper keeps the other one away.
        let server = Protected::start(&["Basic realm=\"git\""]);
        let helper = format!(
            "credential.helper=!infra {}",
            words("git", &daemon.origin(), "git", &server.host()).join(" ")
        );
        let call = ["-c", "credential.helper=store", "-c", &helper, "ls-remote", &server.url("/x.git")];
        git(&program, &alice, &call, &server.authority()).expect(0);
        assert!(alice.home().join(".git-credentials").exists());
    }
}

#[test]
fn git_keeps_the_user_name_of_the_url() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    for (program, _) in gits() {
        let server = Protected::start(&["Basic realm=\"git\""]);
        configure_git(&program, &alice, &daemon, &server);
        let url = server.url("/x.git").replace("https://", "https://bob@");
        git(&program, &alice, &["ls-remote", &url], &server.authority()).expect(0);
        let (user, token) = token_in(&server.authorizations().pop().expect("an authorization"));
        assert_eq!(user.as_deref(), Some("bob"));
        assert!(is_valid(&daemon, "git", &token));
    }
}

#[test]
fn git_ends_without_a_prompt_if_signed_out() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    alice.infra(["logout"]).run().expect(0);
    for (program, _) in gits() {
        let server = Protected::start(&["Bearer realm=\"infra\"", "Basic realm=\"git\""]);
        configure_git(&program, &alice, &daemon, &server);
        let ran = git(&program, &alice, &["ls-remote", &server.url("/x.git")], &server.authority());
        let ran = ran.expect(128).stdout_is_empty();
        ran.stderr_contains(&["you are not signed in to", "try: `infra login`", "told us to quit"]);
        assert!(server.authorizations().is_empty() && !alice.home().join("asked").exists());
    }
}

#[test]
fn git_sends_no_token_to_another_server() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    for (program, _) in gits() {
        let other = Protected::start(&["Bearer realm=\"infra\"", "Basic realm=\"git\""]);
        let bound = Protected::redirecting(&["Bearer realm=\"infra\"", "Basic realm=\"git\""], &other);
        let helper = format!(
            "credential.helper=!infra {}",
            words("git", &daemon.origin(), "git", &bound.host()).join(" ")
        );
        // The second one has the token, and sends git to the other server.
        for url in [other.url("/x.git"), bound.url("/x.git")] {
            git(&program, &alice, &["-c", &helper, "ls-remote", &url], &bound.authority()).expect(128);
        }
        assert!(bound.authorizations().iter().any(|sent| token_in(sent).1.starts_with("infra_aud_")));
        let sent = other.authorizations();
        assert!(sent.iter().all(|sent| !token_in(sent).1.contains("infra_")), "{sent:?}");
    }
}

#[test]
fn git_helper_gives_no_token_to_hostile_requests() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let plain = format!("protocol=https\nhost={HOST}\n\n");
    assert!(has_token(&ask(&alice, &daemon, "git", "get", &plain).expect(0)), "the control");

    // Another helper may know these hosts.
    for input in [
        "protocol=https\nhost=evil.test\n\n".to_owned(),
        format!("protocol=https\nhost={HOST}.evil.test\n\n"),
        format!("protocol=https\nhost={HOST}:8443\n\n"),
        format!("protocol=https\nhost=evil.test\npath={HOST}\nusername={HOST}\n\nhost={HOST}\n"),
    ] {
        let ran = ask(&alice, &daemon, "git", "get", &input).expect(0).stdout_is_empty();
        assert_eq!(ran.stderr, "", "{input}");
    }
    for input in [
        String::new(),
        format!("host={HOST}\n"),
        format!("protocol=http\nhost={HOST}\n\n"),
        format!("url=https://{HOST}/\n\n"),
        format!("protocol=https\nhost=evil.test\nhost={HOST}\n\n"),
        format!("protocol=https\nhost={HOST}\r\n\n"),
        format!("protocol=https\nhost={HOST}.\n\n"),
        format!("protocol=https\nhost={HOST}\0.evil.test\n\n"),
        format!("protocol=https\nhost={HOST}"),
        format!("protocol=https\nhost={HOST}\nwwwauth[]={}\n\n", "x".repeat(65536)),
    ] {
        let ran = ask(&alice, &daemon, "git", "get", &input).expect(1);
        assert_eq!(ran.stdout, "quit=1\n", "{input:?}");
        is_one_line(&ran.stderr);
        assert!(!has_token(&ran), "{ran}");
    }
    // What git stores and erases, and what a later git asks.
    for operation in ["store", "erase", "capability", "later"] {
        let ran = ask(&alice, &daemon, "git", operation, &plain).expect(0).stdout_is_empty();
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn helper_answers_with_an_audience_token_of_the_named_server() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let session = login::token(&alice);
    let input = format!("protocol=https\nhost={HOST}\n\n");
    let run = |words: &[&str], change: &[(&str, &str)]| {
        let mut call = alice.infra(words).input(&input);
        for (name, value) in change {
            call = call.env(name, value);
        }
        call.run()
    };
    let server = daemon.origin();
    let git = |audience| {
        let words = ["helper", "git", "--server", &server, "--audience", audience, "--host", HOST, "get"];
        words.map(str::to_owned)
    };
    let bound = git("git");
    let bound: Vec<&str> = bound.iter().map(String::as_str).collect();
    let ran = run(&bound, &[]).expect(0);
    let expiry = ran.stdout.lines().find_map(|line| line.strip_prefix("password_expiry_utc="));
    let left = expiry.and_then(|at| at.parse::<i64>().ok()).expect("a time") - SystemClock.now().as_second();
    assert!((500..=571).contains(&left), "{left} s");
    // A job has the session token in a variable. The tool does not get that one.
    let ran = run(&bound, &[("INFRA_TOKEN", &session), ("INFRA_SERVER", &server)]).expect(0);
    assert!(ran.stdout.contains("password=infra_aud_") && !ran.stdout.contains(&session), "{ran}");

    let refused = |words: &[&str], change: &[(&str, &str)], code, said: &[&str]| {
        let ran = run(words, change).expect(code);
        assert_eq!(ran.stdout, "quit=1\n", "{ran}");
        is_one_line(&ran.stderr);
        ran.stderr_contains(said);
    };
    let unnamed: Vec<&str> =
        bound.iter().copied().filter(|word| *word != "--server" && *word != server).collect();
    refused(&unnamed, &[], 2, &["a helper needs --server"]);
    refused(&unnamed, &[("INFRA_SERVER", &server)], 2, &["a helper needs --server"]);
    refused(&bound, &[("INFRA_SERVER", "other.test")], 2, &["INFRA_SERVER names https://other.test"]);
    let payroll = git("payroll");
    let payroll: Vec<&str> = payroll.iter().map(String::as_str).collect();
    refused(&payroll, &[], 1, &["does not issue you a token for `payroll`"]);
    daemon.stop();
    let registry = git("registry");
    let registry: Vec<&str> = registry.iter().map(String::as_str).collect();
    refused(&registry, &[], 4, &["cannot be reached"]);
    daemon.start_again();
    assert_eq!(daemon.api().delete_as("/v1/session", &session).status, 204);
    refused(&bound, &[], 3, &["was revoked", "infra login"]);

    for wrong in [
        &["helper", "git", "--audience", "git", "get"][..],
        &["helper", "git", "--host", HOST, "get"],
        &["helper", "git", "--audience", "git", "--host", "http://tool.example.test", "get"],
        &["helper", "git", "--audience", "git", "--host", "a@tool.example.test", "get"],
        &["helper", "git", "--audience", "git", "--host", HOST, "--username", "a:b", "get"],
        &["helper", "git", "--audience", "git", "--host", HOST, "--username", "a\nhost=b", "get"],
        &["helper", "git", "--audience", "git", "--host", HOST],
    ] {
        run(wrong, &[]).expect(2).stdout_is_empty();
    }
}

/// Docker's tools run this program.
fn install_docker_helper(alice: &User, daemon: &Daemon, server: &str) {
    let infra = built("infra").display().to_string();
    let words = words("docker", &daemon.origin(), "registry", server).join(" ");
    let path = alice.home().join("bin/docker-credential-infra");
    write_program(&path, &format!("exec {infra} {words} \"$@\"\n"));
}

#[test]
fn skopeo_sends_a_token_to_the_bound_registry() {
    let Some(skopeo) = peers::find_program("skopeo") else { return };
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let bound = Protected::start(&["Basic realm=\"registry\""]);
    let other = Protected::start(&["Basic realm=\"registry\""]);
    install_docker_helper(&alice, &daemon, &bound.host());
    let credentials = alice.home().join("config.json");
    let helpers = json!({ bound.host(): "infra", other.host(): "infra" });
    fs::write(&credentials, json!({ "credHelpers": helpers }).to_string()).expect("the user's own file");
    let run = |words: &[&str], server: &Protected| {
        let certificates = alice.home().join("certificates");
        fs::create_dir_all(&certificates).expect("the user's own folder");
        fs::copy(server.authority(), certificates.join("ca.crt")).expect("the user's own file");
        let mut command = Command::new(&skopeo);
        command.args(words).args(["--cert-dir", &certificates.display().to_string()]);
        command.env_clear().current_dir(alice.home()).env("HOME", alice.home());
        command.env("PATH", format!("{}/bin:/usr/bin:/bin", alice.home().display()));
        command.env("REGISTRY_AUTH_FILE", &credentials);
        Running::start(command, words.join(" "), None, Duration::from_mins(1)).wait()
    };
    let list = |server: &Protected| run(&["list-tags", &format!("docker://{}/app", server.host())], server);

    assert!(list(&bound).expect(0).stdout.contains("1.0"));
    let (user, token) = token_in(&bound.authorizations().pop().expect("an authorization"));
    assert_eq!(user.as_deref(), Some("infra"));
    assert!(is_valid(&daemon, "registry", &token) && !is_valid(&daemon, "git", &token));
    // Skopeo goes on without credentials.
    list(&other).expect(1);
    let sent = other.authorizations();
    assert!(sent.iter().all(|sent| !token_in(sent).1.contains("infra_")), "{sent:?}");

    // The password is good, so Skopeo wants to store it.
    let login = ["login", "--username", "infra", "--password", &token, &bound.host()];
    run(&login, &bound).expect(1).stderr_contains(&["stores no password", "`infra login` instead"]);
    let before = bound.authorizations().len();
    alice.infra(["logout"]).run().expect(0);
    list(&bound).expect(1).stderr_contains(&["you are not signed in to", "try: `infra login`"]);
    assert_eq!(bound.authorizations().len(), before);
}

#[test]
fn docker_helper_follows_the_protocol() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let docker = |operation: &str, input: &str| ask(&alice, &daemon, "docker", operation, input);
    for server in [HOST, "https://tool.example.test", "https://TOOL.example.test:443/v2/\n"] {
        let ran = docker("get", server).expect(0);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let token = answer["Secret"].as_str().expect("a token");
        assert!(is_valid(&daemon, "registry", token), "{ran}");
        let expected = json!({"ServerURL": server.trim_end(), "Username": "infra", "Secret": token});
        assert_eq!((answer, ran.stderr.as_str()), (expected, ""));
    }
    for server in ["evil.test", "tool.example.test:5000", "https://evil.test/tool.example.test"] {
        let ran = docker("get", server).expect(1);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            ("credentials not found in native keychain\n", ""),
            "{server}"
        );
    }
    for empty in ["", "\n", "  "] {
        let ran = docker("get", empty).expect(1);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("no credentials server URL\n", ""));
    }
    for hostile in [
        "http://tool.example.test".to_owned(),
        "https://tool.example.test@evil.test".to_owned(),
        "https://evil.test\\@tool.example.test".to_owned(),
        "tool.example.test\nevil.test".to_owned(),
        "tool.example.test.".to_owned(),
        "tool.example.test\0".to_owned(),
        "x".repeat(65537),
    ] {
        let ran = docker("get", &hostile).expect(1);
        assert!(!has_token(&ran), "{ran}");
        // Docker shows one of the two, and compares the other.
        assert_eq!(format!("error: {}", ran.stdout), ran.stderr);
        is_one_line(&ran.stdout);
        assert!(!["credentials not found", "no credentials"].iter().any(|known| ran.stdout.contains(known)));
    }

    let listed = docker("list", "unused").expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&listed).expect("JSON"), json!({HOST: "infra"}));
    let secret = "canary-of-a-password-0123456789";
    let entered = json!({"ServerURL": HOST, "Username": "alice", "Secret": secret}).to_string();
    let ran = docker("store", &entered).expect(1).stderr_contains(&["infra login"]);
    assert!(!ran.to_string().contains(secret), "{ran}");
    docker("erase", HOST).expect(0).stdout_is_empty().stderr_contains(&["infra logout"]);
    docker("version", "").expect(2).stdout_is_empty();

    alice.infra(["logout"]).run().expect(0);
    let ran = docker("get", HOST).expect(3);
    assert_eq!(format!("error: {}", ran.stdout), ran.stderr);
    ran.stderr_contains(&["infra login"]);
}

#[test]
fn bazel_helper_follows_the_specification() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let bazel = |input: &str| ask(&alice, &daemon, "bazel", "get", input);
    let uri = |uri: &str| json!({ "uri": uri }).to_string();
    for input in [
        uri("https://tool.example.test/x?y#z"),
        uri("grpcs://TOOL.example.test:443/com.example.package.Service/Method"),
        json!({"uri": "https://tool.example.test", "later": {"a": []}}).to_string(),
    ] {
        let ran = bazel(&input).expect(0);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let header = answer["headers"]["Authorization"][0].as_str().expect("a header");
        assert!(is_valid(&daemon, "registry", header.trim_start_matches("Bearer ")), "{ran}");
        let expires = answer["expires"].as_str().expect("a time");
        assert_eq!(answer, json!({"headers": {"Authorization": [header]}, "expires": expires}));
        let left = expires.parse::<jiff::Timestamp>().expect("a time").duration_since(SystemClock.now());
        assert!((500..=571).contains(&left.as_secs()), "{left}");
        assert_eq!(ran.stderr, "");
    }
    for input in [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        r#"{"uri": 1}"#.to_owned(),
        r#"{"uri": "https://evil.test", "uri": "https://tool.example.test"}"#.to_owned(),
        format!("{} x", uri("https://tool.example.test")),
        uri(""),
        uri("tool.example.test"),
        uri("http://tool.example.test"),
        uri("grpc://tool.example.test"),
        uri("https://evil.test"),
        uri("https://tool.example.test:8443"),
        uri("https://tool.example.test@evil.test"),
        uri("https://a@tool.example.test"),
        uri("https://evil.test\\@tool.example.test"),
        uri("https://tool.example.test\u{0}"),
        uri("https://tool.example.test./"),
        uri(&format!("https://tool.example.test/{}", "x".repeat(65536))),
    ] {
        let ran = bazel(&input).expect(1).stdout_is_empty();
        is_one_line(&ran.stderr);
        assert!(!has_token(&ran), "{ran}");
    }
    ask(&alice, &daemon, "bazel", "store", "{}").expect(2).stdout_is_empty();
    alice.infra(["logout"]).run().expect(0);
    let ran = bazel(&uri("https://tool.example.test")).expect(3).stdout_is_empty();
    is_one_line(&ran.stderr);
    ran.stderr_contains(&["infra login"]);
}
