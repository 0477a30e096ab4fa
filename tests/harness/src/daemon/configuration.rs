//! The configuration of a test daemon, as the YAML that an operator writes.

use std::fmt::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::provider::{CLIENT_ID, CLIENT_SECRET, Provider};

/// Login rate limits for [`Configuration::more`], high enough for tests with many logins from one address.
pub const MANY_LOGINS: &str = "limits: {loginStartsPerMinute: 60000, failedLoginsPerMinute: 60000}\n";

/// The configuration file. Tests can change every field before it is written.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub listen: String,
    pub public_urls: Vec<String>,
    pub data_dir: PathBuf,
    pub root_key: PathBuf,
    pub redirect_ports: Vec<u16>,
    pub providers: Vec<ProviderEntry>,
    /// The root keys in YAML, instead of the single native key at `root_key`.
    pub root_keys: Option<String>,
    /// A mapping such as `{lifetime: 12h}`, omitted if empty.
    pub sessions: String,
    /// Lines to append unchanged.
    pub more: String,
    /// The whole file, for tests of broken files.
    pub verbatim: Option<String>,
    directory: PathBuf,
}

/// One provider of the file.
#[derive(Debug, Clone)]
pub struct ProviderEntry {
    pub name: String,
    pub kind: String,
    pub issuer: String,
    pub client_id: String,
    /// The client secret, written to a file of mode 0600 that the configuration references.
    pub client_secret: String,
    /// A reference to use instead.
    pub client_secret_reference: Option<String>,
    pub client_authentication: String,
    pub signing_algorithms: String,
    pub allow: String,
    pub authority_file: PathBuf,
}

impl ProviderEntry {
    /// A provider named `okta` with the correct secret, open to everyone.
    pub fn of(provider: &Provider) -> Self {
        Self {
            name: "okta".to_owned(),
            kind: "oidc".to_owned(),
            issuer: provider.issuer().to_owned(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            client_secret_reference: None,
            client_authentication: "client_secret_basic".to_owned(),
            signing_algorithms: "[RS256, ES256, EdDSA]".to_owned(),
            allow: "everyone".to_owned(),
            authority_file: provider.authority_file(),
        }
    }

    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

impl Configuration {
    /// `ports`: the daemon's own port first, then the redirect ports.
    pub(super) fn new(directory: &Path, ports: &[u16], providers: Vec<ProviderEntry>) -> Self {
        let (port, redirect_ports) = ports.split_first().expect("a port to listen on");
        Self {
            listen: format!("127.0.0.1:{port}"),
            public_urls: vec![format!("https://127.0.0.1:{port}")],
            data_dir: directory.join("data"),
            root_key: directory.join("keys/root.key"),
            redirect_ports: redirect_ports.to_vec(),
            root_keys: None,
            providers,
            sessions: String::new(),
            more: String::new(),
            verbatim: None,
            directory: directory.to_owned(),
        }
    }

    /// Returns the text of the file, and writes the client secrets next to it.
    pub fn to_yaml(&self) -> String {
        if let Some(verbatim) = &self.verbatim {
            return verbatim.clone();
        }
        create_private_directory(self.root_key.parent().expect("the key lies in a directory"));
        let mut yaml = format!(
            "version: 1\nlisten: \"{}\"\npublicURLs: [{}]\ndataDir: {}\nproviders:\n",
            self.listen,
            self.public_urls.join(", "),
            self.data_dir.display()
        );
        for provider in &self.providers {
            self.add_provider(&mut yaml, provider);
        }
        let native = format!("\n  - {{kind: native, config: {{path: {}}}}}", self.root_key.display());
        let root_keys = self.root_keys.as_ref().map_or(native, |root_keys| format!(" {root_keys}"));
        let _ = writeln!(yaml, "keys:{root_keys}");
        // With an external root key, the default is one file for all daemons of the host.
        if self.root_keys.is_some() && !self.more.contains("rollbackGuardFile") {
            let _ = writeln!(
                yaml,
                "rollbackGuardFile: {}",
                self.root_key.with_file_name("infrad.rollback-guard").display()
            );
        }
        if !self.sessions.is_empty() {
            let _ = writeln!(yaml, "sessions: {}", self.sessions);
        }
        yaml.push_str(&self.more);
        yaml
    }

    fn add_provider(&self, yaml: &mut String, provider: &ProviderEntry) {
        let file = || {
            let secret = self.directory.join(format!("{}.secret", provider.name));
            write_private_file(&secret, &provider.client_secret);
            format!("file:{}", secret.display())
        };
        let quoted = |reference: &String| format!("\"{reference}\"");
        let reference = provider.client_secret_reference.as_ref().map_or_else(file, quoted);
        let ports: Vec<String> = self.redirect_ports.iter().map(u16::to_string).collect();
        for (line, value) in [
            ("  - name", provider.name.clone()),
            ("    kind", provider.kind.clone()),
            ("    issuer", provider.issuer.clone()),
            ("    clientID", provider.client_id.clone()),
            ("    clientSecret", reference),
            ("    clientAuthentication", provider.client_authentication.clone()),
            ("    redirectPorts", format!("[{}]", ports.join(", "))),
            ("    signingAlgorithms", provider.signing_algorithms.clone()),
            ("    allow", provider.allow.clone()),
            ("    caFile", provider.authority_file.display().to_string()),
        ] {
            let _ = writeln!(yaml, "{line}: {value}");
        }
    }
}

fn create_private_directory(path: &Path) {
    std::fs::create_dir_all(path).expect("a directory for the key");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("a private directory");
}

fn write_private_file(path: &Path, contents: &str) {
    use std::io::Write as _;
    std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
