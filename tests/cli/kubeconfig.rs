//! The kubeconfig that `infra kubernetes configure` changes with the real `kubectl`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{Call, Ran, User};
use infra_harness::provider::Provider;
use infra_harness::{services, wait};
use infra_peers::kubernetes_api::Kubectl;
use serde_json::{Value, json};

const KUBECONFIG: &str = "KUBECONFIG";
const SERVER: &str = "https://k8s.test:6443";

/// A kubeconfig as users write it by hand.
const OTHERS: &str = "\
# two clusters of the company
apiVersion: v1
kind: Config
current-context: old
preferences: {}
clusters:
- {name: old, cluster: {server: 'https://old.test', insecure-skip-tls-verify: true}}   # soon gone
- name: \"new\"
  cluster:
    server: https://new.test:6443/path
    proxy-url: http://proxy.test:3128
    certificate-authority: ca/new.pem
users:
- name: old
  user: &bearer
    token: canary-token-of-another-cluster
- name: new
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: other-plugin, args: [get-token], interactiveMode: IfAvailable}
contexts:
- context: {cluster: old, user: old, namespace: web}
  name: old
- context: {cluster: new, user: new}
  name: new
";

struct Setup {
    kubectl: Kubectl,
    daemon: Daemon,
    provider: Provider,
}

impl Setup {
    fn start() -> Option<Self> {
        let kubectl = Kubectl::find()?;
        let provider = Provider::start();
        let service = "{name: prod, kind: kubernetes, credentials: [CREDENTIAL], allow: everyone}";
        let daemon = services::daemon(&provider, &[service]);
        Some(Self { kubectl, daemon, provider })
    }

    fn alice(&self) -> User {
        let alice = User::new();
        login::succeed(&alice, &self.daemon, &self.provider);
        alice
    }

    /// A call of `infra kubernetes configure CLUSTER`.
    fn configure<'a>(&self, user: &'a User, cluster: &'a str, more: &[&'a str]) -> Call<'a> {
        let words = ["kubernetes", "configure", cluster, "--api-server", SERVER];
        user.infra(words.iter().chain(more)).env("PATH", self.kubectl.path())
    }

    /// The same as what it does to a kubeconfig with this text.
    fn configure_file(&self, user: &User, text: &str, more: &[&str]) -> (Ran, String) {
        let file = user.home().join("config");
        fs::write(&file, text).expect("a kubeconfig");
        let ran = self.configure(user, "prod", more).env(KUBECONFIG, &file).run();
        (ran, fs::read_to_string(&file).expect("a kubeconfig"))
    }

    #[track_caller]
    fn kubectl(&self, user: &User, list: Option<&OsStr>, words: &[&str]) -> Ran {
        let variables: Vec<_> = list.map(|list| (KUBECONFIG, list)).into_iter().collect();
        self.kubectl.start(user, words, &variables).wait().expect(0)
    }

    /// `kubectl`'s reading of the kubeconfig, secrets included.
    fn view(&self, user: &User, list: Option<&OsStr>) -> Value {
        self.kubectl(user, list, &["config", "view", "--raw", "--output", "json"]).json()
    }

    /// A `PATH` with this script as `kubectl`; `KUBECTL` in it is the real one.
    fn path_with(&self, user: &User, script: &str) -> PathBuf {
        let folder = user.home().join("bin");
        fs::create_dir_all(&folder).expect("a folder");
        let path = self.kubectl.path();
        let real = format!("{}/kubectl", path.split(':').next().expect("a folder"));
        let script = format!("#!/bin/sh\n{}\n", script.replace("KUBECTL", &real));
        fs::write(folder.join("kubectl"), script).expect("a script");
        fs::set_permissions(folder.join("kubectl"), Permissions::from_mode(0o755)).expect("a script");
        folder
    }
}

/// The entries of the list except `prod`.
fn others<'a>(view: &'a Value, list: &str) -> Vec<&'a Value> {
    view[list].as_array().into_iter().flatten().filter(|entry| entry["name"] != "prod").collect()
}

