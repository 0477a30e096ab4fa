//! `infrad key`: shows and changes the keys that protect the store.

use std::process::ExitCode;

use zeroize::Zeroizing;

use super::operation::perform;
use super::status::call_daemon;
use super::{Context, INTERRUPTED, recovery, token_keys, when};
use crate::arguments::{KeyCommand, RecoveryCommand};
use crate::config::Config;
use crate::control::Operation;
use crate::failure::Failure;
use crate::keys::{KeyError, KeyStatus, Rewrapped, RootKeySettings};

pub(super) const REWRAPPING: &str = "wrapping the data key with the first root key in `keys` …";
const ROTATING: &str = "encrypting the store with a new data key; writes wait until it is done …";
const ROTATING_SHARED: &str = "encrypting the store with a new data key, once every daemon has read it; sign-ins and \
                               validations continue …";
const DROPPED_LATER: &str = "a daemon deletes the previous data key as soon as no daemon and no login ticket needs it, \
                             usually within 8 minutes";

pub(super) async fn run(context: &Context, command: KeyCommand) -> Result<ExitCode, Failure> {
    let config = context.read_config();
    match command {
        KeyCommand::Status { json } => show_status(context, config, json).await?,
        KeyCommand::Rewrap { recovery } => {
            let config = config?;
            let rewrapped: Rewrapped = if recovery {
                match recovery::rewrap(context, &config).await? {
                    Some(rewrapped) => rewrapped,
                    None => return Ok(ExitCode::from(INTERRUPTED)),
                }
            } else {
                context.terminal.say(REWRAPPING);
                perform(context, &config, Operation::Rewrap).await?
            };
            let (now, replaced) = (&rewrapped.keys.root_key, &rewrapped.replaced_root_key);
            context.terminal.say(&format!("the root key {now} now wraps the data key"));
            if now != replaced {
                context.terminal.say(&format!(
                    "backups made before need the root key {replaced}: keep it, or make a new backup now: `infrad backup FILE`"
                ));
            }
        }
        KeyCommand::Rotate => {
            let config = config?;
            let is_shared = config.database.is_some();
            context.terminal.say(if is_shared { ROTATING_SHARED } else { ROTATING });
            let status: KeyStatus = perform(context, &config, Operation::Rotate).await?;
            context.terminal.say(&format!("data key {} now encrypts the store", status.data_key_version));
            if is_shared {
                context.terminal.say(DROPPED_LATER);
            }
        }
        KeyCommand::Tokens { command } => token_keys::run(context, &config?, command).await?,
        KeyCommand::Recovery { command: RecoveryCommand::Create } => {
            let config = config?;
            let key: Zeroizing<String> =
                Zeroizing::new(perform(context, &config, Operation::CreateRecovery).await?);
            context.terminal.say(
                "This is your recovery key. It is shown only now: print it, and keep it away from this host and from \
                 your root key.\nIf you lose the root key, `infrad key rewrap --recovery` opens the store with the \
                 recovery key, and `infrad restore --recovery` opens every backup that you make from now on.\nAnyone \
                 with the recovery key and a copy of the data or of a backup can read the store.",
            );
            let line = Zeroizing::new(format!("{}\n", *key));
            // If the output fails, the key is lost.
            context.terminal.data(line.as_bytes()).map_err(|error| {
                Failure::failed("cannot print the new recovery key: it is lost, and the previous one is already replaced")
                    .because(&error)
                    .hint("run `infrad key recovery create` again, with its output on a terminal or in a private file")
            })?;
            context.terminal.say(
                "test your copy with `infrad key recovery test`, then make a backup: `infrad backup FILE`",
            );
        }
        KeyCommand::Recovery { command: RecoveryCommand::Test } => {
            if recovery::test(context, &config?).await?.is_none() {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            context.terminal.say("the recovery key opens the store");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A daemon that runs still answers if the configuration file has a fault since.
async fn show_status(context: &Context, config: Result<Config, Failure>, json: bool) -> Result<(), Failure> {
    let (status, root_keys): (KeyStatus, _) = match config {
        Ok(config) => {
            let status = perform(context, &config, Operation::KeyStatus).await?;
            let root_keys = describe_root_keys(&status, &config);
            (status, root_keys)
        }
        Err(_) => (call_daemon(&context.find_running()?, Operation::KeyStatus).await?, Vec::new()),
    };
    let text = if json {
        serde_json::to_string_pretty(&status).expect("plain JSON") + "\n"
    } else {
        let mut lines = vec![
            format!("store         {}", status.store),
            format!("data key      {}", status.data_key_version),
            format!("wrapped by    {}", status.root_key),
        ];
        lines.extend(root_keys);
        lines.push(recovery_line(&status));
        lines.join("\n") + "\n"
    };
    context.terminal.data(text).map_err(|error| Failure::output(&error))
}

/// A line for each root key in the configuration, with what it is for.
fn describe_root_keys(status: &KeyStatus, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let has_wrapped =
        |root_key: &RootKeySettings| match root_key.has_wrapped(&status.root_key, &config.data_dir) {
            Ok(has_wrapped) => Ok(has_wrapped),
            Err(error) if error.is_of_other_file() || error.has_wrong_mode() => Err(error),
            // A key that this user cannot read stays undecided.
            Err(_) => Ok(None),
        };
    let is_wrapping_at_hand =
        config.root_keys.iter().any(|root_key| matches!(has_wrapped(root_key), Ok(Some(true))));
    let may_be_at_hand =
        config.root_keys.iter().any(|root_key| !matches!(has_wrapped(root_key), Ok(Some(false)) | Err(_)));
    for (position, root_key) in config.root_keys.iter().enumerate() {
        let name = if position == 0 { "configured  " } else { "            " };
        let role = match (root_key.missing_file(), has_wrapped(root_key), position) {
            (Some(file), _, _) if !is_wrapping_at_hand => {
                format!("missing: check its path, or restore {} before infrad stops", file.display())
            }
            (Some(file), _, 0) => format!("missing: create {} before `infrad key rewrap`", file.display()),
            (Some(_), _, _) => "missing: may be needed for older backups".to_owned(),
            (None, Err(error), _) => format!("unusable: {}", about_file(&error)),
            (None, Ok(Some(true)), _) => "wraps the data key".to_owned(),
            (None, Ok(Some(false)), 0) if !may_be_at_hand => {
                "does not open the store: check its path, or run `infrad key rewrap` before infrad stops"
                    .to_owned()
            }
            (None, Ok(Some(false)), 0) => "unused until you run `infrad key rewrap`".to_owned(),
            (None, Ok(Some(false)), _) => "may open older backups".to_owned(),
            (None, Ok(None), 0) => "first in `keys`".to_owned(),
            (None, Ok(None), _) => "may unwrap the data key".to_owned(),
        };
        lines.push(format!("{name}  {} ({role})", root_key.describe()));
    }
    lines
}

/// The message without its first words, which the line has.
fn about_file(error: &KeyError) -> String {
    let message = error.to_string();
    message.strip_prefix("root key: ").unwrap_or(&message).to_owned()
}

/// When the recovery key was created, or how to create one.
pub(super) fn recovery_line(status: &KeyStatus) -> String {
    match status.recovery_key_created_at {
        Some(created_at) => format!("recovery key  created {}", when(created_at)),
        None => "recovery key  none: create one with `infrad key recovery create`".to_owned(),
    }
}
