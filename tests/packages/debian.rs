//! The Debian packages on a minimal Debian, following the page: install, configure, run as the unit does, sign in from
//! another account, upgrade, remove, purge. systemd does not run there, so the test does what its unit says. Also
//! covers the files that a container holds.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::browser::{Browser, follow};
use infra_harness::ports::Ports;
use infra_harness::program::{Running, built, files_with_modes};
use infra_harness::{SYSTEMD_RUN, skip, wait};
use infra_peers::certified_provider::{CLIENT_SECRET, CertifiedProvider, Paths};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::fresh_root::{FreshRoot, Isolation};
use super::page::{Page, check_links};
use super::unit::Unit;

pub(crate) const SERVER: &str = "infra.example.com";
const BOUND: Duration = Duration::from_mins(1);
/// The headings of the page, in order. This file runs each of them, except the last, which `tarball` runs.
const PARTS: [&str; 11] = [
    "The daemon on Debian",
    "Configuration",
    "Start",
    "Every day",
    "The client on Debian",
    "Upgrade",
    "As the service",
    "While the daemon is stopped",
    "Removal",
    "The units",
    "From the tarball",
];

#[test]
fn install_page_works_on_fresh_debian() {
    let name = "debian::install_page_works_on_fresh_debian";
    let Isolation::Inside(root) = Isolation::enter(name) else { return };
    let page = Page::read();
    assert_eq!(page.headings(), PARTS, "a part of the page is not run here");
    let provider = CertifiedProvider::start(Paths::Custom).expect("it was there outside");
    root.make_package("0.1.0-1");
    root.make_package("0.1.0-2");
    root.resolve(SERVER, "127.0.0.1");
    root.trust(&std::fs::read_to_string(provider.authority_file()).expect("the provider's authority"));
    root.run("useradd --create-home alice").expect(0);
    let before = root.files();

    install(&root, &page);
    configure(&root, &page, &provider);
    let mut unit = Unit::of(&root, "infrad");
    let fingerprint = start(&root, &page, &mut unit);
    let session = sign_in(&root, &page, &provider, &fingerprint);
    operate(&root, &page, &unit);
    upgrade(&root, &page, &mut unit, &session);
    restore(&root, &page, &mut unit);
    remove(&root, &page, &mut unit, &before);
}

fn install(root: &FreshRoot, page: &Page) {
    root.run_blocks(page.blocks("The daemon on Debian"));
    root.run("test \"$(stat -c '%U %a %s' /etc/infra/root.key)\" = 'root 400 32'").expect(0);
    root.run("zcat /usr/share/man/man8/infrad-serve.8.gz | grep -q infrad").expect(0);
    root.run("test -s /usr/share/bash-completion/completions/infrad").expect(0);
    root.run("! ls /usr/share/man/man8/infrad-dev.8.gz").expect(0);
    let links = check_links(&root.path("usr/share/doc/infrad"), |_| true);
    assert!(links > 100, "{links}");
    // The distribution's own systemd, which also defines the bounds in the page.
    let units = "/lib/systemd/system/infrad.service /lib/systemd/system/infrad.socket";
    let ran = root.run(&format!("systemd-analyze verify --man=no {units}")).expect(0);
    assert_eq!(ran.stderr, "", "{ran}");
    let judge = "systemd-analyze security --offline=true --no-pager";
    let ran = root.run(&format!("{judge} --threshold=20 infrad.service")).expect(0);
    let rated = "Overall exposure level for infrad.service: ";
    let (_, rating) = ran.stdout.split_once(rated).unwrap_or_else(|| panic!("no rating: {ran}"));
    assert!(rating.starts_with("1.1 OK"), "{ran}");
    let units = page.text("The units");
    assert!(units.contains("`systemd-analyze security infrad.service` rates it 1.1 of 10"), "{units}");
    // Packages built here must install on every release that the page names. Ubuntu 22.04 has the oldest glibc of
    // these.
    let newest = "dpkg -s infrad infra | sed -n 's/^Depends: .*libc6 (>= \\([0-9.]*\\)).*/\\1/p' | sort -V | tail -n 1";
    root.run(&format!("dpkg --compare-versions \"$({newest})\" le 2.35")).expect(0);
    root.run("dpkg -s infrad | grep -q '^Depends: .*libssl3'").expect(0);
    root.run(&format!("{judge} --threshold=5 infrad.service")).expect(1);
}

