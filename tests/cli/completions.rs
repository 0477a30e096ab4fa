//! TAB in real shells: commands, options, and the servers and providers that are known here.

use std::fs;
use std::path::Path;
use std::process::Command;

use infra_harness::program::{User, built, files_with_modes};
use infra_harness::tmux::Screen;
use infra_harness::{generated, peers};

const PROMPT: &str = "ready>";

/// What is typed before TAB, and what the line is then.
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
fn bash_completes_what_is_known_here() {
    let shell = bash("").installed("bash");
    complete(&shell, &LINES);
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
fn bash_with_its_completion_package_loads_the_script_when_it_is_needed() {
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
fn zsh_completes_what_is_known_here() {
    complete(&zsh("").installed("zsh"), &LINES);
}

#[test]
fn fish_completes_what_is_known_here() {
    complete(&fish("").installed("fish"), &LINES);
}

#[test]
fn elvish_completes_what_is_known_here() {
    complete(&elvish("").installed("elvish"), &LINES);
}

/// What packages install: it knows commands and options, and runs nothing.
const WRITTEN: [(&str, &str); 2] =
    [("infra status --off", "infra status --offline"), ("infrad check --li", "infrad check --live")];

#[test]
fn the_scripts_of_packages_complete_both_programs() {
    let file = |name: &str| {
        let files = generated::files_of("completions");
        let file = files.into_iter().find(|file| file.ends_with(name)).expect(name);
        file.canonicalize().expect(name).display().to_string()
    };
    let folder = Path::new(&file("_infra")).parent().expect("a folder").display().to_string();
    complete(&bash(&format!("source {}\nsource {}\n", file("infra.bash"), file("infrad.bash"))), &WRITTEN);
    complete(&zsh(&format!("fpath=({folder} $fpath)\ncompinit -u -D\n")), &WRITTEN);
    complete(&fish(&format!("source {}\nsource {}\n", file("infra.fish"), file("infrad.fish"))), &WRITTEN);
    let load = |name| format!("eval (slurp < {})\n", file(name));
    complete(&elvish(&[load("infra.elv"), load("infrad.elv")].concat()), &WRITTEN);
}

#[test]
fn a_completion_asks_nobody_and_changes_nothing() {
    let Some(strace) = peers::find_program("strace") else { return };
    let user = acquainted();
    // It would be repaired, and said so, by every command.
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
    assert_eq!(offered, "infra.example.com\tcurrent\n", "{calls}");
    assert!(calls.contains("config.json"), "nothing was traced\n{calls}");
    for never in
        ["socket(", "O_WRONLY", "O_RDWR", "O_CREAT", "mkdir(", "rename(", "unlink(", "chmod(", "/etc/ssl"]
    {
        assert!(!calls.contains(never), "{never}\n{calls}");
    }
    assert_eq!(files_with_modes(user.home()), before);
}

#[test]
fn what_cannot_be_completed_says_nothing_into_the_line_that_is_typed() {
    let user = acquainted();
    for (shell, words) in [
        ("bash", &["--", "infra", "nonsense", "x"][..]),
        ("tcsh", &["--", "infra", ""]),
        ("bash", &["login"]),
        ("bash", &[]),
    ] {
        let ran = user.infra(words).env("INFRA_COMPLETE", shell).run();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{shell} {words:?}");
    }
    // Where its own settings are not good, names are missing, and nothing else.
    let call =
        user.infra(["--", "infra", "use", ""]).env("INFRA_COMPLETE", "fish").env("INFRA_TOKEN", "nonsense");
    let ran = call.run().expect(0);
    assert_eq!((ran.stdout.contains("example"), ran.stderr.as_str()), (false, ""), "{ran}");
}

/// Somebody who has been at two servers.
fn acquainted() -> User {
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
    // That it is one that the program reads: this fails where it does not know the server.
    user.infra(["use", "infra.example.com"]).run().expect(0);
    user
}

/// A shell that shows its prompt, and how it is started.
struct Shell {
    user: User,
    command: Vec<String>,
}

impl Shell {
    fn new(configuration: &str, file: &str, text: &str, command: impl Fn(&str) -> Vec<String>) -> Self {
        let user = acquainted();
        let path = user.home().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the user's own folder");
        fs::write(&path, format!("{configuration}\n{text}")).expect("the user's own file");
        Self { command: command(&path.display().to_string()), user }
    }

    /// With the one line that `infra completions --help` has for this shell.
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

/// Types each line, presses TAB, and waits for what the line has to be then; where nothing is added, for both commands
/// that it can become.
#[track_caller]
fn complete(shell: &Shell, lines: &[(&str, &str)]) {
    let Shell { user, command } = shell;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let Some(program) = command.first().and_then(|name| peers::find_program(name)) else { return };
    let program = program.display().to_string();
    let command: Vec<&str> = std::iter::once(program.as_str()).chain(command.into_iter().skip(1)).collect();
    let folder = built("infra").parent().expect("a folder").display().to_string();
    let (home, path) = (user.home().display().to_string(), format!("{folder}:/usr/local/bin:/usr/bin:/bin"));
    let variables = [
        ("HOME", home.as_str()),
        ("ZDOTDIR", &home),
        ("XDG_RUNTIME_DIR", &home),
        ("PATH", &path),
        ("TZ", "UTC"),
        ("LS_COLORS", ""),
    ];
    let Some(screen) = Screen::start(&command, &variables, 100, 30) else { return };
    for (typed, completed) in lines {
        wait_for_prompt(&screen);
        screen.enter(typed);
        screen.wait_for("what was typed", |text| shows_line(text, typed).then_some(()));
        screen.press("Tab");
        if typed == completed {
            // Readline shows a choice at the second time only.
            screen.press("Tab");
            screen.wait_for("the choice", |text| {
                let offered: Vec<&str> = text.split_whitespace().collect();
                ["login", "logout"].iter().all(|command| offered.contains(command)).then_some(())
            });
        } else {
            screen.wait_for(completed, |text| shows_line(text, completed).then_some(()));
        }
        // An empty line again. In elvish, Ctrl-L is something else, and a choice is left with Ctrl-C.
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

/// Whether this is what stands behind the prompt, and nothing after it.
fn shows_line(text: &str, line: &str) -> bool {
    let expected = format!("{PROMPT} {line}");
    text.lines().any(|shown| shown.trim_end() == expected)
}
