//! TAB in real shells: completes commands, options, and known servers and providers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use infra_harness::program::{User, built, files_with_modes};
use infra_harness::tmux::Screen;
use infra_harness::{generated, peers, wait};

const PROMPT: &str = "ready>";

/// The text before TAB, and the line after it.
const LINES: [(&str, &str); 7] = [
    ("infra log", "infra log"),
    ("infra stat", "infra status"),
    ("infra status --off", "infra status --offline"),
    ("infra use infra.", "infra use infra.example.com"),
    ("infra login 127.0.0.1:8", "infra login 127.0.0.1:8443"),
    ("infra login --provider o", "infra login --provider okta"),
    ("infra token --server infra.", "infra token --server infra.example.com"),
];

#[test]
fn bash_completes_commands_options_and_names() {
    let shell = bash("").installed("bash");
    complete(&shell, &LINES);
    complete(&shell, &COMMANDS);
    complete(
        &shell,
        &[
            ("infra token --server=infra.", "infra token --server=infra.example.com"),
            ("infra use https://127.0.0.1:8", "infra use https://127.0.0.1:8443"),
            ("FOO=a:b infra use inf", "FOO=a:b infra use infra.example.com"),
            ("infra -q use inf", "infra -q use infra.example.com"),
        ],
    );
}

#[test]
fn bash_completion_package_loads_script_on_demand() {
    let package = "/usr/share/bash-completion/bash_completion";
    if peers::find_file(package).is_none() {
        return;
    }
    let shell = bash(&format!("source {package}\n"));
    let folder = shell.user.home().join(".local/share/bash-completion/completions");
    fs::create_dir_all(&folder).expect("the user's own folder");
    let script = shell.user.infra(["completions", "bash"]).run().expect(0).stdout;
    fs::write(folder.join("infra"), script).expect("the user's own file");
    complete(&shell, &LINES);
}

#[test]
fn zsh_completes_commands_options_and_names() {
    complete(&zsh("").installed("zsh"), &LINES);
    complete(&zsh("").installed("zsh"), &COMMANDS);
}

#[test]
fn fish_completes_commands_options_and_names() {
    complete(&fish("").installed("fish"), &LINES);
    complete(&fish("").installed("fish"), &COMMANDS);
}

#[test]
fn elvish_completes_commands_options_and_names() {
    complete(&elvish("").installed("elvish"), &LINES);
    complete(&elvish("").installed("elvish"), &COMMANDS);
}

/// A command for `infra` to run is completed as a command, and so are its files.
const COMMANDS: [(&str, &str); 2] = [
    ("infra exec --audience a -- sha256s", "infra exec --audience a -- sha256sum"),
    ("infra exec --audience a -- ls /sr", "infra exec --audience a -- ls /srv/"),
];

/// Lines for the packaged scripts of both programs.
const WRITTEN: [(&str, &str); 2] =
    [("infra status --off", "infra status --offline"), ("infrad check --li", "infrad check --live")];

#[test]
fn packaged_scripts_complete_both_programs() {
    for shell in [packaged_bash(), packaged_zsh(), packaged_fish(), packaged_elvish()] {
        complete(&shell, &WRITTEN);
    }
}

/// The path of a packaged script.
fn script(name: &str) -> String {
    let files = generated::files_of("completions");
    let file = files.into_iter().find(|file| file.ends_with(name)).expect(name);
    file.canonicalize().expect(name).display().to_string()
}

fn packaged_bash() -> Shell {
    bash(&format!("source {}\nsource {}\n", script("infra.bash"), script("infrad.bash")))
}

fn packaged_zsh() -> Shell {
    let folder = script("_infra");
    let folder = Path::new(&folder).parent().expect("a folder").display();
    zsh(&format!("fpath=({folder} $fpath)\ncompinit -u -D\n"))
}

fn packaged_fish() -> Shell {
    fish(&format!("source {}\nsource {}\n", script("infra.fish"), script("infrad.fish")))
}

fn packaged_elvish() -> Shell {
    let load = |name| format!("eval (slurp < {})\n", script(name));
    elvish(&[load("infra.elv"), load("infrad.elv")].concat())
}