fn configure(root: &FreshRoot, page: &Page, provider: &CertifiedProvider) {
    root.write("root/client-secret", CLIENT_SECRET);
    let values = "server=infra.example.com issuer=https://example.okta.com client=0oa1b2c3";
    let ours = format!("server={SERVER} issuer={} client=infra-basic", provider.issuer());
    let blocks = page.blocks("Configuration");
    assert!(blocks.iter().any(|block| block.contains(values)), "the values of the page have changed");
    for block in blocks {
        root.run(&block.replace(values, &ours)).expect(0);
    }
    root.run("test \"$(stat -c '%U %a' /etc/infra/okta-client-secret)\" = 'infrad 400'").expect(0);
    root.run("test ! -e /root/client-secret").expect(0);
}

/// Starts the daemon on port 443 without capabilities. Returns its fingerprint.
fn start(root: &FreshRoot, page: &Page, unit: &mut Unit) -> String {
    let blocks = page.blocks("Start");
    let [enable, fingerprint] = blocks.as_slice() else { panic!("another start: {blocks:?}") };
    // systemd does not run here, so `unit.start` starts the daemon.
    assert_eq!(enable.trim(), "systemctl enable --now infrad.socket infrad.service");
    root.run(&enable.replace(" --now", "")).expect(0);
    root.run("systemctl is-enabled infrad.socket infrad.service").expect(0);
    unit.start(root);
    let status = unit.process_status();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(field("CapEff:"), Some("0000000000000000"), "{status}");
    assert_eq!(field("CapBnd:"), Some("0000000000000000"), "{status}");
    assert_eq!(field("NoNewPrivs:"), Some("1"), "{status}");
    let user = root.run("id -u infrad").expect(0).stdout.trim().to_owned();
    assert_eq!(field("Uid:"), Some([user.as_str(); 4].join("\t").as_str()), "{status}");
    root.write_program("usr/local/bin/systemd-run", SYSTEMD_RUN);
    let ran = root.run(fingerprint).expect(0);
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    let found = words.iter().find(|word| word.starts_with("sha256:"));
    (*found.unwrap_or_else(|| panic!("no fingerprint: {ran}"))).to_owned()
}

