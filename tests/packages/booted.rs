//! An operator's walk through a Debian that systemd boots (systemd-nspawn): install, one mistake of each kind, start,
//! rotate, back up, restore, recover, remove. The transcript goes to `target/operators-walk.txt` for a human reader.

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::{Ran, Running};
use infra_harness::{peers, wait};
use infra_peers::certified_provider::{CLIENT_SECRET, CertifiedProvider, Paths};

use super::debian::{SERVER, workspace};
use super::fresh_root::{FreshRoot, Isolation};
use super::page::Page;

const BOOT: Duration = Duration::from_mins(3);
const COMMAND: Duration = Duration::from_mins(3);
const STOP: &str = "systemctl stop infrad.socket infrad.service; systemctl reset-failed";
const RESTART: &str = "systemctl reset-failed; systemctl restart infrad";

/// A booted Debian and the transcript of its commands.
struct Booted {
    machine: std::process::Child,
    /// Process ID of its init, as seen from this namespace.
    first: String,
    transcript: String,
}

impl Booted {
    fn boot(root: &FreshRoot) -> Self {
        // The booted system mounts its own `/proc`.
        let unmounted = Command::new("umount").arg(root.path("proc")).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "/proc cannot be unmounted");
        let folder = root.path("");
        let name =
            folder.parent().and_then(|parent| parent.file_name()).expect("a name").display().to_string();
        let mut command = Command::new("systemd-nspawn");
        command.arg(format!("--machine={name}"));
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--directory"]);
        command.arg(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let machine = command.spawn().expect("systemd-nspawn starts");
        let children = format!("/proc/{0}/task/{0}/children", machine.id());
        let mut booted = Self { machine, first: String::new(), transcript: String::new() };
        // The first child prepares the container, then init replaces it.
        let is_up = wait::until(BOOT, || {
            let children = std::fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.clone_into(&mut booted.first);
            let ran = booted.run("systemctl is-system-running");
            ["running", "degraded"].contains(&ran.stdout.trim()).then_some(())
        });
        assert!(is_up.is_some(), "systemd did not boot: {}", booted.run("systemctl list-jobs"));
        booted
    }

    fn run(&self, line: &str) -> Ran {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]);
        command.args(["sh", "-c", &format!("cd /root\n{line}")]);
        command.env_clear().env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Running::start(command, line.to_owned(), None, COMMAND).wait()
    }

    fn note(&mut self, what: &str) {
        let _ = writeln!(self.transcript, "\n### {what}\n");
        self.save();
    }

    /// Runs a line as root and adds it, with its output, to the transcript.
    #[track_caller]
    fn exec(&mut self, line: &str, code: i32) -> Ran {
        let ran = self.run(line);
        let both = format!("{}{}", ran.stdout, ran.stderr);
        let _ = writeln!(self.transcript, "# {line}\n{both}[{}]\n", ran.code.unwrap_or(-1));
        self.save();
        ran.expect(code)
    }

    /// Like `exec`, and asserts that the output contains each of `words`.
    #[track_caller]
    fn expect(&mut self, line: &str, code: i32, words: &[&str]) -> Ran {
        let ran = self.exec(line, code);
        let both = format!("{}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(both.contains(word), "{word:?} is missing: {ran}");
        }
        ran
    }

    fn save(&self) {
        let path = workspace().join("target/operators-walk.txt");
        std::fs::write(path, &self.transcript).expect("the transcript");
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}

#[test]
#[ignore = "it boots a system"]
fn operator_walkthrough_succeeds_on_booted_debian() {
    let name = "booted::operator_walkthrough_succeeds_on_booted_debian";
    if peers::find_program("systemd-nspawn").is_none() {
        return;
    }
    let Isolation::Inside(root) = Isolation::enter(name) else { return };
    let provider = CertifiedProvider::start(Paths::Custom).expect("it was there outside");
    root.make_package("0.1.0-1");
    root.resolve(SERVER, "127.0.0.1");
    root.trust(&std::fs::read_to_string(provider.authority_file()).expect("the provider's authority"));
    root.write("root/client-secret", CLIENT_SECRET);
    let mut host = Booted::boot(&root);

    install(&mut host, &provider);
    mistakes(&mut host, &root);
    start(&mut host);
    let recovery = keys_and_backups(&mut host);
    restore_and_recover(&mut host, &recovery);
    remove(&mut host);
}

fn install(host: &mut Booted, provider: &CertifiedProvider) {
    host.note("install and configure");
    host.exec("apt install ./infrad_0.1.0-1_amd64.deb 2>/dev/null | tail -n 1", 0);
    host.expect("infrad check", 2, &["/etc/infra/infrad.yaml"]);
    for block in Page::read().blocks("Configuration") {
        let values = "server=infra.example.com issuer=https://example.okta.com client=0oa1b2c3";
        let ours = format!("server={SERVER} issuer={} client=infra-basic", provider.issuer());
        host.exec(block.replace(values, &ours).trim(), 0);
    }
    host.exec("cp -a /etc/infra/infrad.yaml /root/sound.yaml", 0);
}

