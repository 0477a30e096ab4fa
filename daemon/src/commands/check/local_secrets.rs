//! Checks secrets in files, variables and the configuration, with the rights of the service.

use super::access::{fails, other_user, tried};
use super::live::Tried;
use crate::commands::{Context, service_access};
use crate::config::Config;
use crate::failure::Failure;
use crate::identity::Outcome;
use crate::platform::{Account, UNIT, run_as};
use crate::secrets::{ReadError, Reference};
use crate::services;

/// A reference, and whose secret it is.
struct Named<'a> {
    /// `provider` or `service`, and its name; `database`.
    owner: (&'static str, &'a str),
    what: &'static str,
    reference: &'a Reference,
}

fn all(config: &Config) -> impl Iterator<Item = Named<'_>> {
    let secrets = config.providers.iter().map(|provider| Named {
        owner: ("provider", &provider.name),
        what: "client secret",
        reference: &provider.client_secret,
    });
    let credentials = config.services.iter().flat_map(|service| {
        service.credentials.iter().map(|reference| Named {
            owner: ("service", &service.name),
            what: "credential",
            reference,
        })
    });
    let password = config.database.iter().filter_map(|database| {
        let reference = &database.password.as_ref()?.reference;
        Some(Named { owner: ("database", &database.name), what: "password", reference })
    });
    secrets.chain(credentials).chain(password)
}

/// Fails with the first secret whose contents cannot be used. A missing one is no error here, because only the service may
/// have it.
pub(super) async fn expect_usable(context: &Context, config: &Config) -> Result<(), Failure> {
    let Some(account) = other_user(context).filter(|_| Account::of_this_process().uid == 0) else {
        return find_fault(config).await.map_or(Ok(()), Err);
    };
    let find = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, std::io::Error>(runtime.block_on(find_fault(config)))
    };
    // If the rights cannot be taken on, the checks of files say so.
    run_as(&account, find).flatten().ok().flatten().map_or(Ok(()), Err)
}

async fn find_fault(config: &Config) -> Option<Failure> {
    for Named { owner: (kind, name), what, reference } in all(config) {
        let unusable = |error: &ReadError| {
            Failure::usage(format!("cannot use the {what} of {kind} `{name}`")).because(error)
        };
        if let Some(error) = config.backends.find_local_fault(reference).await {
            return Some(unusable(&error).hint(error.hint()));
        }
        // Its own cause says what to do about one that is too short.
        if kind == "service"
            && config.backends.is_local(reference)
            && let Err(error @ ReadError::Malformed(_)) =
                services::check_credential(reference, &config.backends).await
        {
            return Some(unusable(&error));
        }
    }
    None
}

/// Variables that are not set here. The unit says which ones the service has.
pub(super) async fn unset_variables(context: &Context, config: &Config) -> Vec<Tried> {
    let unit = service_access::unit_of(&context.config_path);
    let mut found = Vec::new();
    for Named { owner: (kind, name), what, reference } in all(config) {
        let Some(variable) = config.backends.variable_of(reference) else { continue };
        if !matches!(config.backends.resolve(reference).await, Err(ReadError::NotFound(_))) {
            continue;
        }
        let outcome = match unit.as_ref().map(|unit| unit.sets_variable(variable)) {
            Some(Some(true)) => continue,
            Some(Some(false)) => fails(
                format!("{UNIT} sets no variable {variable}"),
                format!(
                    "write the secret into a file of the user {}, and refer to it with `file:`; or `systemctl edit infrad`, then add \
                     under `[Service]`: `EnvironmentFile=FILE`",
                    unit.as_ref().map(|unit| unit.user().to_owned()).unwrap_or_default()
                ),
            ),
            _ => Outcome::Unknown {
                cause: format!(
                    "the variable {variable} is not set for this command; the service may have it"
                ),
            },
        };
        found.push(tried(&format!("{kind} {name}"), format!("{what} {reference}"), outcome));
    }
    found
}
