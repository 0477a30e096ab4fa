//! Does what systemd does for a unit: opens its socket, creates its directories, passes its credentials, and runs its
//! command as its user without capabilities.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::Running;
use rustix::process::Signal;

use super::fresh_root::FreshRoot;

const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct Unit {
    name: String,
    service: String,
    socket: String,
    running: Option<Running>,
    /// File for the system calls of the first process.
    trace: PathBuf,
}

impl Unit {
    /// Reads the installed service and socket of this name.
    pub(crate) fn of(root: &FreshRoot, name: &str) -> Self {
        let read = |kind: &str| {
            let path = root.path(&format!("usr/lib/systemd/system/{name}.{kind}"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (service, socket) = (read("service"), read("socket"));
        Self { name: name.to_owned(), service, socket, running: None, trace: root.path("tmp/calls") }
    }

    /// Starts the service by connecting to its port, and waits until it serves.
    pub(crate) fn start(&mut self, root: &FreshRoot) {
        let user = self.one("User").to_owned();
        let id: u32 = root.run(&format!("id -u {user}")).expect(0).stdout.trim().parse().expect("a user");
        for (parent, kind) in [("var/lib", "StateDirectory"), ("var/log", "LogsDirectory")] {
            for directory in self.one(kind).split(' ') {
                private_directory(root, &format!("{parent}/{directory}"), id);
            }
        }
        let credentials = self.hand_over_credentials(root, id);
        let port = self.one_of(&self.socket, "ListenStream").to_owned();
        let command = self.one("ExecStart").to_owned();
        let credentials = format!("--setenv=CREDENTIALS_DIRECTORY=/{credentials}");
        let listen = format!("--listen={port}");
        let (user_option, group_option) = (format!("--reuid={user}"), format!("--regid={user}"));
        let mut words = vec!["systemd-socket-activate", &listen, &credentials];
        words.extend(["setpriv", &user_option, &group_option, "--init-groups", "--no-new-privs"]);
        words.extend(["--inh-caps=-all", "--bounding-set=-all"]);
        words.extend(command.split(' '));
        let inside = root.command(&words);
        let mut outside = Command::new(inside.get_program());
        if !self.trace.exists() {
            // strace runs as a grandchild, so that signals of the test reach the daemon.
            outside = Command::new("strace");
            outside.args(["-D", "-f", "-qq", "-o"]).arg(&self.trace).arg(inside.get_program());
        }
        outside.args(inside.get_args()).env_clear().stdin(Stdio::null());
        outside.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut running = Running::start(outside, command.clone(), None, BOUND);
        let port: u16 = port.parse().expect("a port");
        running.wait_for("that it listens", |_, stderr| stderr.contains("Listening on").then_some(()));
        TcpStream::connect(("127.0.0.1", port)).expect("systemd listens");
        running.wait_for("that it serves", |stdout, _| stdout.contains("users sign in with").then_some(()));
        self.running = Some(running);
    }

    /// Sends SIGTERM, as systemd does, and asserts exit code 0.
    pub(crate) fn stop(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.signal(Signal::TERM);
        assert_eq!(running.wait_for_end(BOUND), Some(Some(0)), "{}", running.output());
    }

    /// Returns the kernel's status of the process.
    pub(crate) fn process_status(&self) -> String {
        let process = self.running.as_ref().expect("it runs").process();
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process")
    }

    /// Asserts that the unit's filters allow everything that its first process called: system calls, address families,
    /// and memory protections.
    pub(crate) fn calls_only_what_is_allowed(&self, root: &FreshRoot) {
        let trace = std::fs::read_to_string(&self.trace).expect("a trace");
        let (_, calls) = trace.split_once("execve(\"/usr/bin/infrad\"").expect("it was run");
        let calls: Vec<&str> = calls
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(' '))
            .map(|(_, call)| call.trim())
            .collect();
        assert!(calls.len() > 1_000, "not the trace of a daemon that served: {} calls", calls.len());

        let allowed = self.allowed_calls(&root.run("systemd-analyze syscall-filter").expect(0).stdout);
        let name = |call: &&str| call.split_once('(').map(|(name, _)| name.to_owned());
        let names: BTreeSet<String> = calls.iter().filter_map(name).filter(|name| is_name(name)).collect();
        assert!(names.contains("accept4"), "{names:?}");
        // The daemon locks memory only if the limit allows it, and the test may be unable to raise the limit.
        assert!(allowed.contains("mlockall"));
        let refused: Vec<&String> = names.iter().filter(|name| !allowed.contains(name.as_str())).collect();
        assert!(refused.is_empty(), "the unit would refuse {refused:?}");

        let families: Vec<&str> = self.one("RestrictAddressFamilies").split(' ').collect();
        for call in calls {
            let family =
                call.strip_prefix("socket(").and_then(|call| call.split_once(',')).map(|(family, _)| family);
            assert!(family.is_none_or(|family| families.contains(&family)), "the unit would refuse {call}");
            let is_both = call.contains("PROT_WRITE") && call.contains("PROT_EXEC");
            assert!(!is_both, "the unit would refuse {call}");
        }
    }

    /// Resolves `SystemCallFilter=` with systemd's groups of calls.
    fn allowed_calls(&self, groups: &str) -> BTreeSet<String> {
        let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut group = "";
        for line in groups.lines() {
            match line.strip_prefix("    ") {
                Some(call) if !call.starts_with('#') => known.entry(group).or_default().push(call),
                Some(_) => {}
                None => group = line.trim(),
            }
        }
        let mut allowed = BTreeSet::new();
        for filter in self.service.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
            let (is_denied, names) = filter.strip_prefix('~').map_or((false, filter), |names| (true, names));
            for name in names.split(' ').flat_map(|name| members(&known, name)) {
                if is_denied {
                    allowed.remove(&name)
                } else {
                    allowed.insert(name)
                };
            }
        }
        assert!(allowed.len() > 100, "{allowed:?}");
        allowed
    }

    /// Applies `LoadCredential=`. Returns the folder of the copies, which only the unit's user can read.
    fn hand_over_credentials(&self, root: &FreshRoot, user: u32) -> String {
        let folder = format!("run/credentials/{}.service", self.name);
        private_directory(root, &folder, user);
        let (name, source) = self.one("LoadCredential").split_once(':').expect("a name and a file");
        let copy = root.path(&format!("{folder}/{name}"));
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(root.path(source.trim_start_matches('/')), &copy).expect("a credential");
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o400)).expect("a mode");
        chown(&copy, Some(user), Some(user)).expect("an owner");
        folder
    }

    /// Returns the only value of a key of the service.
    fn one(&self, key: &str) -> &str {
        self.one_of(&self.service, key)
    }

    fn one_of<'a>(&self, text: &'a str, key: &str) -> &'a str {
        let values: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
        let [value] = values.as_slice() else {
            panic!("{}: {key} is there {} times", self.name, values.len())
        };
        value
    }
}

/// Returns the calls of a group, including nested groups, or the call itself.
fn members(known: &BTreeMap<&str, Vec<&str>>, name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let group = known.get(name).unwrap_or_else(|| panic!("systemd knows no {name}"));
    group.iter().flat_map(|member| members(known, member)).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn private_directory(root: &FreshRoot, path: &str, owner: u32) {
    let path = root.path(path);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path.parent().expect("a parent"))
        .expect("a parent");
    if !path.exists() {
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("a directory");
    }
    chown(&path, Some(owner), Some(owner)).expect("an owner");
}
