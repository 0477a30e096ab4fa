//! Fenced blocks with special treatment: unusual content, tested elsewhere or not runnable; each with the
//! reason.
//!
//! `tests/*/pages.rs` passes all other blocks to `infrad check` (yaml) or runs them (sh, console).

use super::{Block, Page};

/// How the tests treat a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// A configuration of `infrad`, or sections of one.
    Configuration,
    /// Keys of a provider.
    Provider,
    /// Commands that a test types while it follows the page.
    Typed,
    /// Another test runs or compares it.
    Elsewhere(&'static str),
    /// Output, or input of another program: not run.
    Shown(&'static str),
}

use Treatment::{Elsewhere, Provider, Shown};

/// All blocks of a page that are not listed separately.
const ALL: &str = "*";

const LISTED: &[(&str, &str, Treatment)] = &[
    ("README.md", "cargo build", Elsewhere("tests/cli/dev.rs, with the programs that are built already")),
    ("CONTRIBUTING.md", "cargo fmt --check", Elsewhere("`tests/run` makes the same checks")),
    ("docs/api.md", "{\"type\":\"about:blank\"", Shown("an answer")),
    ("docs/api.md", "{\"delegation\"", Shown("a part of an answer")),
    ("docs/audit.md", "{\"schema\":1", Shown("a line of a log")),
    ("docs/how-infra-works.md", "infra login", Shown("the line of an operator; README.md has it as well")),
    ("docs/audit.md", "/var/log/infrad/audit.jsonl: an", Shown("what `infrad audit verify` prints")),
    (
        "docs/https.md",
        "infrad ca rotate ",
        Elsewhere("tests/daemon/https.rs: its lines are choices, and the second refuses to follow the first"),
    ),
    ("docs/https.md", "a new CA takes over", Shown("what `infrad ca rotate` prints")),
    ("docs/infra.md", ALL, Elsewhere("tests/cli/help.rs")),
    ("docs/infrad.md", ALL, Shown("examples of the help; tests/daemon/pages.rs parses them")),
    ("docs/install.md", ALL, Elsewhere("tests/packages/debian.rs, in a Debian without anything else")),
    (
        "docs/install.md",
        "curl --proto",
        Shown("there is no release yet; tests/packages/install_script.rs runs its script"),
    ),
    ("docs/install.md", "cargo install", Shown("a release build; `deploy/packages` makes the same")),
    ("docs/jwt.md", "{\"iss\"", Shown("claims: daemon/src/jwt/tests.rs")),
    ("docs/jwt.md", "# /etc/kubernetes", Shown("a file of the API server; marked as untested")),
    ("docs/jwt.md", "import ssl", Shown("ran by hand: PyJWT 2.15")),
    ("docs/jwt.md", "const keys", Shown("ran by hand: jose 6")),
    ("docs/jwt.md", "bao auth", Shown("commands of OpenBao; ran by hand: OpenBao 2.7")),
    ("docs/jwt.md", "bao write identity/group name", Shown("commands of OpenBao; ran by hand: OpenBao 2.7")),
    ("docs/jwt.md", "infra token --audience openbao", Shown("a login at OpenBao; ran by hand: OpenBao 2.7")),
    (
        "docs/jwt.md",
        "# one of http_filters",
        Shown("part of a configuration of Envoy; ran by hand: Envoy 1.40"),
    ),
    ("docs/jwt.md", "$ infrad status", Elsewhere("tests/daemon/signed_tokens.rs")),
    ("docs/jwt.md", "infrad key tokens rotate", Elsewhere("tests/daemon/signed_tokens.rs")),
    ("docs/tools.md", "infra delegate --audience git --name", Shown("needs an image with an agent")),
    ("docs/keys.md", "root key   a file", Shown("a picture")),
    ("docs/keys.md", "$ infrad key rewrap", Elsewhere("tests/daemon/keys.rs")),
    ("docs/keys.md", "$ infrad key rotate", Elsewhere("tests/daemon/keys.rs")),
    ("docs/keys.md", "$ infrad backup", Elsewhere("tests/daemon/backups.rs")),
    ("docs/keys.md", "$ infrad restore", Elsewhere("tests/daemon/backups.rs")),
    ("docs/keys.md", "store  ", Shown("what `infrad key status` prints: tests/packages/booted.rs")),
    ("docs/keys.md", "infrad key recovery create", Elsewhere("tests/daemon/backups.rs")),
    ("docs/keys.md", "infrad backup verify", Elsewhere("tests/daemon/backups.rs")),
    (
        "docs/keys.md",
        "(umask 377",
        Elsewhere("tests/daemon/backups.rs, tests/daemon/keys.rs, tests/packages/booted.rs"),
    ),
    (
        "docs/keys.md",
        "infrad as-service check --live",
        Elsewhere("tests/packages/booted.rs, in a Debian that systemd boots"),
    ),
    ("docs/keys.md", "systemctl stop infrad.socket", Elsewhere("tests/daemon/installed.rs")),
    ("docs/keys.md", "printf '[Service]", Elsewhere("tests/daemon/installed.rs")),
    (
        "docs/kubernetes-install.md",
        ALL,
        Elsewhere("tests/helm/helm.rs, apart from what the page marks as `not run`"),
    ),
    ("docs/kubernetes.md", "apiVersion: v1", Shown("a file of the API server, which the tests have not got")),
    ("docs/kubernetes.md", "--authentication-token-webhook", Shown("options of the API server")),
    ("docs/kubernetes.md", "apiVersion: rbac", Shown("a manifest for a cluster")),
    ("docs/kubernetes.md", "infra kubernetes configure", Elsewhere("tests/cli/kubernetes.rs")),
    ("docs/login.md", "$ infra login", Elsewhere("tests/cli/login.rs")),
    ("docs/login.md", "export BROWSER", Shown("a setting; tests/cli/surroundings.rs tries such lists")),
    ("docs/login.md", "infra login --force", Elsewhere("tests/cli/login.rs")),
    ("docs/macos.md", "xattr", Shown("a program of macOS")),
    (
        "docs/macos.md",
        "cargo build",
        Elsewhere("tests/cli/dev.rs, on Linux, with the programs that are built already"),
    ),
    ("docs/managed-kubernetes.md", "config:", Elsewhere("tests/helm/helm.rs")),
    ("docs/moving.md", "systemctl disable --now", Elsewhere("tests/daemon/installed.rs")),
    ("docs/moving.md", "cd /", Elsewhere("tests/daemon/installed.rs")),
    ("docs/moving.md", "systemctl daemon-reload", Elsewhere("tests/daemon/installed.rs")),
    ("docs/monitoring.md", "$ curl --max-time", Elsewhere("tests/daemon/monitoring.rs")),
    ("docs/okta.md", "allow: {groups", Provider),
    (
        "docs/protect-a-service.md",
        "(umask 377; set -C; openssl rand",
        Shown("for root, with the unit's user; docs/services.md has the same command"),
    ),
    ("docs/protect-a-service.md", "infrad as-service", Elsewhere("tests/packages/booted.rs has its like")),
    ("docs/protect-a-service.md", "nginx -t", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/protect-a-service.md", "$ curl --fail", Shown("a refusal, which ends with another exit code")),
    ("docs/protect-a-service.md", "X-Infra-User", Shown("headers: tests/daemon/reverse_proxies.rs")),
    ("docs/protect-a-service.md", "INFRA_SERVER=", Elsewhere("tests/daemon/examples.rs")),
    ("docs/protect-a-service.md", "$ printf", Elsewhere("tests/daemon/examples.rs")),
    (
        "docs/protect-a-service.md",
        "mkdir -p target/try",
        Elsewhere("nginx_in_front_of_infrad_dev_works_as_written"),
    ),
    ("docs/protect-a-service.md", "nginx -p", Elsewhere("nginx_in_front_of_infrad_dev_works_as_written")),
    (
        "docs/protect-a-service.md",
        "cat >target/try/show.py",
        Elsewhere("nginx_in_front_of_infrad_dev_works_as_written"),
    ),
    (
        "docs/protect-a-service.md",
        "token=$(infra token --audience reports) &&",
        Elsewhere("nginx_in_front_of_infrad_dev_works_as_written"),
    ),
    (
        "docs/production-checklist.md",
        "infrad as-service",
        Elsewhere("tests/packages/booted.rs, in a Debian that systemd boots"),
    ),
    (
        "docs/production-checklist.md",
        "#!/bin/sh",
        Shown("a script for cron; tests/packages/booted.rs types both commands"),
    ),
    ("docs/providers.md", "$ infrad check --live", Elsewhere("tests/daemon/providers.rs")),
    ("docs/proxies.md", "# /etc/nginx", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/proxies.md", "# in location", Shown("an addition to the block for nginx")),
    ("docs/proxies.md", "# /etc/caddy", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/proxies.md", "# /etc/traefik/traefik.yaml", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/proxies.md", "# /etc/traefik/dynamic.yaml", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/proxies.md", "# /etc/envoy", Elsewhere("tests/daemon/reverse_proxies.rs")),
    ("docs/releasing.md", ALL, Elsewhere("tests/packages/release.rs makes and verifies such signatures")),
    ("docs/revalidation.md", "$ infrad check --live", Elsewhere("tests/daemon/keys.rs")),
    (
        "docs/runbooks.md",
        "install -o infrad",
        Shown("it needs the user of the package, and a secret to paste"),
    ),
    (
        "docs/runbooks.md",
        "$ infrad as-service check --live",
        Elsewhere("tests/packages/booted.rs, in a Debian that systemd boots"),
    ),
    ("docs/runbooks.md", "$ infrad check --live", Elsewhere("tests/daemon/several_daemons.rs")),
    ("docs/runbooks.md", "$ infrad status |", Elsewhere("tests/daemon/several_daemons.rs")),
    ("docs/runbooks.md", "$ infrad serve", Elsewhere("tests/daemon/several_daemons/keys.rs")),
    ("docs/runbooks.md", "journalctl", Shown("it needs the journal of a unit")),
    ("docs/runbooks.md", "$ infra login", Elsewhere("tests/cli/sessions.rs: here the operator was faster")),
    (
        "docs/runbooks.md",
        "test ! -e /etc/infra/root.key",
        Elsewhere("tests/daemon/installed.rs, tests/daemon/keys.rs"),
    ),
    ("docs/runbooks.md", "$ infrad as-service key recovery test", Elsewhere("tests/daemon/installed.rs")),
    (
        "docs/runbooks.md",
        "systemctl stop infrad.socket infrad.service &&",
        Elsewhere("tests/daemon/installed.rs"),
    ),
    (
        "docs/secrets.md",
        "apiVersion: rbac",
        Shown("a manifest for a cluster; the chart has the same, judged by tests/helm"),
    ),
    ("docs/secrets.md", "path \"secret", Shown("a policy of Vault")),
    ("docs/secrets.md", "$ infrad check --live", Elsewhere("tests/daemon/keys.rs")),
    ("docs/sessions.md", "ID          OPENED", Shown("a table that `infra sessions` prints")),
    ("docs/sessions.md", "ID            OPENED", Shown("a table that `infra sessions` prints")),
    ("docs/sessions.md", "ID          USER", Shown("a table that `infrad sessions list` prints")),
    ("docs/several-daemons.md", "$ createuser", Shown("for an administrator of PostgreSQL")),
    ("docs/several-daemons.md", "hostssl", Shown("a line of pg_hba.conf")),
    ("docs/several-daemons.md", "publicURLs:", Shown("part of a configuration: config/tests/database.rs")),
    ("docs/several-daemons.md", "defaults", Elsewhere("tests/peers/src/haproxy.rs, which reads it")),
    ("docs/several-daemons.md", "auth_type", Shown("settings of PgBouncer")),
    ("docs/several-daemons.md", "database:", Shown("part of a configuration: config/tests/database.rs")),
    ("docs/several-daemons.md", "$ ", Elsewhere("tests/daemon/several_daemons.rs")),
    ("docs/tools.md", "ID            OPENED", Shown("a table that `infra sessions` prints")),
    ("docs/tools.md", "'@infra helper docker", Shown("a command of PowerShell; marked as untested")),
    ("docs/tools.md", "$ git fetch", Elsewhere("tests/cli/helper.rs")),
    ("docs/tools.md", "{\"credHelpers\"", Shown("a file of Docker: tests/cli/helper.rs")),
    ("docs/tools.md", "common --credential_helper", Shown("a line of .bazelrc")),
    (
        "docs/tutorial.md",
        "cargo build",
        Elsewhere("tests/cli/pages.rs, with the programs that are built already"),
    ),
    ("docs/tutorial.md", "$ target/debug/infrad dev", Elsewhere("tests/cli/pages.rs")),
    ("docs/validate-a-token.md", ALL, Elsewhere("tests/daemon/examples.rs")),
    ("docs/windows.md", ALL, Shown("commands of Windows")),
    ("docs/workloads.md", "permissions:", Shown("part of a workflow of GitHub Actions")),
    ("docs/workloads.md", "report:", Shown("part of a pipeline of GitLab")),
    ("docs/workloads.md", "volumes:", Shown("part of a pod")),
    ("docs/workloads.md", "answer=$(printf", Elsewhere("tests/daemon/workloads.rs")),
    ("docs/workloads.md", "id_token=", Elsewhere("tests/daemon/workloads.rs")),
    ("docs/workloads.md", "export INFRA_SERVER", Elsewhere("tests/cli/workloads.rs")),
    ("docs/workloads.md", "token=$(infra", Elsewhere("tests/cli/workloads.rs")),
    ("docs/workloads.md", "printf 'Authorization", Shown("a request to a service of the reader")),
    ("docs/workloads.md", "$ infrad check --live", Elsewhere("tests/daemon/workloads.rs")),
    ("docs/workloads.md", "infrad sessions revoke", Elsewhere("tests/hostile/workloads.rs")),
    ("docs/workstation.md", "ok     files", Shown("what `infra doctor` prints: tests/cli/doctor.rs")),
    ("docs/workstation.md", "export INFRA_KEY_EXCHANGE", Elsewhere("tests/cli/man_in_the_middle.rs")),
    ("docs/workstation.md", "{\"schema\":1,\"ok\"", Shown("an answer: tests/cli/doctor.rs")),
    ("docs/wsl.md", "$ infra login", Shown("the line of an operator; README.md has it as well")),
    ("docs/wsl.md", "$env:", Shown("commands of Windows")),
    ("docs/wsl.md", "$token", Shown("commands of Windows")),
];

impl Block {
    /// How the tests treat this block.
    pub fn treatment(&self) -> Treatment {
        let lines = LISTED.iter().filter(|(page, _, _)| *page == self.page);
        let by_itself = lines.clone().find(|(_, first, _)| *first != ALL && self.is_listed_as(first));
        match (
            by_itself.or_else(|| lines.clone().find(|(_, first, _)| *first == ALL)),
            self.language.as_str(),
        ) {
            (Some((_, _, treatment)), _) => *treatment,
            (None, "yaml") => Treatment::Configuration,
            (None, "sh" | "console") => Treatment::Typed,
            (None, language) => {
                panic!("{}: a block of `{language}` is not listed:\n{}", self.page, self.text)
            }
        }
    }

    fn is_listed_as(&self, first: &str) -> bool {
        self.first_line().trim_start().starts_with(first)
    }
}

/// Returns list entries that match no block.
pub fn unused_entries(pages: &[Page]) -> Vec<String> {
    let blocks: Vec<Block> = pages.iter().flat_map(Page::blocks).collect();
    let is_there = |page: &str, first: &str| {
        blocks.iter().any(|block| block.page == page && (first == ALL || block.is_listed_as(first)))
    };
    let in_vain = LISTED.iter().filter(|(page, first, _)| !is_there(page, first));
    in_vain.map(|(page, first, _)| format!("{page}: {first}")).collect()
}
