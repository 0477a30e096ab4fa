//! `infrad as-service`: runs another infrad command as the systemd unit runs the daemon.
//!
//! systemd-run applies the settings of infrad.service and its drop-ins: user, credentials, environment, directories and
//! sandbox. Standard streams are passed through, and the exit code is the command's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode, ExitStatus, Stdio};

use infra_shared::command_line;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, INTERRUPTED, service_access};
use crate::arguments::{Arguments, AuditCommand, BackupCommand, Command, SYNONYMS, session_id};
use crate::failure::Failure;
use crate::platform::{UNIT, Unit};

/// Settings about starting, watching and stopping a service. Commands do not get them.
const OF_THE_DAEMON: [&str; 17] = [
    "Type",
    "NotifyAccess",
    "WatchdogSec",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutAbortSec",
    "RemainAfterExit",
    "PIDFile",
    "Sockets",
    "FileDescriptorStoreMax",
    "StandardInput",
    "StandardOutput",
    "StandardError",
    "SuccessExitStatus",
    "RuntimeMaxSec",
    "OOMPolicy",
];
/// Settings to override because they would hide or replace a file that the operator names.
const HIDES_FILES: [&str; 3] = ["PrivateTmp=no", "ProtectHome=no", "ProtectSystem=no"];
/// Exit codes from here on come from systemd: a step before the program failed (systemd.exec(5)).
const FIRST_OF_SYSTEMD: i32 = 200;