fn named<'a>(view: &'a Value, list: &str) -> &'a Value {
    let entries = view[list].as_array().expect("a list");
    entries.iter().find(|entry| entry["name"] == "prod").expect("an entry that is called prod")
}

#[test]
fn configure_adds_what_was_asked_for_and_nothing_else() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    setup.configure(&alice, "prod", &[]).run().expect(0);
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": infra_harness::program::built("infra"),
        "args": ["--server", setup.daemon.origin(), "kubernetes", "token", "--cluster", "prod"],
        "env": [{ "name": "INFRA_HOME", "value": alice.infra_home() }],
        "interactiveMode": "Never",
        "provideClusterInfo": false,
    });
    let mut expected = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "",
        "clusters": [{ "name": "prod", "cluster": { "server": SERVER } }],
        "users": [{ "name": "prod", "user": { "exec": exec } }],
        "contexts": [{ "name": "prod", "context": { "cluster": "prod", "user": "prod" } }],
    });
    assert_eq!(setup.view(&alice, None), expected);

    let authority = setup.provider.authority_file();
    let options =
        ["--namespace", "web", "--use", "--certificate-authority", &authority.display().to_string()];
    setup.configure(&alice, "prod", &options).run().expect(0);
    let pem = fs::read(&authority).expect("a certificate");
    expected["clusters"][0]["cluster"]["certificate-authority-data"] = json!(BASE64_STANDARD.encode(pem));
    expected["contexts"][0]["context"]["namespace"] = json!("web");
    expected["current-context"] = json!("prod");
    assert_eq!(setup.view(&alice, None), expected);

    let file = alice.home().join(".kube/config");
    assert_eq!(file.metadata().expect("a kubeconfig").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("a kubeconfig");
    setup.configure(&alice, "prod", &options).run().expect(0);
    assert_eq!(fs::read_to_string(&file).expect("a kubeconfig"), text, "a second run changes something");
}

#[test]
fn other_entries_stay_as_they_are() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let (first, second) = (alice.home().join("a.yaml"), alice.home().join("b.yaml"));
    let paths = std::env::join_paths([&first, &second]).expect("paths");
    let list = Some(paths.as_os_str());
    fs::write(&second, OTHERS).expect("a kubeconfig");
    let before = setup.view(&alice, list);
    let configure = |server: &str| {
        let words = ["kubernetes", "configure", "prod", "--use", "--api-server", server];
        let call = alice.infra(words).env("PATH", setup.kubectl.path());
        call.env(KUBECONFIG, &paths).run().expect(0);
        let view = setup.view(&alice, list);
        for section in ["clusters", "users", "contexts"] {
            assert_eq!(others(&view, section), others(&before, section), "{section}");
        }
        assert_eq!(view["current-context"], "prod");
        view
    };

    configure(SERVER);
    assert!(!first.exists());
    setup.kubectl(&alice, list, &["config", "set-context", "prod", "--namespace=web"]);
    setup.kubectl(&alice, list, &["config", "set", "clusters.prod.proxy-url", "http://proxy.test"]);
    setup.kubectl(&alice, list, &["config", "use-context", "old"]);
    let view = configure("https://moved.test:6443");
    assert_eq!(named(&view, "contexts")["context"]["namespace"], "web");
    assert_eq!(named(&view, "clusters")["cluster"]["proxy-url"], "http://proxy.test");
    assert_eq!(named(&view, "clusters")["cluster"]["server"], "https://moved.test:6443");
    for (kind, entry) in [("delete-context", "prod"), ("delete-cluster", "prod"), ("delete-user", "prod")] {
        setup.kubectl(&alice, list, &["config", kind, entry]);
    }
    configure(SERVER);
}