/// Makes one mistake of each kind. A command must name it, with the fix, before the daemon fails because of it.
fn mistakes(host: &mut Booted, root: &FreshRoot) {
    const RESTORE: &str = "cp -a /root/sound.yaml /etc/infra/infrad.yaml";
    host.note("a client secret that the service cannot read");
    host.exec("chown root: /etc/infra/okta-client-secret", 0);
    let expected =
        ["the user infrad cannot read /etc/infra/okta-client-secret", "owner root", "`chown infrad: "];
    host.expect("infrad check", 1, &expected);
    host.expect("runuser -u infrad -- infrad check", 1, &expected);
    host.expect("infrad as-service check --live", 1, &["failed   provider okta: client secret"]);
    host.exec("chown infrad: /etc/infra/okta-client-secret", 0);
    host.expect("infrad check", 0, &["configuration is valid; run", "root key: systemd credential root.key"]);

    host.note("a TLS key that others can read, then one that the service cannot read");
    let leaf = infra_harness::authority::Authority::new().issue_like_public_ca(&[SERVER]);
    root.write("etc/infra/tls.crt", &leaf.chain_pem);
    root.write("etc/infra/tls.key", &leaf.key_pem);
    host.exec(
        "printf 'tls: {files: {certificate: /etc/infra/tls.crt, privateKey: /etc/infra/tls.key}}\\n' >>/etc/infra/infrad.yaml",
        0,
    );
    host.exec("chmod 0644 /etc/infra/tls.key", 0);
    host.expect(
        "infrad check",
        1,
        &["other users can read /etc/infra/tls.key", "`chown infrad: ", "`chmod 0640 "],
    );
    host.exec("chmod 0600 /etc/infra/tls.key", 0);
    host.expect("infrad check", 1, &["the user infrad cannot read /etc/infra/tls.key"]);
    host.expect("infrad as-service check", 1, &["the user infrad cannot read /etc/infra/tls.key"]);
    host.expect(&format!("{RESTART}; systemctl is-active infrad"), 3, &[]);
    host.expect("journalctl -u infrad -o cat -n 20", 0, &["/etc/infra/tls.key"]);
    host.exec(STOP, 0);
    host.exec("chown infrad: /etc/infra/tls.key", 0);
    host.expect("infrad check", 0, &["the certificate in /etc/infra/tls.crt"]);
    host.exec(RESTORE, 0);

    host.note("a tab in the configuration");
    host.exec("printf 'limits:\\n\\tmaxConnections: 100\\n' >>/etc/infra/infrad.yaml", 0);
    host.expect("infrad check", 2, &["a tab indents this line"]);
    host.exec(RESTORE, 0);

    host.note("another issuer than the provider's");
    host.exec("sed -i 's|issuer: \\(.*\\)|issuer: \\1/other|' /etc/infra/infrad.yaml", 0);
    host.expect("infrad check", 0, &["configuration is valid; run"]);
    let ran = host.exec("infrad as-service check --live; test $? != 0", 0);
    assert!(ran.stdout.contains("failed   provider okta: discovery"), "{ran}");
    host.exec(RESTORE, 0);

    host.note("a data directory that nobody made");
    host.exec("sed -i 's|dataDir: .*|dataDir: /srv/infrad|' /etc/infra/infrad.yaml", 0);
    host.expect(
        "infrad check",
        1,
        &["failed   data directory: /srv/infrad", "install -d -o infrad", "ReadWritePaths=/srv/infrad"],
    );
    host.exec("install -d -o infrad -g infrad -m 0700 /srv/infrad", 0);
    host.expect("infrad check", 1, &["infrad.service cannot write to /srv/infrad"]);
    host.exec(RESTORE, 0);

    host.note("a root key that is not there");
    host.exec("mv /etc/infra/root.key /root/root.key", 0);
    host.expect("infrad check", 1, &["/etc/infra/root.key is missing, and systemd reads the credential"]);
    host.expect("infrad as-service status", 1, &["systemd cannot pass its credential root.key"]);
    host.expect(&format!("{RESTART}; systemctl is-active infrad"), 3, &[]);
    host.exec(STOP, 0);
    host.exec("mv /root/root.key /etc/infra/root.key", 0);
}

fn start(host: &mut Booted) {
    host.note("start, and what to give to users");
    host.exec("systemctl reset-failed; systemctl enable --now infrad.socket infrad.service", 0);
    host.expect("systemctl is-active infrad", 0, &["active"]);
    host.expect("infrad as-service fingerprint", 0, &["infra login infra.example.com --fingerprint sha256:"]);
    for command in ["status", "key status", "fingerprint"] {
        host.exec(&format!("infrad {command}"), 0);
        host.exec(&format!("runuser -u infrad -- infrad {command}"), 0);
    }
    host.expect("infrad check --live", 1, &["`infrad as-service check --live`"]);
    host.expect("infrad as-service check --live", 0, &["ok       root key: unwraps the store's data key"]);
    host.expect("infrad certificate renew", 0, &["issuing a new certificate from the daemon's own CA"]);
    host.exec("infrad ca print >/root/ca.pem && infrad as-service ca print >/root/again.pem", 0);
    host.exec("test -s /root/ca.pem && cmp /root/ca.pem /root/again.pem", 0);
    host.expect("infrad as-service serve", 2, &["this command cannot run as the service"]);
    host.exec("systemctl stop infrad.socket infrad.service", 0);
    host.run("infrad as-service serve --accept-rollback").expect(0).stderr_contains(&["nothing to accept"]);
    host.exec("systemctl start infrad", 0);
    host.exec("infrad as-service sessions list --json | grep -c sessions", 0);
}