#[test]
fn completion_sends_no_request_and_changes_no_file() {
    let Some(strace) = peers::find_program("strace") else { return };
    let user = user_with_known_servers();
    // Any other command would repair this file and report it.
    fs::write(user.infra_home().join("sessions.json"), "{\"version\":1,").expect("the user's own file");
    let before = files_with_modes(user.home());
    let ran = Command::new(strace)
        .args(["-f", "-e", "trace=%network,openat,mkdir,rename,unlink,chmod,fchmod", "--"])
        .arg(built("infra"))
        .args(["--", "infra", "use", "infra."])
        .env_clear()
        .env("HOME", user.home())
        .env("INFRA_COMPLETE", "fish")
        .output()
        .expect("strace starts");
    let (offered, calls) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(offered, "names\ninfra.example.com\tcurrent\n", "{calls}");
    assert!(calls.contains("config.json"), "nothing was traced\n{calls}");
    for never in
        ["socket(", "O_WRONLY", "O_RDWR", "O_CREAT", "mkdir(", "rename(", "unlink(", "chmod(", "/etc/ssl"]
    {
        assert!(!calls.contains(never), "{never}\n{calls}");
    }
    assert_eq!(files_with_modes(user.home()), before);
}

#[test]
fn failed_completion_prints_nothing_into_the_line() {
    let user = user_with_known_servers();
    for (shell, words) in [("tcsh", &["--", "infra", ""][..]), ("bash", &["login"]), ("bash", &[])] {
        let ran = user.infra(words).env("INFRA_COMPLETE", shell).run();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{shell} {words:?}");
    }
    // Invalid settings only remove names from the candidates.
    let call =
        user.infra(["--", "infra", "use", ""]).env("INFRA_COMPLETE", "fish").env("INFRA_TOKEN", "nonsense");
    let ran = call.run().expect(0);
    assert_eq!((ran.stdout.contains("example"), ran.stderr.as_str()), (false, ""), "{ran}");
}

/// A user with two known servers.
fn user_with_known_servers() -> User {
    let user = User::new();
    let server = |provider: &str| {
        let trust = serde_json::json!({"kind": "pinned", "pin": format!("sha256:{}", "0".repeat(64))});
        serde_json::json!({"trust": trust, "provider": provider, "keyring": false})
    };
    let config = serde_json::json!({
        "version": 1,
        "current": "https://infra.example.com",
        "servers": {"https://infra.example.com": server("okta"), "https://127.0.0.1:8443": server("github")},
    });
    fs::create_dir(user.infra_home()).expect("the user's own folder");
    fs::write(user.infra_home().join("config.json"), config.to_string()).expect("the user's own file");
    // Control: the program reads this configuration, so it knows the server.
    user.infra(["use", "infra.example.com"]).run().expect(0);
    user
}

/// A shell with a visible prompt, and the command that starts it.
struct Shell {
    user: User,
    command: Vec<String>,
}

impl Shell {
    fn new(configuration: &str, file: &str, text: &str, command: impl Fn(&str) -> Vec<String>) -> Self {
        let user = user_with_known_servers();
        let path = user.home().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the user's own folder");
        fs::write(&path, format!("{configuration}\n{text}")).expect("the user's own file");
        Self { command: command(&path.display().to_string()), user }
    }

    /// The path of its program. Returns `None` and reports a skip if it is not installed.
    fn program(&self) -> Option<String> {
        let name = self.command.first()?;
        if name.starts_with('/') {
            return Some(name.clone());
        }
        Some(peers::find_program(name)?.display().to_string())
    }

    /// Starts the shell as its user.
    fn screen(&self, command: &[&str], path: &str) -> Option<Screen> {
        let home = self.user.home().display().to_string();
        let variables = [
            ("HOME", home.as_str()),
            ("ZDOTDIR", &home),
            ("XDG_RUNTIME_DIR", &home),
            ("PATH", path),
            ("TZ", "UTC"),
            ("LS_COLORS", ""),
        ];
        Screen::start(command, &variables, 100, 30)
    }

