//! Runs `infra` as one user of one machine, isolated from the user of this machine.

mod files;
mod running;
mod transcript;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::namespace::Namespace;

pub use files::files_with_modes;
pub(crate) use running::terminal;
pub use running::{Ran, Running};
pub use transcript::Transcript;
pub(crate) use transcript::replace_varying;

/// Time limit of every run.
const LIMIT: Duration = Duration::from_mins(2);

/// A user with a home directory and their own `~/.infra`.
pub struct User {
    home: TempDir,
}

/// A call of `infra` to be made.
pub struct Call<'a> {
    user: &'a User,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Variables to remove.
    unset: Vec<OsString>,
    input: Option<Vec<u8>>,
    limit: Duration,
    inside: Option<&'a Namespace>,
    /// A wrapper program that runs `infra` with its arguments.
    under: Vec<OsString>,
    directory: Option<PathBuf>,
}

/// A browser that records the URLs that it opens, and follows them if it knows as which user.
pub struct RecordingBrowser {
    directory: TempDir,
    environment: Vec<(OsString, OsString)>,
}

/// The path of a program of this workspace, built next to the running test. Fails if it is older than its
/// sources.
pub fn built(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("a running program has a path");
    let folder = running.parent().expect("a program lies in a folder");
    // Tests are built in `deps`, one folder below.
    let folder = if folder.ends_with("deps") { folder.parent().expect("it is in another") } else { folder };
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let newer =
        newer_source(&program).expect("`cargo build --workspace --bins` makes the programs of the tests");
    assert_eq!(
        newer,
        None,
        "{} is older than that: `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

/// Returns a source that is newer than this program, from the list that Cargo writes next to it.
fn newer_source(program: &Path) -> std::io::Result<Option<PathBuf>> {
    let built_at = program.metadata()?.modified()?;
    let list = std::fs::read_to_string(program.with_extension("d"))?.replace("\\ ", "\0");
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace();
    Ok(sources.map(|source| PathBuf::from(source.replace('\0', " "))).find(|source| {
        source.metadata().and_then(|data| data.modified()).is_ok_and(|changed| changed > built_at)
    }))
}

impl User {
    pub fn new() -> Self {
        Self { home: TempDir::with_prefix("infra-user-").expect("a temporary directory") }
    }

    /// `INFRA_HOME`. Created by `infra`.
    pub fn infra_home(&self) -> PathBuf {
        self.home.path().join(".infra")
    }

    /// `HOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A call of `infra` with these arguments, without a terminal and with an empty standard input.
    pub fn infra<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Call<'_> {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Call {
            user: self,
            arguments,
            environment: Vec::new(),
            unset: Vec::new(),
            input: None,
            limit: LIMIT,
            inside: None,
            under: Vec::new(),
            directory: None,
        }
    }

    /// Lists the files in `~/.infra`: names with modes, one per line.
    pub fn files(&self) -> String {
        files_with_modes(&self.infra_home())
    }

    /// The contents of a file in `~/.infra`, if it exists.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.infra_home().join(name)).ok()
    }

    /// Writes a file to `~/.infra`, with the modes that `infra` gives its files.
    pub fn plant(&self, name: &str, contents: &serde_json::Value) {
        let home = self.infra_home();
        std::fs::create_dir_all(&home).expect("the user's own directory");
        std::fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("the user's own directory");
        std::fs::write(home.join(name), contents.to_string()).expect("the user's own file");
        std::fs::set_permissions(home.join(name), Permissions::from_mode(0o600))
            .expect("the user's own file");
    }

    /// Changes the only stored session.
    pub fn edit_session(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.infra_home().join("sessions.json");
        let text = self.file("sessions.json").expect("a session");
        let mut sessions: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let held = sessions["sessions"].as_object_mut().and_then(|sessions| sessions.values_mut().next());
        change(held.expect("a session"));
        std::fs::write(path, sessions.to_string()).expect("the user's own file");
    }
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Call<'a> {
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.unset.push(name.as_ref().to_owned());
        self
    }

    /// Runs the call under another program, which gets it as its last words.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.under = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Runs in another working directory than the user's home.
    #[must_use]
    pub fn in_directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Opens URLs with this browser.
    #[must_use]
    pub fn browser(mut self, browser: &RecordingBrowser) -> Self {
        self.environment.extend(browser.environment.iter().cloned());
        self
    }

    /// Sets the standard input.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.as_bytes().to_vec());
        self
    }

    /// Runs with the user's home directory on this disk, or with this view of the machine.
    #[must_use]
    pub fn inside(mut self, place: &'a impl AsRef<Namespace>) -> Self {
        self.inside = Some(place.as_ref());
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the call to completion.
    pub fn run(self) -> Ran {
        self.start().wait()
    }

    /// Starts the call, for tests that act while it runs.
    pub fn start(mut self) -> Running {
        let input = self.input.take();
        let (name, limit) = (self.name(), self.limit);
        let mut command = self.command();
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        Running::start(command, name, input, limit)
    }

    /// Starts the call with all streams on this terminal.
    pub(crate) fn spawn_on(self, terminal: &File) -> Child {
        let name = self.name();
        let duplicate = || terminal.try_clone().expect("a file can be duplicated");
        let mut command = self.command();
        command.stdin(duplicate()).stdout(duplicate()).stderr(duplicate());
        command.spawn().unwrap_or_else(|error| panic!("`{name}` cannot be started: {error}"))
    }

    /// Starts the call at a terminal.
    pub fn start_in_terminal(self) -> Running {
        let (name, limit) = (self.name(), self.limit);
        Running::start_in_terminal(self.command(), name, limit)
    }

    fn name(&self) -> String {
        let words: Vec<String> =
            self.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
        format!("infra {}", words.join(" "))
    }

    fn command(self) -> Command {
        let program = built("infra");
        let mut command = match (self.inside, self.under.split_first()) {
            (Some(inside), _) => inside.enter(&program),
            (None, Some((first, words))) => {
                let mut command = Command::new(first);
                command.args(words).arg(&program);
                command
            }
            (None, None) => Command::new(&program),
        };
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.user.home())
            .env("INFRA_HOME", self.user.infra_home())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.environment)
            .current_dir(self.directory.as_deref().unwrap_or(self.user.home()));
        for name in self.unset {
            command.env_remove(name);
        }
        command
    }
}

