//! The kubeconfig that `infra kubernetes configure` and `kubectl` change alternately.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use infra_harness::daemon::Daemon;
use infra_harness::kubernetes_api::Kubectl;
use infra_harness::login;
use infra_harness::program::{Ran, User};
use infra_harness::provider::Provider;
use infra_harness::services;
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

struct World {
    kubectl: Kubectl,
    daemon: Daemon,
    provider: Provider,
}

impl World {
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

    #[track_caller]
    fn kubectl(&self, user: &User, list: Option<&OsStr>, words: &[&str]) -> Ran {
        let variables: Vec<_> = list.map(|list| (KUBECONFIG, list)).into_iter().collect();
        self.kubectl.start(user, words, &variables).wait().expect(0)
    }

    /// `kubectl`'s reading of the kubeconfig, secrets included.
    fn view(&self, user: &User, list: Option<&OsStr>) -> Value {
        self.kubectl(user, list, &["config", "view", "--raw", "--output", "json"]).json()
    }
}

fn configure(user: &User, list: Option<&OsStr>, server: &str) -> Ran {
    let call = user.infra(["kubernetes", "configure", "prod", "--use", "--api-server", server]);
    let call = list.into_iter().fold(call, |call, list| call.env(KUBECONFIG, list));
    call.run().expect(0)
}

/// The entries of the list except `prod`.
fn others<'a>(view: &'a Value, list: &str) -> Vec<&'a Value> {
    view[list].as_array().into_iter().flatten().filter(|entry| entry["name"] != "prod").collect()
}

#[test]
fn other_clusters_survive_changes_by_infra_and_kubectl() {
    let Some(world) = World::start() else { return };
    let alice = world.alice();
    let (first, second) = (alice.home().join("a.yaml"), alice.home().join("b.yaml"));
    let list = std::env::join_paths([&first, &second]).expect("paths");
    let list = Some(list.as_os_str());
    std::fs::write(&second, OTHERS).expect("a kubeconfig");
    let before = world.view(&alice, list);
    let is_unharmed = || {
        let view = world.view(&alice, list);
        for section in ["clusters", "users", "contexts"] {
            assert_eq!(others(&view, section), others(&before, section), "{section}");
        }
        assert_eq!(view["current-context"], "prod");
        view
    };

    configure(&alice, list, SERVER);
    is_unharmed();
    // Unchanged byte for byte, except for the additions.
    let text = std::fs::read_to_string(&second).expect("a kubeconfig");
    let kept = OTHERS.replace("current-context: old", "");
    assert!(kept.lines().all(|line| text.contains(line)) && !first.exists(), "{text}");

    // `kubectl` rewrites the file in its own format, and extends the entry.
    world.kubectl(&alice, list, &["config", "set-context", "prod", "--namespace=web"]);
    world.kubectl(&alice, list, &["config", "set", "clusters.prod.proxy-url", "http://proxy.test"]);
    world.kubectl(&alice, list, &["config", "use-context", "old"]);
    let rewritten = std::fs::read_to_string(&second).expect("a kubeconfig");
    assert_ne!(rewritten, text);
    configure(&alice, list, SERVER);
    let view = is_unharmed();
    assert_eq!(named(&view, "contexts")["context"]["namespace"], "web");
    assert_eq!(named(&view, "clusters")["cluster"]["proxy-url"], "http://proxy.test");
    configure(&alice, list, "https://moved.test:6443");
    assert_eq!(named(&is_unharmed(), "clusters")["cluster"]["server"], "https://moved.test:6443");

    for (kind, entry) in [("delete-context", "prod"), ("delete-cluster", "prod"), ("delete-user", "prod")] {
        world.kubectl(&alice, list, &["config", kind, entry]);
    }
    configure(&alice, list, SERVER);
    is_unharmed();
}

fn named<'a>(view: &'a Value, list: &str) -> &'a Value {
    let entries = view[list].as_array().expect("a list");
    entries.iter().find(|entry| entry["name"] == "prod").expect("an entry that is called prod")
}