    /// Applies the setup line of `infra completions --help` for this shell.
    fn installed(self, name: &str) -> Self {
        let help = self.user.infra(["completions", "--help"]).run().expect(0).stdout;
        let lines: Vec<&str> = help.lines().map(str::trim).collect();
        let line = lines
            .iter()
            .find(|line| line.contains("~/") && line.contains(&format!("infra completions {name}")));
        let line = line.expect("a line for each shell");
        let ran = Command::new("sh")
            .args(["-c", line])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.user.home())
            .status();
        assert!(ran.expect("a shell").success(), "{line}");
        self
    }
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(ToString::to_string).collect()
}

fn bash(text: &str) -> Shell {
    let configuration = format!("PS1='{PROMPT} '; bind 'set bell-style none'");
    Shell::new(&configuration, ".bashrc", text, |file| {
        words(&["bash", "--noprofile", "--rcfile", file, "-i"])
    })
}

fn zsh(text: &str) -> Shell {
    let configuration = format!("PROMPT='{PROMPT} '; autoload -U compinit; compinit -u -D");
    Shell::new(&configuration, ".zshrc", text, |_| words(&["zsh", "-i"]))
}

fn fish(text: &str) -> Shell {
    let configuration = format!(
        "function fish_prompt; echo -n '{PROMPT} '; end\nset -g fish_greeting\nset -g fish_autosuggestion_enabled 0"
    );
    Shell::new(&configuration, ".config/fish/config.fish", text, |_| words(&["fish", "-i"]))
}

fn elvish(text: &str) -> Shell {
    let configuration =
        format!("set edit:prompt = {{ print '{PROMPT} ' }}\nset edit:rprompt = {{ print '' }}");
    Shell::new(&configuration, ".config/elvish/rc.elv", text, |file| words(&["elvish", "-rc", file]))
}

fn nushell(program: &str) -> Shell {
    let configuration = format!(
        "$env.config.show_banner = false\n$env.PROMPT_COMMAND = {{|| '{PROMPT}' }}\n$env.PROMPT_COMMAND_RIGHT = ''\n\
         $env.PROMPT_INDICATOR = ' '\nsource completions.nu"
    );
    let shell = Shell::new(&configuration, "config.nu", "", |file| words(&[program, "--config", file]));
    let script = shell.user.infra(["completions", "nushell"]).run().expect(0).stdout;
    fs::write(shell.user.home().join("completions.nu"), script).expect("the user's own file");
    shell
}

fn powershell() -> Shell {
    let configuration =
        format!("function prompt {{ '{PROMPT} ' }}\nSet-PSReadLineKeyHandler -Key Tab -Function Complete");
    let load = "infra completions powershell | Out-String | Invoke-Expression";
    Shell::new(&configuration, "profile.ps1", load, |file| {
        words(&["pwsh", "-NoProfile", "-NoExit", "-File", file])
    })
}

/// Types each line, presses TAB and waits for the expected line. If TAB adds nothing, expects both candidate
/// commands.
#[track_caller]
fn complete(shell: &Shell, lines: &[(&str, &str)]) {
    let Some(program) = shell.program() else { return };
    let command: Vec<&str> =
        std::iter::once(program.as_str()).chain(shell.command.iter().skip(1).map(String::as_str)).collect();
    let folder = built("infra").parent().expect("a folder").display().to_string();
    let path = format!("{folder}:/usr/local/bin:/usr/bin:/bin");
    let Some(screen) = shell.screen(&command, &path) else { return };
    for (typed, completed) in lines {
        wait_for_prompt(&screen);
        screen.enter(typed);
        screen.wait_for("what was typed", |text| shows_line(text, typed).then_some(()));
        screen.press("Tab");
        if typed == completed {
            // Readline shows candidates only after the second TAB.
            screen.press("Tab");
            screen.wait_for("the choice", |text| {
                let offered: Vec<&str> = text.split_whitespace().collect();
                ["login", "logout"].iter().all(|command| offered.contains(command)).then_some(())
            });
        } else {
            screen.wait_for(completed, |text| shows_line(text, completed).then_some(()));
        }
        // Clear the line. In elvish, Ctrl-L has another meaning, and Ctrl-C leaves the list of candidates.
        let keys = match (command.contains(&"-rc"), typed == completed) {
            (true, true) => &["C-c"][..],
            (true, false) => &["C-u"],
            (false, _) => &["C-u", "C-l"],
        };
        for key in keys {
            screen.press(key);
        }
    }
}

