//! The commands that need the recovery key: they read it, and open the keys of the store with it.

use std::io::{BufRead, IsTerminal, Read};
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use zeroize::Zeroizing;

use super::database::failure_of_store;
use super::key::REWRAPPING;
use super::operation::{expect_stopped, expect_store};
use super::service_access::expect_inside;
use super::{Context, failure_for_keys};
use crate::assembly::{AssemblyError, lock, open_audit};
use crate::audit::Event;
use crate::config::Config;
use crate::failure::Failure;
use crate::keys::{self, KeyError, RecoveredRows, RecoveryKey, Rewrapped, StoredKeys};
use crate::platform::HiddenInput;
use crate::store::{PostgresDatabase, PostgresSettings, StoreError};

const WHAT: &str = "cannot wrap the data key with the first root key";
/// Longer than a recovery key with all its dashes.
const LONGEST_LINE: usize = 1024;

/// Checks that a recovery key opens the store. Changes nothing and needs no root key. Returns `None` after an interrupt.
pub(super) async fn test(context: &Context, config: &Config) -> Result<Option<()>, Failure> {
    const WHAT: &str = "the recovery key does not open the store";
    expect_inside(context, config)?;
    let shared = match &config.database {
        Some(settings) => Some(read_rows(settings, WHAT).await?),
        None => None,
    };
    let Some(key) = ask_for_recovery_key(context).await? else { return Ok(None) };
    let opened = match shared {
        Some((database, stored)) => RecoveredRows::open(&stored, database.describe(), &key).map(drop),
        None => keys::test_recovery(&config.data_dir, &key),
    };
    opened.map(Some).map_err(|error| Failure::failed(WHAT).because(&error))
}

/// Unwraps the data key with the recovery key and wraps it with the first root key. Returns `None` after an interrupt.
pub(super) async fn rewrap(context: &Context, config: &Config) -> Result<Option<Rewrapped>, Failure> {
    expect_inside(context, config)?;
    expect_store(config)?;
    expect_stopped(config).map_err(|failure| {
        let stopping = failure.hint_text().unwrap_or_default();
        let hint = format!(
            "keep it running: it still holds the data key, so you can replace the root key without the recovery key \
             (docs/runbooks.md#the-root-key-is-lost). Otherwise test the recovery key first, `infrad key recovery test`, \
             and {stopping}"
        );
        failure.hint(hint)
    })?;
    let shared = match &config.database {
        Some(settings) => Some(read_rows(settings, WHAT).await?),
        None => None,
    };
    let Some(key) = ask_for_recovery_key(context).await? else { return Ok(None) };
    let _lock = lock(config)?;
    let audit = open_audit(config.audit.as_ref(), Arc::new(SystemClock)).map_err(AssemblyError::from)?;
    context.terminal.say(REWRAPPING);
    let rewrapped = match shared {
        Some((database, stored)) => rewrap_rows(config, &database, &stored, &key).await,
        None => keys::rewrap_recovered(&config.data_dir, &key, &config.root_keys)
            .await
            .map_err(|error| failed(&error)),
    };
    let outcome = if rewrapped.is_ok() { "succeeded" } else { "failed" };
    audit.record(&Event::KeyOperation { operation: "rewrap", outcome });
    rewrapped.map(Some)
}

async fn rewrap_rows(
    config: &Config,
    database: &PostgresDatabase,
    stored: &StoredKeys,
    key: &RecoveryKey,
) -> Result<Rewrapped, Failure> {
    let recovered = RecoveredRows::open(stored, database.describe(), key).map_err(|error| failed(&error))?;
    let rewrapped =
        recovered.rewrap(&config.root_keys, &config.data_dir).await.map_err(|error| failed(&error))?;
    database.replace_recovered_keys(&rewrapped.stored).await.map_err(|error| match error {
        StoreError::InUse { .. } => failure_of_store(WHAT, &error).hint(
            "keep one running: it still holds the data key, so you can replace the root key without the recovery key: on its host, \
             name a new root key first in `keys`, then run `infrad key rewrap`. Otherwise stop every daemon, then run the same \
             command again; one that was killed counts for 15 s",
        ),
        error => failure_of_store(WHAT, &error),
    })?;
    Ok(rewrapped.keys)
}

fn failed(error: &KeyError) -> Failure {
    failure_for_keys(WHAT, error, Some(error))
}

/// The keys of a shared store, before anything is asked.
async fn read_rows(
    settings: &PostgresSettings,
    what: &str,
) -> Result<(PostgresDatabase, StoredKeys), Failure> {
    let failed = |error: StoreError| failure_of_store(what, &error);
    let database = PostgresDatabase::new(settings).map_err(failed)?;
    let stored = database.keys().await.map_err(failed)?;
    let stored = stored.ok_or_else(|| StoreError::NoSchema { database: database.describe().to_owned() });
    Ok((database, stored.map_err(failed)?))
}

/// Reads a recovery key from standard input. At a terminal, it prompts and hides the input, and returns `None` after an
/// interrupt.
pub(super) async fn ask_for_recovery_key(context: &Context) -> Result<Option<RecoveryKey>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed("cannot read the recovery key from standard input").because(&error)
    };
    let input = std::io::stdin();
    let line = if input.is_terminal() {
        // Before the prompt, so that early input is hidden too.
        let hidden = HiddenInput::start().map_err(failed)?;
        context.terminal.say("type the recovery key, with or without dashes; your typing stays hidden:");
        match hidden.read_line(LONGEST_LINE).await.map_err(failed)? {
            Some(line) => line,
            None => return Ok(None),
        }
    } else {
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE));
        input.lock().take(LONGEST_LINE as u64).read_until(b'\n', &mut line).map_err(failed)?;
        line
    };
    // Bytes that are not text become a character that no key has.
    let text = String::from_utf8_lossy(&line);
    let key = RecoveryKey::parse(text.trim())
        .map_err(|error| Failure::usage("this is not a recovery key").because(&error))?;
    Ok(Some(key))
}
