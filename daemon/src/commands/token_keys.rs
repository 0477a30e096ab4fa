//! `infrad key tokens`: rotates the keys that sign audience tokens. Works with or without a running daemon.

use std::sync::Arc;

use infra_shared::clock::SystemClock;

use super::operation::{call_holder, expect_store};
use super::service_access::why_outside;
use super::{Context, when};
use crate::arguments::TokenKeysCommand;
use crate::assembly::{AssemblyError, DataDirectory, open_audit};
use crate::config::Config;
use crate::control::{self, Operation};
use crate::failure::Failure;
use crate::jwt::TokenKeyState;
use crate::platform::PlatformError;

pub(super) async fn run(
    context: &Context,
    config: &Config,
    TokenKeysCommand::Rotate { now }: TokenKeysCommand,
) -> Result<(), Failure> {
    let keys = rotate(context, config, now).await?;
    context.terminal.say(&describe(&keys, now));
    Ok(())
}

fn describe(keys: &[TokenKeyState], immediately: bool) -> String {
    let Some(last) = keys.last() else { return "no key is published".to_owned() };
    if immediately {
        return format!(
            "the key {} signs from now on, and the daemon rejects every earlier token\nServices that validate tokens themselves \
             accept earlier tokens until they read the keys again: restart them now\nUsers may get 401 for up to ten minutes: \
             `infra login` gets them another token at once\nOther daemons on the same database follow within seconds",
            last.id
        );
    }
    format!("the key {} is published, and signs from {} on", last.id, when(last.signs_from))
}

/// Asks the running daemon, or opens its data directory if none runs.
async fn rotate(context: &Context, config: &Config, now: bool) -> Result<Vec<TokenKeyState>, Failure> {
    let operation = Operation::RotateTokenKeys { immediately: now };
    if why_outside(context, config).is_some() {
        return call_holder(context, config, operation).await;
    }
    expect_store(config)?;
    let data_directory = match DataDirectory::open(config).await {
        Ok(data_directory) => data_directory,
        Err(AssemblyError::Platform(PlatformError::Locked { .. })) => {
            return Ok(control::call(&config.data_dir, operation).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let clock = Arc::new(SystemClock);
    let audit = open_audit(config.audit.as_ref(), clock.clone()).map_err(AssemblyError::from)?;
    let opened = data_directory.token_keys(config, data_directory.clock(clock), audit).await?;
    let keys = opened.ok_or_else(|| {
        Failure::failed("no service has signed tokens")
            .hint("set `tokens: jwt` for a service in the configuration: docs/jwt.md")
    })?;
    let rotated = if now { keys.replace().await } else { keys.announce().await };
    rotated.map_err(|error| Failure::failed("cannot rotate the keys of audience tokens").because(&error))?;
    Ok(keys.states())
}

#[cfg(test)]
mod tests {
    use crate::jwt::Algorithm;

    use super::*;

    #[test]
    fn rotation_says_when_the_new_key_signs() {
        let signs_from = "2026-11-24T08:00:00Z".parse().expect("a time");
        let state = |id: &str, is_signing| TokenKeyState {
            id: id.to_owned(),
            algorithm: Algorithm::ES256,
            created_at: signs_from,
            signs_from,
            is_signing,
        };
        let keys = [state("old", true), state("new", false)];
        assert_eq!(
            describe(&keys, false),
            "the key new is published, and signs from 2026-11-24 08:00 UTC on"
        );
        let replaced = describe(&keys, true);
        for expected in ["restart them now", "`infra login`", "follow within seconds"] {
            assert!(replaced.contains(expected), "{replaced}");
        }
    }
}