#[test]
fn own_entries_keep_what_the_user_added() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let file = alice.home().join(".kube/config");
    let text = || fs::read_to_string(&file).expect("a kubeconfig");
    setup.configure(&alice, "prod", &[]).run().expect(0);
    let home = alice.infra_home().display().to_string();
    assert!(text().contains(&home), "{}", text());
    let edited = text()
        .replace(
            "    server: ",
            "    proxy-url: socks5://localhost:1080\n    insecure-skip-tls-verify: true\n    server: ",
        )
        .replace("      env:\n", "      env:\n      - name: HTTPS_PROXY\n        value: http://proxy.test\n")
        .replace(&home, "/elsewhere");
    fs::write(&file, edited).expect("a kubeconfig");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("a kubeconfig");

    let authority = setup.provider.authority_file().display().to_string();
    setup.configure(&alice, "prod", &["--certificate-authority", &authority]).run().expect(0);
    let kept = text();
    assert!(["proxy-url", "HTTPS_PROXY", &home].iter().all(|text| kept.contains(text)), "{kept}");
    assert!(!kept.contains("insecure") && !kept.contains("/elsewhere"), "{kept}");
    assert_eq!(file.metadata().expect("a kubeconfig").permissions().mode() & 0o777, 0o640);
    // The sessions are in ~/.infra, which needs no variable.
    setup.configure(&alice, "prod", &[]).without("INFRA_HOME").run().expect(0);
    assert!(!text().contains("INFRA_HOME") && text().contains("HTTPS_PROXY"), "{}", text());
}

#[test]
fn foreign_entries_are_replaced_only_with_force() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let cluster = "clusters:\n- {name: prod, cluster: {server: 'https://other.test', insecure-skip-tls-verify: true}}\n";
    let user = "users:\n- name: prod\n  user:\n    token: canary-token-of-another-cluster\n";
    let context = "contexts:\n- name: prod\n  context: {cluster: prod, user: admin, namespace: other.test}\n";
    for (kind, entry) in [("cluster", cluster), ("user", user), ("context", context)] {
        let before = format!("apiVersion: v1\nkind: Config\n{entry}# as it was\n");
        let (refused, after) = setup.configure_file(&alice, &before, &["--use"]);
        refused
            .expect(1)
            .stderr_contains(&[&format!("{kind} `prod`"), "--context", "--force"])
            .stdout_is_empty();
        assert_eq!(after, before);

        let (forced, after) = setup.configure_file(&alice, &before, &["--force"]);
        forced.expect(0);
        assert!(
            ["canary", "other.test", "insecure", "admin"].iter().all(|old| !after.contains(old)),
            "{after}"
        );
    }
    // An administrator's entry for the same API server.
    let shared = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- {{name: prod, cluster: {{server: '{SERVER}'}}}}\n"
    );
    setup.configure_file(&alice, &shared, &[]).0.expect(0);
}

#[test]
fn new_entries_go_where_kubectl_puts_them() {
    let Some(setup) = Setup::start() else { return };
    let empty = "apiVersion: v1\nkind: Config\n";
    let current = "apiVersion: v1\nkind: Config\ncurrent-context: other\n";
    for (list, existing) in [
        (Some(""), vec![]),
        (Some("a"), vec![]),
        (Some("a:b"), vec![]),
        (Some("a:b"), vec![("b", empty)]),
        (Some("a:b"), vec![("a", ""), ("b", current)]),
        (Some(":a::b:"), vec![("b", empty)]),
        (Some("a:folder/deep/b"), vec![]),
    ] {
        let (by_infra, by_kubectl) = (setup.alice(), User::new());
        let list = list.map(OsStr::new);
        for user in [&by_infra, &by_kubectl] {
            for (name, text) in &existing {
                fs::write(user.home().join(name), text).expect("a kubeconfig");
            }
        }
        let call = setup.configure(&by_infra, "prod", &["--use"]);
        list.into_iter().fold(call, |call, list| call.env(KUBECONFIG, list)).run().expect(0);
        let kubectl = |words: &[&str]| setup.kubectl(&by_kubectl, list, words);
        kubectl(&["config", "set-cluster", "prod", "--server", SERVER]);
        kubectl(&["config", "set-credentials", "prod", "--exec-command=x", "--exec-api-version=v"]);
        kubectl(&["config", "set-context", "prod", "--cluster=prod", "--user=prod"]);
        kubectl(&["config", "use-context", "prod"]);
        assert_eq!(with_server(by_infra.home()), with_server(by_kubectl.home()), "{list:?} {existing:?}");
        assert_eq!(setup.view(&by_infra, list)["current-context"], "prod", "{list:?} {existing:?}");
    }
    let alice = setup.alice();
    let named = ["--kubeconfig", "named", "--use"];
    setup.configure(&alice, "prod", &named).env(KUBECONFIG, "other").run().expect(0);
    assert_eq!(with_server(alice.home()), BTreeMap::from([("named".to_owned(), 1)]));
}