/// Requests the address as the user who runs it, and saves the redirect's target.
const FIRST_STEP: &str = r#"#!/bin/bash
address=${1#http://}
host=${address%%/*}
exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
printf 'GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${address#*/}" "$host" >&3
sed -n 's/^[Ll]ocation: //p' <&3 | tr -d '\r\n' >"$HOME/url.new" && mv "$HOME/url.new" "$HOME/url"
"#;

/// Signs in from another account with the page's command. Returns the session ID.
fn sign_in(root: &FreshRoot, page: &Page, provider: &CertifiedProvider, fingerprint: &str) -> String {
    root.run_blocks(page.blocks("The client on Debian"));
    // Its two pages link to others, which only the package of the daemon has.
    let pictures = check_links(&root.path("usr/share/doc/infra"), |link| {
        Path::new(link).extension().is_none_or(|it| it != "md")
    });
    assert!(pictures > 4, "{pictures}");
    // Only the user who runs `infra` may open its loopback address. This test's browser follows the redirect's target.
    root.write_program("usr/local/bin/browser", FIRST_STEP);
    let line = page.console("The client on Debian").replace("sha256:…", fingerprint);
    let url = root.path("home/alice/url");
    let browser = Browser {
        user: "alice".to_owned(),
        authorities: vec![provider.authority_file()],
        ..Browser::default()
    };
    let browsing = std::thread::spawn(move || {
        let url = wait::until(BOUND, || std::fs::read_to_string(&url).ok()).expect("a browser was opened");
        follow(&url, &browser).map(|followed| followed.status)
    });
    let ran = root.run(&format!("runuser -u alice -- env HOME=/home/alice BROWSER=browser {line}")).expect(0);
    assert_eq!(browsing.join().expect("a browser").expect("pages"), 200, "{ran}");
    let session = status(root);
    assert_eq!(session["user"]["subject"], "alice", "{session}");
    assert_eq!(session["trust"], "pinned", "{session}");
    session["session"]["id"].as_str().expect("a session").to_owned()
}

fn operate(root: &FreshRoot, page: &Page, unit: &Unit) {
    let blocks = page.blocks("Every day");
    let output: String = blocks.iter().map(|block| root.run(block).expect(0).stdout).collect();
    assert!(output.contains("ready") && output.contains("alice"), "{output}");
    root.run_blocks(page.blocks("As the service"));
    // Root owns the root key but not the data, so neither account alone can do what the daemon does.
    for typed in ["infrad backup verify /var/backups/infrad/infrad.backup", "infrad check --live"] {
        for user in ["", "runuser -u infrad -- "] {
            let ran = root.run(&format!("{user}{typed}")).expect(1);
            ran.stderr_contains(&[
                "is a systemd credential of infrad.service",
                &format!("`{}infrad as-service {}`", if user.is_empty() { "" } else { "sudo " }, &typed[7..]),
            ]);
        }
    }
    for typed in ["status", "key status", "fingerprint", "ca print"] {
        root.run(&format!("infrad {typed}")).expect(0);
    }
    root.run("grep -q login_finished /var/log/infrad/audit.jsonl").expect(0);
    // The account that signed in can read none of the daemon's files.
    for place in
        ["/var/lib/infrad", "/var/log/infrad", "/etc/infra/root.key", "/etc/infra/okta-client-secret"]
    {
        root.run(&format!("runuser -u alice -- test ! -r {place}")).expect(0);
    }
    unit.calls_only_what_is_allowed(root);
}

fn upgrade(root: &FreshRoot, page: &Page, unit: &mut Unit, session: &str) {
    let kept = "cat /etc/infra/root.key /etc/infra/infrad.yaml | sha256sum";
    let before = root.run(kept).expect(0).stdout;
    root.run_blocks(page.blocks("Upgrade"));
    root.run("test \"$(dpkg-query -f '${Version}' -W infrad)\" = 0.1.0-2").expect(0);
    assert_eq!(root.run(kept).expect(0).stdout, before, "key or configuration changed");
    // What the package has systemd do.
    unit.stop();
    unit.start(root);
    assert_eq!(status(root)["session"]["id"], session, "another session than before the upgrade");
}

/// Restores on a host that has only the package, the configuration and the root key.
fn restore(root: &FreshRoot, page: &Page, unit: &mut Unit) {
    let blocks = page.blocks("While the daemon is stopped");
    let [block] = blocks.as_slice() else { panic!("another restoring: {blocks:?}") };
    let (stop, rest) = block.split_once('\n').expect("three commands");
    let (command, start) = rest.trim().rsplit_once('\n').expect("three commands");
    assert_eq!(stop, "systemctl stop infrad.socket infrad.service");
    assert_eq!(start, "systemctl start infrad");
    unit.stop();
    root.run("rm -r /var/lib/infrad /var/lib/infrad-rollback-guard").expect(0);
    root.run(command).expect(0).stderr_contains(&["revoked its 1 session"]);
    // An account that cannot read the root key must neither damage nor create anything.
    for user in ["", "runuser -u infrad -- "] {
        let ran = root.run(&format!("{user}infrad fingerprint")).expect(1);
        let ran = ran.stderr_contains(&["this command must run as the service does"]);
        assert!(!ran.stderr.contains("recovery"), "{ran}");
    }
    unit.start(root);
    let ended = root.run("runuser -u alice -- env HOME=/home/alice infra status --json").expect(3).json();
    assert_eq!(ended["state"], "revoked", "{ended}");
    root.run("rm /usr/local/bin/systemd-run").expect(0);
}

fn remove(root: &FreshRoot, page: &Page, unit: &mut Unit, before: &[String]) {
    let blocks = page.blocks("Removal");
    let [remove, purge, last] = blocks.as_slice() else { panic!("another removal: {blocks:?}") };
    unit.stop();
    root.run(remove).expect(0);
    root.run("test -e /var/lib/infrad/keys.json -a -e /etc/infra/infrad.yaml -a ! -e /usr/bin/infrad")
        .expect(0);

    root.run(purge).expect(0).stderr_contains(&["/etc/infra/root.key is left"]);
    root.run("! getent passwd infrad && ! getent group infrad").expect(0);
    // Files that the page's other commands created belong to the operator.
    root.run("apt purge infra && rm -r /var/backups/infrad /usr/local/bin/browser").expect(0);
    let left = |before: &[String]| -> Vec<String> {
        root.files().into_iter().filter(|file| !before.contains(file)).collect()
    };
    assert_eq!(left(before), ["/etc/infra", "/etc/infra/okta-client-secret", "/etc/infra/root.key"]);
    root.run(last).expect(0);
    assert_eq!(left(before), Vec::<String>::new());

    // A configured daemon may keep data elsewhere, so purge keeps its root key. A package that was never configured has
    // no data.
    for (set_up, kept) in [("touch /etc/infra/infrad.yaml", true), ("true", false)] {
        root.run_blocks(page.blocks("Upgrade"));
        root.run(set_up).expect(0);
        root.run(purge).expect(0);
        root.run(&format!("test {}-e /etc/infra/root.key", if kept { "" } else { "! " })).expect(0);
        root.run("rm -rf /etc/infra").expect(0);
    }
}

fn status(root: &FreshRoot) -> Value {
    let ran = root.run("runuser -u alice -- env HOME=/home/alice infra status --json").expect(0);
    let status = ran.json();
    assert_eq!(status["state"], "active", "{ran}");
    status
}

/// No container engine is available here: the script of the recipe's last stage lays out the same files, and they
/// become `/`.
#[test]
fn container_contents_run_unprivileged_without_shell() {
    if !rustix::process::geteuid().is_root() {
        return skip::report("only root can give another user a root of their own");
    }
    let folder = TempDir::with_prefix("infra-container-").expect("a temporary directory");
    let image = folder.path().join("image");
    let mut command = Command::new(workspace().join("deploy/container/assemble"));
    command.arg(built("infrad")).arg(&image).stdin(Stdio::null());
    let ran = Running::start(command, "assemble".to_owned(), None, BOUND).wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let recipe =
        std::fs::read_to_string(workspace().join("deploy/container/Containerfile")).expect("the recipe");
    for line in
        ["FROM scratch", "RUN deploy/container/assemble target/daemon/infrad /image", "USER 65532:65532"]
    {
        assert!(recipe.lines().any(|found| found == line), "{line}");
    }
    let names = files_with_modes(&image);
    let programs: Vec<&str> = names.lines().filter(|line| line.starts_with("0755 file ")).collect();
    let (libraries, programs): (Vec<&str>, Vec<&str>) =
        programs.iter().partition(|line| line.contains(".so"));
    assert_eq!(programs, ["0755 file usr/bin/infrad"], "{names}");
    assert!(libraries.len() < 8 && !names.contains("/sh\n"), "{names}");

    let ports = Ports::reserve(1);
    let port = ports.all()[0];
    let configuration = format!(
        "version: 1\nlisten: 127.0.0.1:{port}\npublicURLs: [https://127.0.0.1:{port}]\ndataDir: /var/lib/infrad\n\
         rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard\nkeys: [{{kind: native, config: {{path: /run/root.key}}}}]\n\
         providers: [{{name: okta, kind: okta, issuer: https://example.okta.com, clientID: a, clientSecret: env:A}}]\n"
    );
    std::fs::write(image.join("etc/infra/infrad.yaml"), configuration).expect("the configuration");
    std::fs::create_dir(image.join("run")).expect("a directory");
    let key = image.join("run/root.key");
    std::fs::write(&key, [7; 32]).expect("a root key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o400)).expect("a mode");
    chown(&key, Some(65532), Some(65532)).expect("an owner");
    let mut command = Command::new("chroot");
    command.args(["--userspec=65532:65532", "--groups="]).arg(&image).args(["/usr/bin/infrad", "serve"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("INFRAD_CONFIG", "/etc/infra/infrad.yaml");
    command.stdin(Stdio::null());
    let mut running = Running::start(command, "infrad serve".to_owned(), None, BOUND);
    running.wait_for("that it serves", |stdout, _| stdout.contains("users sign in with").then_some(()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.process())).expect("a process");
    assert!(status.contains("\nUid:\t65532\t65532\t65532\t65532\n"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    running.signal(Signal::TERM);
    assert_eq!(running.wait_for_end(BOUND), Some(Some(0)), "{}", running.output());
}

/// Returns the workspace's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