fn wait_for_prompt(screen: &Screen) {
    screen.wait_for("an empty prompt", |text| {
        let last = text.lines().map(str::trim_end).rfind(|line| !line.is_empty());
        (last == Some(PROMPT)).then_some(())
    });
}

/// Returns `true` if exactly this line follows the prompt.
fn shows_line(text: &str, line: &str) -> bool {
    let expected = format!("{PROMPT} {line}");
    text.lines().any(|shown| shown.trim_end() == expected)
}

/// The file that appears if a shell runs any part of a hostile name.
const RAN: &str = "ran";

/// File names that another user can create in a working directory.
const HOSTILE: [&str; 17] = [
    "$(touch ran)",
    "`touch ran`",
    "a;touch ran;",
    "a&touch ran&",
    "a|touch ran",
    "'$(touch ran)'",
    "\"$(touch ran)\"",
    "two words",
    "#$(touch ran)",
    "-x;touch ran",
    "*;touch ran",
    "[a]{b,c}?",
    "a:b=$(touch ran)",
    "~;touch ran",
    "(touch ran)",
    "!touch ran",
    "\u{1b}[2J$(touch ran)",
];

/// Lines before a file name.
const FILES: [&str; 4] = [
    "infra login --ca-file ",
    "infra kubernetes configure x --kubeconfig ",
    "infrad restore ",
    "infra exec --audience a -- cat ",
];

/// Stored provider names, as a hostile server chooses them.
const PROVIDERS: [&str; 5] = ["$(touch ran)", "`touch ran`", "a;touch ran;", "\nline", "(touch ran)"];

#[test]
fn bash_completion_never_runs_hostile_names() {
    runs_nothing_hostile(&packaged_bash(), &FILES, true);
}

#[test]
fn zsh_completion_never_runs_hostile_names() {
    runs_nothing_hostile(&packaged_zsh(), &FILES, true);
}

#[test]
fn fish_completion_never_runs_hostile_names() {
    runs_nothing_hostile(&packaged_fish(), &FILES, true);
}

#[test]
fn elvish_completion_never_runs_hostile_names() {
    runs_nothing_hostile(&packaged_elvish(), &FILES, true);
}

#[test]
fn nushell_completion_never_runs_hostile_names() {
    let Some(folder) = peers::find("nushell", "nu") else { return };
    let shell = nushell(&folder.join("nu").display().to_string());
    runs_nothing_hostile(&shell, &FILES[..1], true);
}

#[test]
fn powershell_completion_never_runs_hostile_names() {
    if peers::find_unusual_program("pwsh").is_some() {
        runs_nothing_hostile(&powershell(), &FILES[..1], false);
    }
}

#[test]
fn zsh_completes_no_fingerprint_silently() {
    let shell = packaged_zsh();
    let Some(session) = Session::start(&shell) else { return };
    session.press_tab_and_enter("infra login --fingerprint ");
    session.assert_nothing_ran("--fingerprint");
    assert!(!session.screen.text().contains("not found"), "{}", session.screen.text());
}

/// A shell in its own folder, with programs in `PATH` that record their arguments.
struct Session {
    screen: Screen,
    folder: tempfile::TempDir,
    prompts: std::cell::Cell<usize>,
}