/// The files below a home that name the API server, and how often.
fn with_server(home: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path)
                && text.contains(SERVER)
            {
                let name = path.strip_prefix(home).expect("below it").display().to_string();
                found.insert(name, text.matches(SERVER).count());
            }
        }
    }
    found
}

#[test]
fn concurrent_configures_lose_no_entry() {
    // Each waits for the others, 20 s at most.
    const CONCURRENT: usize = 4;
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let file = alice.home().join("config");
    fs::write(&file, OTHERS).expect("a kubeconfig");
    let running: Vec<_> = (0..CONCURRENT)
        .map(|number| {
            let name = format!("prod-{number}");
            setup.configure(&alice, "prod", &["--context", &name]).env(KUBECONFIG, &file).start()
        })
        .collect();
    for running in running {
        running.wait().expect(0);
    }
    let view = setup.view(&alice, Some(file.as_os_str()));
    for section in ["clusters", "users", "contexts"] {
        assert_eq!(view[section].as_array().expect("a list").len(), CONCURRENT + 2, "{section}");
    }
    assert_eq!(view["current-context"], "old");
}

#[test]
fn odd_names_reach_kubectl_unchanged() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let names = ["yes", "~", "1e3", "x:", "=", "#x", "a,b", "\"x\"", "a\\b", "a.b", "{x", "%x", "user", "x="];
    for name in names {
        setup.configure(&alice, name, &["--namespace", name]).run().expect(0);
    }
    let view = setup.view(&alice, None);
    for list in ["clusters", "users", "contexts"] {
        let found = view[list].as_array().expect("a list").iter().filter_map(|entry| entry["name"].as_str());
        assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(names), "{list}");
    }
    for (user, context) in view["users"]
        .as_array()
        .into_iter()
        .zip(view["contexts"].as_array())
        .flat_map(|(users, contexts)| users.iter().zip(contexts))
    {
        assert_eq!(user["user"]["exec"]["args"][5], user["name"]);
        assert_eq!(context["context"]["namespace"], context["name"]);
    }
    for option in ["-x", "--kubeconfig=x", "two words", ""] {
        setup.configure(&alice, "prod", &["--context", option]).run().expect(2);
    }
}

#[test]
fn missing_kubectl_prints_yaml_that_kubectl_reads() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let authority = setup.provider.authority_file().display().to_string();
    let options = ["--namespace", "a: \"b\" #c", "--certificate-authority", &authority, "--use"];
    let empty = alice.home().join("empty");
    fs::create_dir(&empty).expect("a folder");
    // A program of the working directory would be anybody's.
    fs::write(alice.home().join("kubectl"), "").expect("a file");
    let missing = setup.configure(&alice, "yes", &options).env("PATH", format!("{}:.:", empty.display()));
    let missing = missing.run().expect(1).stderr_contains(&["kubectl is not in PATH", "~/.kube/infra.yaml"]);
    assert!(!alice.home().join(".kube").exists());
    let file = alice.home().join("infra.yaml");
    fs::write(&file, &missing.stdout).expect("a kubeconfig");
    setup.configure(&alice, "yes", &options).run().expect(0);
    assert_eq!(setup.view(&alice, Some(file.as_os_str())), setup.view(&alice, None), "{missing}");

    // Beside another kubeconfig, as the hint says.
    let others = alice.home().join("others");
    fs::write(&others, OTHERS).expect("a kubeconfig");
    let list = std::env::join_paths([&others, &file]).expect("paths");
    let list = Some(list.as_os_str());
    let minified =
        ["--context=yes", "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"];
    assert_eq!(setup.kubectl(&alice, list, &minified).stdout, SERVER);
}

