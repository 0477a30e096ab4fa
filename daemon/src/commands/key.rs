//! `infrad key`: shows and changes the keys that protect the store.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use zeroize::Zeroizing;

use super::operation::{expect_store, perform};
use super::outside::expect_inside;
use super::{Context, failure_for_keys};
use crate::arguments::{KeyCommand, RecoveryCommand};
use crate::assembly::{AssemblyError, lock, open_audit};
use crate::audit::Event;
use crate::config::Config;
use crate::control::Operation;
use crate::failure::Failure;
use crate::keys::{self, KeyStatus, RecoveryKey};
use crate::platform::HiddenTyping;

const REWRAPPING: &str = "wrapping the data key under the first root key of the configuration …";
/// Longer than a recovery key with all its dashes.
const LONGEST_LINE: u64 = 1024;

pub(super) async fn run(context: &Context, command: KeyCommand) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    match command {
        KeyCommand::Status { json } => {
            let status: KeyStatus = perform(context, &config, Operation::KeyStatus).await?;
            let text = if json {
                serde_json::to_string_pretty(&status).expect("plain JSON") + "\n"
            } else {
                describe(&status, &config)
            };
            context.terminal.data(text).map_err(|error| Failure::output(&error))?;
        }
        KeyCommand::Rewrap { recovery } => {
            let status = if recovery {
                rewrap_recovered(context, &config).await?
            } else {
                context.terminal.say(REWRAPPING);
                perform(context, &config, Operation::Rewrap).await?
            };
            context.terminal.say(&format!("the data key is now wrapped by {}", status.root_key));
        }
        KeyCommand::Rotate => {
            context.terminal.say("moving the store to a new data key; writes wait meanwhile …");
            let status: KeyStatus = perform(context, &config, Operation::Rotate).await?;
            context.terminal.say(&format!("the store has data key {} now", status.data_key_version));
        }
        KeyCommand::Recovery { command: RecoveryCommand::Create } => {
            let key: Zeroizing<String> =
                Zeroizing::new(perform(context, &config, Operation::CreateRecovery).await?);
            context.terminal.say(
                "This is the recovery key. It is shown this once: print it, and keep it where neither this host nor \
                 your root key is.\nWithout the root key, `infrad key rewrap --recovery` opens the data with it, and \
                 `infrad restore --recovery` a backup from now on. Whoever has it, and the data or a backup, can \
                 read the store.",
            );
            let line = Zeroizing::new(format!("{}\n", *key));
            // If the output fails, the key is lost.
            context.terminal.data(line.as_bytes()).map_err(|error| {
                Failure::new("cannot print the recovery key, which is lost: it has replaced the one before")
                    .because(&error)
                    .hint("`infrad key recovery create` once more, where it can be printed")
            })?;
            context.terminal.say("check what you wrote down: `infrad key recovery test`; then make a backup");
        }
        KeyCommand::Recovery { command: RecoveryCommand::Test } => {
            expect_inside(context, &config)?;
            let key = ask_for_recovery_key(context)?;
            keys::test_recovery(&config.data_dir, &key)
                .map_err(|error| Failure::new("the recovery key does not open the store").because(&error))?;
            context.terminal.say("the recovery key opens the store");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Unwraps the data key with the recovery key and wraps it with the first root key.
async fn rewrap_recovered(context: &Context, config: &Config) -> Result<KeyStatus, Failure> {
    expect_inside(context, config)?;
    expect_store(config)?;
    let key = ask_for_recovery_key(context)?;
    let _lock = lock(config)?;
    let audit = open_audit(config.audit.as_ref(), Arc::new(SystemClock)).map_err(AssemblyError::from)?;
    context.terminal.say(REWRAPPING);
    let rewrapped = keys::rewrap_recovered(&config.data_dir, &key, &config.root_keys).await;
    let outcome = if rewrapped.is_ok() { "succeeded" } else { "failed" };
    audit.record(&Event::KeyOperation { operation: "rewrap", outcome });
    rewrapped.map_err(|error| failure_for_keys("the data key was not wrapped anew", &error, Some(&error)))
}

/// Reads a recovery key from standard input. At a terminal, it prompts and hides the input.
pub(super) fn ask_for_recovery_key(context: &Context) -> Result<RecoveryKey, Failure> {
    let input = std::io::stdin();
    // Before the prompt, so that early input is hidden too.
    let hidden = input.is_terminal().then(HiddenTyping::start);
    if hidden.is_some() {
        context
            .terminal
            .say("recovery key (case, spaces and dashes do not matter; it is not shown while you type):");
    }
    let mut line = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST_LINE).unwrap_or_default()));
    let read = input.lock().take(LONGEST_LINE).read_line(&mut line);
    drop(hidden);
    read.map_err(|error| Failure::new("standard input cannot be read").because(&error))?;
    RecoveryKey::parse(line.trim())
        .map_err(|error| Failure::usage("this is not a recovery key").because(&error))
}

fn describe(status: &KeyStatus, config: &Config) -> String {
    let recovery = match status.recovery_key_created_at {
        Some(created_at) => format!("made {created_at}"),
        None => "none: `infrad key recovery create` makes one".to_owned(),
    };
    let mut lines = vec![
        format!("store         {}", status.store),
        format!("data key      {}", status.data_key_version),
        format!("wrapped by    {}", status.root_key),
    ];
    for (position, root_key) in config.root_keys.iter().enumerate() {
        let name = if position == 0 { "configured  " } else { "            " };
        let role = if position == 0 { "wraps" } else { "may unwrap" };
        lines.push(format!("{name}  {} ({role})", root_key.describe()));
    }
    lines.push(format!("recovery key  {recovery}"));
    lines.join("\n") + "\n"
}