fn keys_and_backups(host: &mut Booted) -> String {
    host.note("another root key, as docs/keys.md has it");
    let page = std::fs::read_to_string(workspace().join("docs/keys.md")).expect("the page");
    let (_, part) = page.split_once("## Another root key on a Debian host").expect("a part of the page");
    let block = |after: &str, language: &str| {
        let (_, rest) = part.split_once(&format!("```{language}\n{after}")).expect("a block");
        format!("{after}{}", rest.split_once("```").expect("its end").0)
    };
    host.exec(block("(umask", "sh").trim(), 0);
    let keys = block("rollbackGuardFile", "yaml")
        .split_once('\n')
        .map(|(_, keys)| keys.to_owned())
        .expect("a line that the package has already");
    host.exec(&format!("cat >>/etc/infra/infrad.yaml <<'END'\n{keys}END"), 0);
    host.exec(block("infrad as-service check", "sh").trim(), 0);
    host.expect("infrad as-service key status", 0, &["systemd credential root2.key (wraps the data key)"]);

    host.note("recovery key, rotation, backup");
    let key =
        host.run("infrad as-service key recovery create 2>/dev/null").expect(0).stdout.trim().to_owned();
    host.exec("infrad as-service key rotate", 0);
    host.exec("install -d -o infrad -g infrad -m 0700 /var/backups/infrad", 0);
    host.expect(
        "cd /var/backups/infrad && infrad as-service backup a.backup",
        0,
        &["is a backup of the store"],
    );
    host.expect(
        "infrad as-service backup verify /var/backups/infrad/a.backup",
        0,
        &["the backup is complete"],
    );
    host.expect(
        "infrad as-service backup /root/b.backup",
        1,
        &["cannot write /root/b.backup", "install -d -o infrad"],
    );
    host.note("a full disk");
    host.exec("install -d /mnt/small && mount -t tmpfs -o size=16k,mode=0700,uid=infrad small /mnt/small", 0);
    host.expect(
        "infrad as-service backup /mnt/small/b.backup",
        1,
        &["cannot write the file", "No space left on device"],
    );
    host.exec("test -z \"$(ls -A /mnt/small)\" && umount /mnt/small", 0);
    key
}

fn restore_and_recover(host: &mut Booted, recovery: &str) {
    host.note("restore");
    host.expect(
        "infrad as-service restore /var/backups/infrad/a.backup",
        1,
        &["is in use by another infrad", "`systemctl stop infrad.socket"],
    );
    host.note("a root key is lost, and the daemon runs");
    let restore =
        "install -o root -g root -m 0400 /run/credentials/infrad.service/root2.key /etc/infra/root2.key";
    host.exec("mv /etc/infra/root2.key /root/root2.key", 0);
    host.expect("infrad check", 1, &["keep infrad running", restore]);
    host.exec(&format!("{restore} && cmp /root/root2.key /etc/infra/root2.key && infrad check"), 0);
    host.exec("systemctl stop infrad.socket infrad.service", 0);
    host.expect("infrad key status", 1, &["`infrad as-service key status`"]);
    host.expect("infrad as-service key status", 0, &["wrapped by"]);
    host.exec("infrad as-service restore /var/backups/infrad/a.backup | cat; systemctl start infrad", 0);
    host.expect("infrad as-service status", 0, &["ready"]);

    host.note("the root keys are lost, and the recovery key is at hand");
    host.exec("systemctl stop infrad.socket infrad.service; rm /etc/infra/root.key /etc/infra/root2.key", 0);
    host.exec("(umask 377; head -c 32 /dev/urandom >/etc/infra/root.key)", 0);
    host.exec("rm -r /etc/systemd/system/infrad.service.d; systemctl daemon-reload", 0);
    host.exec("cp -a /root/sound.yaml /etc/infra/infrad.yaml", 0);
    host.expect("infrad as-service key status", 1, &["needs the root key", "infrad key rewrap --recovery"]);
    let line = format!("printf '%s\\n' {recovery} | infrad as-service key rewrap --recovery");
    host.run(&line).expect(0).stderr_contains(&["now wraps the data key"]);
    host.expect(
        "systemctl start infrad && infrad as-service check --live",
        0,
        &["ok       root key: unwraps"],
    );
    host.exec("infrad as-service fingerprint >/root/after && grep -q sha256 /root/after", 0);
}

fn remove(host: &mut Booted) {
    host.note("remove");
    host.exec("apt purge infrad 2>&1 | grep 'is left'", 0);
    host.exec("systemctl is-active infrad.service infrad.socket; test $? != 0", 0);
    host.exec("! getent passwd infrad && test ! -e /var/lib/infrad", 0);
}