#[test]
fn new_entries_go_where_kubectl_puts_them() {
    let Some(world) = World::start() else { return };
    let empty = "apiVersion: v1\nkind: Config\n";
    let current = "apiVersion: v1\nkind: Config\ncurrent-context: other\n";
    for (list, there) in [
        (None, vec![]),
        (Some(""), vec![]),
        (Some("a"), vec![]),
        (Some("a:b"), vec![]),
        (Some("a:b"), vec![("a", empty)]),
        (Some("a:b"), vec![("b", empty)]),
        (Some("a:b"), vec![("a", ""), ("b", current)]),
        (Some("a:b"), vec![("a", current), ("b", empty)]),
        (Some(":a::b:"), vec![("b", empty)]),
        (Some("b:a:b"), vec![]),
        (Some("folder/deep/a:b"), vec![]),
        (Some("a:folder/deep/b"), vec![]),
    ] {
        let (by_infra, by_kubectl) = (world.alice(), User::new());
        let list = list.map(OsStr::new);
        for (user, (name, text)) in
            [&by_infra, &by_kubectl].iter().flat_map(|user| there.iter().map(move |file| (user, file)))
        {
            std::fs::write(user.home().join(name), text).expect("a kubeconfig");
        }
        configure(&by_infra, list, SERVER);
        let kubectl = |words: &[&str]| world.kubectl(&by_kubectl, list, words);
        kubectl(&["config", "set-cluster", "prod", "--server", SERVER]);
        kubectl(&["config", "set-credentials", "prod", "--exec-command=x", "--exec-api-version=v"]);
        kubectl(&["config", "set-context", "prod", "--cluster=prod", "--user=prod"]);
        kubectl(&["config", "use-context", "prod"]);

        assert_eq!(
            with_our_server(by_infra.home()),
            with_our_server(by_kubectl.home()),
            "{list:?} {there:?}"
        );
        for user in [&by_infra, &by_kubectl] {
            let view = world.view(user, list);
            assert_eq!(view["current-context"], "prod", "{list:?} {there:?}");
            assert_eq!(named(&view, "contexts")["context"]["cluster"], "prod");
        }
    }
}

#[test]
fn concurrent_processes_add_all_their_contexts() {
    const AT_ONCE: usize = 16;
    let Some(world) = World::start() else { return };
    let alice = world.alice();
    let file = alice.home().join("config");
    std::fs::write(&file, OTHERS).expect("a kubeconfig");
    let list = Some(file.as_os_str());
    let running: Vec<_> = (0..AT_ONCE)
        .map(|number| {
            let name = format!("prod-{number}");
            let words = ["kubernetes", "configure", "prod", "--api-server", SERVER, "--context", &name];
            alice.infra(words).env(KUBECONFIG, &file).start()
        })
        .collect();
    for running in running {
        running.wait().expect(0);
    }
    let view = world.view(&alice, list);
    for section in ["clusters", "users", "contexts"] {
        assert_eq!(view[section].as_array().expect("a list").len(), AT_ONCE + 2, "{section}");
    }
    assert_eq!(view["current-context"], "old");
}

/// The files below a home that name our API server, except `infra`'s own files and caches.
fn with_our_server(home: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let name = path.strip_prefix(home).expect("below it").display().to_string();
                if text.contains(SERVER) {
                    found.insert(name, text.matches(SERVER).count());
                }
            }
        }
    }
    found
}

#[test]
fn kubectl_finds_names_that_yaml_could_misread() {
    let Some(world) = World::start() else { return };
    let alice = world.alice();
    let names = [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "n",
        "true",
        "False",
        "null",
        "~",
        "1e3",
        "0x10",
        "0o17",
        "017",
        ".inf",
        "NaN",
        ".nan",
        "12:30:45",
        "2001-01-01",
        "1_000",
        "=",
        "<<",
        "?x",
        ":x",
        "x:",
        "a:b",
        "#x",
        "a#b",
        "!x",
        "&x",
        "*x",
        "%x",
        "@x",
        "`x",
        "{x",
        "[x]",
        "'x'",
        "\"x\"",
        "|",
        ">",
        "a\\b",
        "\\n",
        ",",
        "+1",
        "null:",
        "0b1",
        "e1",
        "1.5",
    ];
    for name in names {
        let words = ["kubernetes", "configure", "prod", "--api-server", SERVER];
        alice.infra(words.iter().chain(&["--context", name, "--namespace", name])).run().expect(0);
    }
    let view = world.view(&alice, None);
    let sorted = BTreeSet::from(names);
    for list in ["clusters", "users", "contexts"] {
        let found = view[list].as_array().expect("a list").iter().filter_map(|entry| entry["name"].as_str());
        assert_eq!(found.collect::<BTreeSet<_>>(), sorted, "{list}");
    }
    for context in view["contexts"].as_array().expect("a list") {
        assert_eq!(context["context"]["namespace"], context["name"]);
    }
}

