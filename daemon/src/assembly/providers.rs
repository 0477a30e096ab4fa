//! The configured providers: their sessions, and their rows in the store.

use std::sync::Arc;

use infra_shared::clock::Clock;
use secrecy::ExposeSecret;

use super::{AssemblyError, DataDirectory};
use crate::audit::Audit;
use crate::config::Config;
use crate::identity::{Provider, ProviderSettings, Workloads};
use crate::jwt::TokenKeys;
use crate::keys::{FieldSealer, Place};
use crate::sessions::{Bindings, SessionSetup, Sessions};
use crate::store::ProviderRow;

pub(super) fn open_sessions(
    config: &Config,
    data_directory: &DataDirectory,
    bindings: Bindings,
    token_keys: Option<Arc<TokenKeys>>,
    clock: &Arc<dyn Clock>,
    audit: &Audit,
) -> Result<Sessions, AssemblyError> {
    let (keys, store) = (&data_directory.keys, &data_directory.store);
    let providers = config.providers.iter().map(|settings| {
        let (backends, limits) = (config.backends.clone(), &config.limits);
        Provider::with_limits(
            settings.clone(),
            backends,
            clock.clone(),
            &limits.exchanges,
            limits.provider_calls,
        )
        .map(|it| it.with_store(store.clone(), audit.clone()))
        .map_err(|source| AssemblyError::Provider { name: settings.name.clone(), source })
    });
    let limits = &config.limits;
    let workloads = Workloads::new(config.workloads.clone(), &limits.exchanges, limits.provider_calls)
        .map_err(AssemblyError::Workloads)?;
    Ok(Sessions::new(SessionSetup {
        store: store.clone(),
        ticket_key: keys.ticket_key(),
        sealer: keys.field_sealer(),
        providers: providers.collect::<Result<_, _>>()?,
        workloads,
        token_keys,
        bindings,
        limits: config.sessions.clone(),
        admins: config.admins.clone(),
        clock: clock.clone(),
        audit: audit.clone(),
    }))
}

/// The rows of the configured providers.
pub(super) fn provider_rows(data_directory: &DataDirectory, sessions: &Sessions) -> Vec<ProviderRow> {
    let sealer = data_directory.keys.field_sealer();
    sessions.providers().iter().map(|it| provider_row(it.settings(), &sealer)).collect()
}

/// The stored row of a provider. The client secret reference is always sealed, because a `plaintext` reference contains
/// the secret itself.
fn provider_row(settings: &ProviderSettings, sealer: &FieldSealer) -> ProviderRow {
    let place =
        Place { table: "providers", row: &settings.name, column: "client_secret_reference", version: 1 };
    ProviderRow {
        name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        allow_policy: serde_json::to_string(&settings.allow).expect("lists of texts are JSON"),
        client_secret_reference: sealer
            .seal(place, settings.client_secret.expose().expose_secret().as_bytes()),
    }
}
