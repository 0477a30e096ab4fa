//! The kubeconfig that `infra kubernetes configure` and `kubectl` change by turns.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use infra_harness::daemon::Daemon;
use infra_harness::kubernetes_api::Kubectl;
use infra_harness::login;
use infra_harness::program::{Ran, User};
use infra_harness::provider::Provider;
use infra_harness::services;
use serde_json::Value;

const KUBECONFIG: &str = "KUBECONFIG";
const SERVER: &str = "https://k8s.test:6443";

/// As people write it by hand.
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

    /// What `kubectl` takes the kubeconfig to say, secrets included.
    fn view(&self, user: &User, list: Option<&OsStr>) -> Value {
        self.kubectl(user, list, &["config", "view", "--raw", "--output", "json"]).json()
    }
}

fn configure(user: &User, list: Option<&OsStr>, server: &str) -> Ran {
    let call = user.infra(["kubernetes", "configure", "prod", "--use", "--api-server", server]);
    let call = list.into_iter().fold(call, |call, list| call.env(KUBECONFIG, list));
    call.run().expect(0)
}

/// The entries of the list that are not called `prod`.
fn others<'a>(view: &'a Value, list: &str) -> Vec<&'a Value> {
    view[list].as_array().into_iter().flatten().filter(|entry| entry["name"] != "prod").collect()
}

#[test]
fn other_clusters_stay_as_they_are_whoever_changes_the_file() {
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
    // Byte for byte, but for what is new.
    let text = std::fs::read_to_string(&second).expect("a kubeconfig");
    let kept = OTHERS.replace("current-context: old", "");
    assert!(kept.lines().all(|line| text.contains(line)) && !first.exists(), "{text}");

    // `kubectl` writes it anew in its own way, and adds to the entry.
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
    entries.iter().find(|entry| entry["name"] == "prod").unwrap_or_else(|| panic!("no prod in {view}"))
}

#[test]
fn what_is_new_goes_where_kubectl_would_put_it() {
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

/// The files below a home that name our API server, and nothing of `infra`'s own or of a cache.
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