/// Kubeconfigs as other programs and users write them, all with the same entries.
fn shapes() -> Vec<(&'static str, String)> {
    let document: Value = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "other",
        "clusters": [{ "name": "other", "cluster": { "server": "https://other.test" } }],
        "users": [{ "name": "other", "user": { "token": "canary-token-of-another-cluster" } }],
        "contexts": [{ "name": "other", "context": { "cluster": "other", "user": "other" } }],
    });
    let plain = "\
apiVersion: v1
kind: Config
clusters:
- name: other
  cluster:
    server: https://other.test
users:
- name: other
  user:
    token: canary-token-of-another-cluster
contexts:
- name: other
  context:
    cluster: other
    user: other
current-context: other
";
    let with = |from: &str, to: &str| {
        assert!(plain.contains(from));
        plain.replace(from, to)
    };
    vec![
        ("plain", plain.to_owned()),
        ("JSON", document.to_string()),
        ("JSON in lines", format!("{document:#}\n")),
        ("lines that end as on Windows", plain.replace('\n', "\r\n")),
        ("no end of the last line", plain.trim_end().to_owned()),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("the start of a document", format!("---\n{plain}")),
        ("the end of a document", format!("{plain}...\n")),
        ("comments at the end", format!("{plain}# the end\n    # of it all\n\n\n")),
        ("lists that are moved in", plain.replace("\n  ", "\n      ").replace("\n- ", "\n    - ")),
        ("a text in lines", with("token: canary", "token: |-\n      canary")),
        ("a folded text", with("token: canary", "token: >-\n      canary")),
        ("quotes", with("name: other", "\"name\": 'other'")),
        ("an anchor", with("  cluster:\n    server", "  cluster: &it\n    server")),
        ("an empty list", format!("extensions: []\n{plain}preferences: {{}}\n")),
        ("keys that only others know", format!("x-tool:\n  - {{clusters: [], users: null}}\n{plain}")),
        ("a list of users without any", with(OTHER_USER, "users: []\n")),
        ("users that are nothing", with(OTHER_USER, "users: null\n")),
        ("users without a word", with(OTHER_USER, "users:\n")),
        ("no users", with(OTHER_USER, "")),
        (
            "the current context twice as long",
            with("current-context: other", "current-context: \"oth\\\n  er\""),
        ),
    ]
}

const OTHER_USER: &str = "users:\n- name: other\n  user:\n    token: canary-token-of-another-cluster\n";

#[test]
fn configure_preserves_every_kubeconfig_style() {
    let Some(world) = World::start() else { return };
    let alice = world.alice();
    for (what, text) in shapes() {
        let file = alice.home().join("shape.yaml");
        std::fs::write(&file, &text).expect("a kubeconfig");
        let list = Some(file.as_os_str());
        let before = world.view(&alice, list);
        assert_eq!(before["current-context"], "other", "{what}");
        configure(&alice, list, SERVER);
        let after = world.view(&alice, list);
        let written = std::fs::read_to_string(&file).expect("a kubeconfig");
        assert_eq!(after["current-context"], "prod", "{what}");
        for section in ["clusters", "users", "contexts"] {
            assert_eq!(others(&after, section), others(&before, section), "{what}\n{written}");
            assert_eq!(named(&after, section)["name"], "prod");
        }
        assert_eq!(named(&after, "clusters")["cluster"]["server"], SERVER, "{what}\n{written}");
    }
}