#[test]
fn failing_kubectl_leaves_the_current_context() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let file = alice.home().join("config");
    for failing in ["view", "set-credentials", "set-cluster", "set-context", "use-context"] {
        fs::write(&file, OTHERS).expect("a kubeconfig");
        let script = "printf 'error: the disk \\033[2Jis full\\n' >&2; exit 1";
        let path = setup
            .path_with(&alice, &format!("test \"$2\" = {failing} && {{ {script}; }}\nexec KUBECTL \"$@\""));
        let failed =
            setup.configure(&alice, "prod", &["--use"]).env("PATH", path).env(KUBECONFIG, &file).run();
        let reason = format!("`kubectl config {failing}` failed: the disk [2Jis full");
        failed.expect(1).stderr_contains(&["cannot change the kubeconfig", &reason]).stdout_is_empty();
        let minified = ["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"];
        assert_eq!(
            setup.kubectl(&alice, Some(file.as_os_str()), &minified).stdout,
            "https://old.test",
            "{failing}"
        );
    }
    for (text, reason) in [("a: [\n", "yaml: line"), ("clusters: {a: b}\n", "cannot unmarshal object")] {
        let (failed, after) = setup.configure_file(&alice, text, &[]);
        failed.expect(1).stderr_contains(&[reason]).stdout_is_empty();
        assert_eq!(after, text);
    }
    // As kubectl did before 1.30.
    let script = "case \"$*\" in *--exec-interactive-mode*) echo 'error: unknown flag' >&2; exit 1;; esac\nexec KUBECTL \"$@\"";
    let old = setup.path_with(&alice, script);
    let failed = setup.configure(&alice, "prod", &["--force"]).env("PATH", old).run();
    failed.expect(1).stderr_contains(&["install kubectl 1.30 or newer"]);
    assert!(!alice.home().join(".kube").exists());
    let folder = alice.home().join("bin");
    fs::set_permissions(folder.join("kubectl"), Permissions::from_mode(0o644)).expect("a script");
    setup
        .configure(&alice, "prod", &[])
        .env("PATH", folder)
        .run()
        .expect(1)
        .stderr_contains(&["Permission denied"]);
}

#[test]
fn authority_reaches_a_kubectl_that_reads_it_twice() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let (file, authority) = (alice.home().join("config"), Authority::new());
    let ca = authority.file();
    let pem = fs::read(&ca).expect("a certificate");
    let more = ["--certificate-authority", ca.to_str().expect("a path"), "--use"];
    let configure = |script: &str| {
        fs::write(&file, OTHERS).expect("a kubeconfig");
        let path = setup.path_with(&alice, script);
        let path = format!("{}:{}", path.display(), "/usr/bin:/bin");
        setup.configure(&alice, "prod", &more).env("PATH", path).env(KUBECONFIG, &file).run()
    };
    // As the kubectl of the Google Cloud SDK.
    configure("for word; do case $word in --certificate-authority=*) cat \"${word#*=}\" >/dev/null;; esac; done\nexec KUBECTL \"$@\"").expect(0);
    let view = setup.view(&alice, Some(file.as_os_str()));
    let stored = &named(&view, "clusters")["cluster"]["certificate-authority-data"];
    assert_eq!(*stored, json!(BASE64_STANDARD.encode(&pem)));

    let lost = configure(
        "case $* in *set-cluster*) exec KUBECTL config set-cluster --server=https://k8s.test:6443 -- prod;; esac\nexec KUBECTL \"$@\"",
    );
    lost.expect(1).stdout_is_empty().stderr_contains(&["did not store the certification authority"]);
    let view = setup.view(&alice, Some(file.as_os_str()));
    assert_eq!(view["current-context"], "old");
}

