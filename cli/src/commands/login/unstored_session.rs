//! The session that the daemon opened: checks it, stores it and revokes the one that it replaces.

use std::collections::BTreeMap;

use infra_shared::api::{FinishLoginResponse, Provider};
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;
use secrecy::ExposeSecret;

use super::super::status::account;
use super::super::{Context, changed_entry_warning, revoke_own_session, times};
use super::outcome;
use crate::daemon_client::DaemonClient;
use crate::failure::{Exit, Failure};
use crate::home::{ClockOffset, PendingLogout, Server, Session, State, Storage};
use crate::keyring::{KeyringError, StoredEntry};
use crate::trust::VerifiedServer;

/// A session that the daemon has opened. Drop revokes it unless it was stored, because it would be unusable.
pub(super) struct UnstoredSession<'a> {
    client: &'a DaemonClient,
    token: SessionToken,
    finished: FinishLoginResponse,
    is_stored: bool,
}

impl<'a> UnstoredSession<'a> {
    /// Checks that the session is one of the chosen provider.
    pub(super) fn from_response(
        client: &'a DaemonClient,
        finished: FinishLoginResponse,
        origin: &Origin,
        provider: &Provider,
    ) -> Result<Self, Failure> {
        let token = SessionToken::parse(finished.token.expose_secret())
            .ok_or_else(|| Failure::new(Exit::Failed, format!("{origin} sent no session token")))?;
        let unstored = Self { client, token, finished, is_stored: false };
        let user = &unstored.finished.user;
        if (&user.provider, &user.issuer) != (&provider.name, &provider.issuer) {
            return Err(outcome::other_provider_failure(origin, provider, user));
        }
        Ok(unstored)
    }
}

/// Stores the session, makes the server current and revokes the previous session. Returns the account name.
///
/// The file is written before the keyring, so that interrupting a blocked keyring does not lose the session. The file
/// records the keyring copy before it exists, so that every copy is known and can be removed.
pub(super) fn save(
    context: &Context,
    origin: &Origin,
    with_keyring: bool,
    verified: &VerifiedServer,
    mut unstored: UnstoredSession<'_>,
) -> Result<String, Failure> {
    let FinishLoginResponse { session, user, now, .. } = &unstored.finished;
    let offset = ClockOffset::measure(*now, context.now());
    let session = Session {
        token: unstored.token.clone(),
        session: session.clone(),
        user: user.clone(),
        trust: verified.connection.record().clone(),
        clock_offset: offset,
        storage: if with_keyring { Storage::FileAndKeyring } else { Storage::File },
        ended: None,
        last_notified: None,
        audience_tokens: BTreeMap::new(),
    };
    let (trust, provider) = (verified.connection.record().clone(), Some(user.provider.clone()));
    let (state, replaced) = context.home.update(|state| {
        // Adopt first, because the server may have proved itself by an announced record.
        state.complete_ca_rollover(origin, &trust);
        let known = state.config.servers.remove(origin).filter(|known| known.trust == trust);
        let (ca_rollover, previous_trust) =
            known.map(|known| (known.ca_rollover, known.previous_trust)).unwrap_or_default();
        let server = Server { trust, provider, keyring: with_keyring, ca_rollover, previous_trust };
        state.config.servers.insert(origin.clone(), server);
        state.config.current = Some(origin.clone());
        let replaced = state.sessions.sessions.insert(origin.clone(), session);
        // Keep the logout proof until the daemon has revoked the session, because its token is deleted now.
        state
            .sessions
            .pending_logouts
            .extend(replaced.as_ref().map(|replaced| PendingLogout::new(origin, replaced)));
        replaced
    })?;
    let account = account(user);
    unstored.is_stored = true;
    times::warn_of_skew(offset.seconds(), context.terminal);
    context.store_ca_rollover(origin, &verified.connection);
    let is_copied = with_keyring && copy_to_keyring(context, origin, &unstored.token)?;
    if let Some(replaced) = replaced {
        revoke_previous(context, origin, verified, &state, &replaced, is_copied)?;
    }
    Ok(account)
}

/// Revokes the session that this sign-in replaced, and reports it if it belonged to a different user.
fn revoke_previous(
    context: &Context,
    origin: &Origin,
    verified: &VerifiedServer,
    state: &State,
    replaced: &Session,
    is_copied: bool,
) -> Result<(), Failure> {
    if let (_, Some(error)) = context.retry_logouts(origin, &verified.connection.client, state)? {
        let ends = times::at(replaced.session.expires_at, context.now());
        context.terminal.warn(&format!(
            "cannot revoke your previous session: {error}; the next command tries again, and the session expires {ends}"
        ));
    }
    if replaced.storage == Storage::FileAndKeyring && !is_copied {
        match context.keyring.forget(origin, &replaced.token) {
            Ok(StoredEntry::Token | StoredEntry::Missing) => {}
            Ok(StoredEntry::Other) => context.terminal.warn(&changed_entry_warning(origin)),
            Err(error) => {
                context
                    .terminal
                    .warn(&format!("cannot remove the copy of the previous token from the keyring: {error}"));
            }
        }
    }
    let user = state.sessions.sessions.get(origin).map(|session| &session.user);
    if user.is_some_and(|user| !replaced.user.is_same(user)) {
        context
            .terminal
            .info(&format!("this replaces the session of {} at {origin}", account(&replaced.user)));
    }
    Ok(())
}

impl Drop for UnstoredSession<'_> {
    fn drop(&mut self) {
        if !self.is_stored {
            // If the daemon is unreachable, the session expires unused.
            let _ = revoke_own_session(self.client, &self.token);
        }
    }
}

/// Copies the token to the keyring. If there is certainly no copy, the file records that. Otherwise a sign-out removes
/// the copy.
fn copy_to_keyring(context: &Context, origin: &Origin, token: &SessionToken) -> Result<bool, Failure> {
    let error = match context.keyring.store(origin, token) {
        Ok(()) => return Ok(true),
        Err(error @ KeyringError::Unconfirmed) => {
            context.terminal.warn(&format!("{error}: `infra status` shows if it holds a copy of the token"));
            return Ok(true);
        }
        Err(error) => error,
    };
    context.home.update(|state| {
        let stored = state.sessions.sessions.get_mut(origin);
        if let Some(session) = stored.filter(|session| session.token.id() == token.id()) {
            session.storage = Storage::File;
        }
    })?;
    context.terminal.warn(&format!("the token is stored only in the file: {error}; {}", error.hint()));
    Ok(false)
}