pub(super) async fn run(context: &Context, words: &[OsString]) -> Result<ExitCode, Failure> {
    // systemd logs and shows the words, so a pasted token must not be among them.
    let words = &words.iter().map(without_token).collect::<Vec<_>>();
    let typed: Vec<OsString> = [OsString::from("infrad")].iter().chain(words).cloned().collect();
    // An error in the command is reported as if it had been typed alone.
    let arguments: Arguments = match command_line::parse(&typed, SYNONYMS) {
        Ok(arguments) => arguments,
        Err(outcome) => return outcome,
    };
    expect_command(&arguments.command)?;
    let Some(unit) = Unit::find() else {
        return Err(Failure::usage(format!("this host has no {UNIT}")).hint(
            "run the command without `as-service`, as the user that runs the daemon; docs/install.md has the units",
        ));
    };
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::usage("only root can run a command as the service")
            .hint(format!("`sudo infrad as-service {}`", service_access::line(words))));
    }
    expect_credentials(&unit)?;
    let name = format!("infrad-command-{}.service", std::process::id());
    let mut process = Process::new("systemd-run");
    process.args(["--quiet", "--collect", "--wait", "--pipe", "--service-type=exec"]);
    process
        .arg(format!("--unit={name}"))
        .arg(format!("--description=infrad {}", service_access::line(words)));
    process.args(
        properties(&unit, &arguments.command).into_iter().map(|property| format!("--property={property}")),
    );
    process.arg("--").arg(unit.program().unwrap_or("/usr/bin/infrad"));
    process.args(with_absolute_paths(words, &arguments));
    if matches!(arguments.command, Command::Serve { .. }) {
        process.arg("--prepare");
    }
    // Use the unit's configuration unless the operator names another.
    if arguments.global.config == context.config_path {
        process.arg("--config").arg(unit.configuration());
    }
    match wait(process, &name).await? {
        Some(status) => explain(status, &unit, &name),
        None => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// The ID of a token in the place of the token.
fn without_token(word: &OsString) -> OsString {
    let token = word.to_str().filter(|text| text.starts_with("infra_"));
    token.and_then(|text| session_id(text).ok()).map_or_else(|| word.clone(), |id| id.as_str().into())
}

/// Rejects commands that the unit itself performs or that do not depend on the service.
fn expect_command(command: &Command) -> Result<(), Failure> {
    let refused = match command {
        // The unit's own start takes no options.
        Command::Serve { accept_rollback, new_store, .. } if *accept_rollback || *new_store => return Ok(()),
        Command::Serve { .. } => "the unit itself runs `serve`",
        Command::AsService { .. } => "`as-service` is given twice",
        Command::Completions { .. } => "completions are the same for every user",
        #[cfg(feature = "dev")]
        Command::Dev { .. } => "`dev` runs its own daemon",
        _ => return Ok(()),
    };
    Err(Failure::usage("this command cannot run as the service").because_text(refused.to_owned()).hint(
        "start the daemon with `systemctl start infrad`; for another command, run, for example, `infrad as-service \
         status`",
    ))
}

/// Checks that credential files exist, because systemd would fail with only a number.
fn expect_credentials(unit: &Unit) -> Result<(), Failure> {
    let credentials = unit.credentials();
    let missing =
        credentials.iter().find(|(_, source)| source.starts_with('/') && !Path::new(source).exists());
    let Some((name, source)) = missing else { return Ok(()) };
    Err(Failure::failed(format!("{UNIT} cannot start: systemd cannot pass its credential {name}"))
        .because_text(format!("{source} is missing, but LoadCredential= names it"))
        .hint(service_access::restore_credential(unit, name, source)))
}

/// The unit's settings that decide what a command sees and may do.
fn properties(unit: &Unit, command: &Command) -> Vec<String> {
    let is_of_the_daemon =
        |key: &str| OF_THE_DAEMON.contains(&key) || key.starts_with("Exec") || key.starts_with("Restart");
    let settings = unit.settings().iter().filter(|(key, _)| !is_of_the_daemon(key));
    let mut properties: Vec<String> = settings.map(|(key, value)| format!("{key}={value}")).collect();
    if properties.iter().any(|property| property.starts_with("RuntimeDirectory=")) {
        // The runtime directory belongs to the running daemon.
        properties.push("RuntimeDirectoryPreserve=yes".to_owned());
    }
    if named_file(command).is_some() {
        properties.extend(HIDES_FILES.map(ToOwned::to_owned));
    }
    properties
}

/// The operator's file that a command reads or writes.
fn named_file(command: &Command) -> Option<&Path> {
    match command {
        Command::Backup { command: Some(BackupCommand::Verify { file, .. }), .. }
        | Command::Restore { file, .. } => Some(file),
        Command::Backup { file, .. } | Command::Audit { command: AuditCommand::Verify { file, .. } } => {
            file.as_deref()
        }
        _ => None,
    }
}

/// The arguments with absolute paths, because the command runs in another directory.
fn with_absolute_paths(words: &[OsString], arguments: &Arguments) -> Vec<OsString> {
    let named = [named_file(&arguments.command), Some(arguments.global.config.as_path())];
    let absolute = |word: &OsString| {
        for path in named.iter().flatten() {
            let whole = || std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            if word.as_os_str() == path.as_os_str() {
                return whole().into_os_string();
            }
            for option in ["--file=", "--config="] {
                if word.to_str().and_then(|word| word.strip_prefix(option)).map(OsStr::new)
                    == Some(path.as_os_str())
                {
                    let mut whole_word = OsString::from(option);
                    whole_word.push(whole());
                    return whole_word;
                }
            }
        }
        word.clone()
    };
    words.iter().map(absolute).collect()
}

/// Waits for the command. Returns `None` after an interrupt, which also stops the unit and restores the terminal.
async fn wait(mut process: Process, name: &str) -> Result<Option<ExitStatus>, Failure> {
    let failed = |error: &std::io::Error| {
        Failure::failed("cannot start systemd-run")
            .because(error)
            .hint("install systemd and D-Bus: `apt install systemd dbus`")
    };
    let input = std::io::stdin();
    let terminal = rustix::termios::tcgetattr(&input).ok();
    let listen = |kind| signal(kind).map_err(|error| failed(&error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut child = process.spawn().map_err(|error| failed(&error))?;
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    let status = tokio::select! {
        status = &mut waiting => Some(status),
        () = async { tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () } } => None,
    };
    // systemd-run may have received the same signal, which ends it but not the unit.
    let is_over = matches!(&status, Some(Ok(Ok(status))) if status.code().is_some());
    if !is_over {
        let _ = Process::new("systemctl").args(["stop", name]).stderr(Stdio::null()).status();
    }
    if let Some(terminal) = terminal {
        let _ = rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Now, &terminal);
    }
    let Some(status) = status.filter(|_| is_over) else { return Ok(None) };
    let status = status.map_err(|error| Failure::failed("cannot wait for the command").because(&error))?;
    status.map(Some).map_err(|error| failed(&error))
}

/// Returns the command's exit code, or explains why systemd did not start it.
fn explain(status: ExitStatus, unit: &Unit, name: &str) -> Result<ExitCode, Failure> {
    let journal = format!("read systemd's messages with `journalctl -u {name}`");
    let code = status.code().unwrap_or_default();
    if code < FIRST_OF_SYSTEMD {
        return Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from));
    }
    let step = match code {
        200 => "its working directory is inaccessible",
        203 => "the unit's program cannot be started",
        216 | 217 => "the unit's user or group does not exist",
        226 => "the sandbox cannot be set up: a path in the unit is missing",
        238..=240 => "a directory of the unit cannot be created",
        243 => "a credential of the unit cannot be passed",
        _ => "a step before the program failed",
    };
    Err(Failure::failed(format!("systemd cannot start a command as {UNIT}"))
        .because_text(format!("{step} (exit status {code}, user {})", unit.user()))
        .hint(journal))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(line: &str) -> (Vec<OsString>, Arguments) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let arguments = Arguments::try_parse_from([OsString::from("infrad")].iter().chain(&words));
        (words, arguments.expect("good arguments"))
    }

    fn packaged() -> Unit {
        Unit::of_text(include_str!("../../../deploy/systemd/infrad.service"))
    }

    #[test]
    fn command_has_user_credential_and_sandbox_of_the_unit() {
        let properties = properties(&packaged(), &parse("check --live").1.command);
        for property in [
            "User=infrad",
            "LoadCredential=root.key:/etc/infra/root.key",
            "StateDirectory=infrad infrad-rollback-guard",
            "ProtectSystem=strict",
            "SystemCallFilter=~@privileged @resources",
            "MemorySwapMax=0",
        ] {
            assert!(properties.iter().any(|found| found == property), "{property}: {properties:?}");
        }
        for of_the_daemon in ["Type=", "ExecStart=", "ExecReload=", "WatchdogSec=", "Restart"] {
            assert!(!properties.iter().any(|found| found.starts_with(of_the_daemon)), "{of_the_daemon}");
        }
        assert!(!properties.contains(&"PrivateTmp=no".to_owned()));
    }

    #[test]
    fn command_with_a_file_sees_the_files_of_the_host() {
        for line in ["backup a", "backup verify a", "restore a --recovery", "audit verify --file=a"] {
            let (words, arguments) = parse(line);
            let properties = properties(&packaged(), &arguments.command);
            assert!(properties.ends_with(&HIDES_FILES.map(ToOwned::to_owned)), "{line}: {properties:?}");
            let words = with_absolute_paths(&words, &arguments);
            let whole = std::path::absolute("a").expect("a directory").into_os_string();
            let mut as_option = OsString::from("--file=");
            as_option.push(&whole);
            let expected = [whole, as_option];
            assert!(words.iter().any(|word| expected.contains(word)), "{line}: {words:?}");
        }
    }

    #[test]
    fn commands_independent_of_the_service_are_rejected() {
        for line in ["serve", "as-service status", "completions bash"] {
            assert!(expect_command(&parse(line).1.command).is_err(), "{line}");
        }
        for line in ["key status --json", "serve --accept-rollback", "serve --new-store"] {
            assert!(expect_command(&parse(line).1.command).is_ok(), "{line}");
        }
    }

    #[test]
    fn pasted_token_is_replaced_by_its_id() {
        for (word, expected) in [
            ("infra_VmNJEtYXZH.itugRhoJ0123456789abcdef", "VmNJEtYXZH"),
            ("infra_aud_UVsCIoqRjx.itugRhoJ0123456789abcdef", "UVsCIoqRjx"),
            ("VmNJEtYXZH", "VmNJEtYXZH"),
            ("--user=infra_x", "--user=infra_x"),
        ] {
            assert_eq!(without_token(&OsString::from(word)), OsString::from(expected));
        }
    }

    #[test]
    fn exit_code_of_systemd_is_explained() {
        use std::os::unix::process::ExitStatusExt;

        let explained =
            |code: i32| explain(ExitStatus::from_raw(code << 8), &packaged(), "infrad-command-1.service");
        assert!(explained(4).is_ok());
        let failure = format!("{:?}", explained(243).expect_err("a failure"));
        assert!(failure.contains("a credential of the unit cannot be passed"), "{failure}");
        assert!(failure.contains("journalctl -u infrad-command-1.service"), "{failure}");
    }
}