#[test]
fn hanging_kubectl_is_ended() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let path = setup.path_with(&alice, "echo $$ >~/hanging\nexec sleep 600");
    let failed =
        setup.configure(&alice, "prod", &["--use"]).env("PATH", format!("{}:/bin", path.display())).run();
    failed.expect(1).stderr_contains(&["`kubectl config view` did not finish within 20 s"]).stdout_is_empty();
    let id = fs::read_to_string(alice.home().join("hanging")).expect("it ran");
    // A process that has ended has no command line, even if nothing has waited for it.
    let ended = || fs::read(format!("/proc/{}/cmdline", id.trim())).map_or(true, |words| words.is_empty());
    assert!(wait::until(Duration::from_secs(30), || ended().then_some(())).is_some());
}

/// As the kubectl of the Google Cloud CLI does, to learn the version of the cluster.
#[test]
fn kubectl_that_runs_the_plugin_is_not_kept_waiting() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let script = format!(
        "case \"$*\" in *set-context*) '{}' --server '{}' kubernetes token --cluster prod >'{}' || exit 9 ;; esac\nexec KUBECTL \"$@\"",
        infra_harness::program::built("infra").display(),
        setup.daemon.origin(),
        alice.home().join("credential").display(),
    );
    let path = setup.path_with(&alice, &script);
    setup.configure(&alice, "prod", &[]).env("PATH", path).run().expect(0);
    let credential = fs::read_to_string(alice.home().join("credential")).expect("the plugin ran");
    assert!(credential.contains("ExecCredential"), "{credential}");
}

#[test]
fn lock_of_another_program_is_waited_for() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let (file, lock) = (alice.home().join("config"), alice.home().join("config.lock"));
    fs::write(&file, OTHERS).expect("a kubeconfig");
    fs::write(&lock, "").expect("a lock");
    let path = setup.path_with(&alice, "echo $2 >>~/commands\nexec KUBECTL \"$@\"");
    let configure = || setup.configure(&alice, "prod", &[]).env("PATH", &path).env(KUBECONFIG, &file);
    let running = configure().start();
    let tried = || fs::read_to_string(alice.home().join("commands")).unwrap_or_default();
    let is_waiting = || (tried().matches("set-credentials").count() > 1).then_some(());
    assert!(wait::until(Duration::from_secs(30), is_waiting).is_some(), "{}", tried());
    fs::remove_file(&lock).expect("a lock");
    running.wait().expect(0);

    fs::write(&lock, "").expect("a lock");
    fs::write(&file, OTHERS).expect("a kubeconfig");
    configure()
        .run()
        .expect(1)
        .stderr_contains(&["config.lock: file exists", "remove that file"])
        .stdout_is_empty();
    assert_eq!(fs::read_to_string(&file).expect("a kubeconfig"), OTHERS);
}

#[test]
fn unknown_home_is_not_the_working_directory() {
    let Some(setup) = Setup::start() else { return };
    let alice = setup.alice();
    let call = || setup.configure(&alice, "prod", &[]).env("HOME", "relative");
    call()
        .run()
        .expect(1)
        .stderr_contains(&["your home directory is not known", "--kubeconfig"])
        .stdout_is_empty();
    assert_eq!(with_server(alice.home()), BTreeMap::new());
    call().env(KUBECONFIG, alice.home().join("config")).run().expect(0);
    assert!(alice.home().join("config").exists() && !alice.home().join("relative").exists());
}
