//! A complete cluster: provider, daemon and API server as documented, and users who sign in.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Flags, Kubectl, KubernetesApi, documentation, private_file};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login;
use infra_harness::program::{Ran, User};
use infra_harness::provider::{Misbehaviour, Person, Provider};
use infra_harness::services::{CREDENTIAL, credential_in};

/// The cache time in the documented flags.
const CACHE_TTL: Duration = Duration::from_secs(1);

pub struct Cluster {
    pub kubectl: Kubectl,
    pub provider: Provider,
    pub daemon: Daemon,
    pub api: KubernetesApi,
    pub flags: Flags,
}

impl Cluster {
    /// Starts a cluster. Returns `None` and reports a skip if `kubectl` is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(str::to_owned)
    }

    /// Like [`Self::start`], with a change to the daemon's `services`.
    pub fn start_with(change: impl FnOnce(&str) -> String) -> Option<Self> {
        let kubectl = Kubectl::find()?;
        let provider = Provider::start();
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
        let services = documentation::services(&credential_in(daemon.directory()));
        daemon.change(|configuration| configuration.more = change(&services));
        daemon.start_again();
        let authority = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
        let authority = private_file(daemon.directory(), "infra-ca.pem", &authority);
        let file = documentation::webhook(&daemon.origin(), &authority.display().to_string(), CREDENTIAL);
        let webhook = private_file(daemon.directory(), "infra-webhook.yaml", &file);
        let audiences = vec![documentation::AUDIENCE.to_owned()];
        let flags = Flags { webhook, cache_ttl: CACHE_TTL, audiences };
        let api = KubernetesApi::start(&kubectl, flags.clone());
        Some(Self { kubectl, provider, daemon, api, flags })
    }

    /// Restarts the API server at another address, with other flags.
    pub fn restart_api(&mut self, change: impl FnOnce(&mut Flags)) {
        change(&mut self.flags);
        self.api = KubernetesApi::start(&self.kubectl, self.flags.clone());
    }

    /// Signs in `person` with extra claims, and configures `kubectl` for the cluster.
    #[track_caller]
    pub fn sign_in(&self, person: &str, claims: &[(&'static str, Value)]) -> User {
        let user = User::new();
        self.provider.person(Person::SignsIn(person.to_owned()));
        let claims = claims.to_vec();
        self.provider.misbehave(Misbehaviour::default().id_token(move |draft| {
            for (name, value) in &claims {
                draft.set_claim(name, value.clone());
            }
        }));
        login::succeed(&user, &self.daemon, &self.provider);
        self.provider.behave();
        self.configure(&user, "prod");
        user
    }

    /// Configures `kubectl` for the API server, with tokens for this service.
    #[track_caller]
    pub fn configure(&self, user: &User, service: &str) -> Ran {
        let (address, authority) = self.place();
        let words = ["kubernetes", "configure", service, "--use", "--api-server", &address];
        let more = ["--certificate-authority", &authority];
        user.infra(words.iter().chain(&more)).env("PATH", self.kubectl.path()).run().expect(0)
    }

    /// The address of the API server, and its CA file.
    pub fn place(&self) -> (String, String) {
        (self.api.address(), self.api.authority_file().display().to_string())
    }

    pub fn run(&self, user: &User, words: &[&str]) -> Ran {
        self.kubectl.run(user, words)
    }

    /// The identity of `user` according to the API server.
    #[track_caller]
    pub fn whoami(&self, user: &User) -> Value {
        let ran = self.run(user, &["auth", "whoami", "--output", "json"]).expect(0);
        ran.json()["status"]["userInfo"].clone()
    }

    /// Runs `kubectl` with a token in its kubeconfig, and no plugin.
    pub fn run_with_token(&self, user: &User, token: &str, words: &[&str]) -> Ran {
        let (address, authority) = self.place();
        run_with_token(&self.kubectl, user, (&address, &authority), token, words)
    }
}

/// Like [`Cluster::run_with_token`], for any API server address and CA file.
pub fn run_with_token(
    kubectl: &Kubectl,
    user: &User,
    (address, authority): (&str, &str),
    token: &str,
    words: &[&str],
) -> Ran {
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": address, "certificate-authority": authority } }],
        "users": [{ "name": "c", "user": { "token": token } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    let file = private_file(user.home(), "with-token.json", &document.to_string()).display().to_string();
    let words: Vec<&str> = ["--kubeconfig", &file].iter().chain(words).copied().collect();
    kubectl.run(user, &words)
}