impl Session {
    fn start(shell: &Shell) -> Option<Self> {
        let program = shell.program()?;
        let folder = tempfile::TempDir::with_prefix("infra-hostile-").expect("a temporary directory");
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).expect("a folder");
        let given = folder.path().join("given").display().to_string();
        for (name, variable) in [("infra", "INFRA_COMPLETE"), ("infrad", "INFRAD_COMPLETE")] {
            let real = built(name).display().to_string();
            let text = format!(
                "#!/bin/sh\n[ -z \"${variable}\" ] || exec {real} \"$@\"\nprintf '%s\\0' \"$@\" >{given}.new\nmv {given}.new {given}\n"
            );
            executable(&programs.join(name), &text);
        }
        // A shell once ran a value name from the help as a program.
        executable(
            &programs.join("HEX"),
            &format!("#!/bin/sh\ntouch {}\n", folder.path().join(RAN).display()),
        );
        let here = folder.path().join("here");
        for (number, name) in HOSTILE.iter().enumerate() {
            let folder = here.join(number.to_string());
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(name), "").expect("a file");
        }
        let mut command = vec!["env".to_owned(), "-C".to_owned(), here.display().to_string(), program];
        command.extend(shell.command.iter().skip(1).cloned());
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        let screen = shell.screen(&command, &path)?;
        let session = Self { screen, folder, prompts: std::cell::Cell::new(0) };
        wait_for_prompt(&session.screen);
        Some(session)
    }

    /// Types a line, presses TAB and Enter, and returns the arguments of the program, if it started.
    fn press_tab_and_enter(&self, typed: &str) -> Option<Vec<String>> {
        wait_for_prompt(&self.screen);
        self.screen.enter(typed);
        self.screen.wait_for("what was typed", |text| text.contains(typed.trim_end()).then_some(()));
        self.screen.press("Tab");
        // Wait until a candidate appears, because a shell that gets all keys at once may apply Enter to the
        // typed line.
        let _ = wait::until(Duration::from_secs(2), || {
            (!shows_line(&self.screen.text(), typed.trim_end())).then_some(())
        });
        // In some shells, the first Enter picks a candidate from a list.
        self.screen.press("Enter");
        self.screen.press("Enter");
        let number = self.prompts.replace(self.prompts.get() + 1);
        let end = self.folder.path().join(format!("end-{number}"));
        let line = format!("touch {}", end.display());
        let given = self.folder.path().join("given");
        let is_over = (0..5).any(|_| {
            self.screen.enter(&line);
            self.screen.press("Enter");
            let is_over = wait::until(Duration::from_secs(4), || end.exists().then_some(())).is_some();
            if !is_over {
                // The shell waits for the rest of a command.
                self.screen.press("C-c");
            }
            is_over
        });
        assert!(is_over, "{typed}: the shell does not come back\n{}", self.screen.text());
        let text = fs::read_to_string(&given).ok()?;
        fs::remove_file(&given).expect("our own file");
        Some(text.split_terminator('\0').map(ToOwned::to_owned).collect())
    }

    #[track_caller]
    fn assert_nothing_ran(&self, why: &str) {
        assert!(!holds(self.folder.path(), RAN), "{why}\n{}", self.screen.text());
    }
}

/// Returns `true` if a file of this name is anywhere below the folder.
fn holds(folder: &Path, name: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .into_iter()
        .any(|path| path.file_name().is_some_and(|file| file == name) || path.is_dir() && holds(&path, name))
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;

    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// Presses TAB and Enter after commands that complete files or names from a server, and expects that nothing
/// hostile runs. With `exactly`, the program must get the exact names.
#[track_caller]
fn runs_nothing_hostile(shell: &Shell, lines: &[&str], exactly: bool) {
    plant_providers(&shell.user);
    let Some(session) = Session::start(shell) else { return };
    for line in lines {
        for (number, name) in HOSTILE.iter().enumerate() {
            let typed = format!("{line}{number}/");
            let given = session.press_tab_and_enter(&typed);
            session.assert_nothing_ran(&format!("{typed} {name:?}"));
            let last = given.and_then(|words| words.last().cloned());
            if exactly {
                assert_eq!(last, Some(format!("{number}/{name}")), "{typed}\n{}", session.screen.text());
            }
        }
    }
    session.press_tab_and_enter("infra login --provider ");
    session.assert_nothing_ran("--provider");
}

/// Adds servers whose providers have hostile names, in addition to the known one.
fn plant_providers(user: &User) {
    let path = user.infra_home().join("config.json");
    let text = fs::read_to_string(&path).expect("the user's own file");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let servers = config.get_mut("servers").and_then(serde_json::Value::as_object_mut).expect("servers");
    let known =
        servers.get("https://infra.example.com").and_then(|server| server.as_object()).expect("one").clone();
    for (number, provider) in PROVIDERS.iter().enumerate() {
        let mut server = known.clone();
        server.insert("provider".to_owned(), (*provider).into());
        servers.insert(format!("https://hostile-{number}.example.com"), server.into());
    }
    fs::write(&path, config.to_string()).expect("the user's own file");
}