impl RecordingBrowser {
    /// Records the URLs, without following them.
    pub fn recording() -> Self {
        let directory = TempDir::with_prefix("infra-browser-").expect("a temporary directory");
        let environment = vec![
            ("BROWSER".into(), built("record-browser").into_os_string()),
            ("INFRA_TEST_BROWSER_LOG".into(), directory.path().join("opened").into_os_string()),
        ];
        Self { directory, environment }
    }

    /// Signs in as `user` at pages certified by these CAs.
    pub fn signing_in(user: &str, authorities: &[PathBuf]) -> Self {
        let mut browser = Self::recording();
        let authorities = std::env::join_paths(authorities).expect("paths without colons");
        browser.environment.push(("INFRA_TEST_BROWSER_USER".into(), user.into()));
        browser.environment.push(("INFRA_TEST_BROWSER_AUTHORITIES".into(), authorities));
        browser
    }

    /// Clicks "Cancel" on the sign-in page.
    pub fn cancelling(authorities: &[PathBuf]) -> Self {
        let mut browser = Self::signing_in("alice", authorities);
        browser.environment.push(("INFRA_TEST_BROWSER_CANCEL".into(), "1".into()));
        browser
    }

    /// Sets this browser, and its instructions, as the browser of a command.
    pub fn prepare(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// The opened URLs, in order.
    pub fn opened(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("opened")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The last page, once the browser reached one, or why it reached none.
    pub fn last_page(&self, limit: Duration) -> Option<String> {
        let read = |name: &str| std::fs::read_to_string(self.directory.path().join(name)).ok();
        crate::wait::until(limit, || read("opened.page").or_else(|| read("opened.error")))
    }
}
