//! Checks by the Secret Service's D-Bus interface if an entry can be accessed without a password.
//!
//! The keyring library unlocks locked collections, which opens a prompt on the desktop and blocks.

use std::collections::HashMap;
use std::io;

use infra_shared::printable::printable;
use zbus::blocking::Connection;
use zbus::names::ErrorName;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use super::{KeyringError, MAX_REASON};

const DESTINATION: &str = "org.freedesktop.secrets";
const SERVICE_PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The D-Bus object path for "none".
const NONE: &str = "/";

/// Checks that the entry of `account` can be read, or created if missing, without a password.
pub(super) fn check_unlocked(service: &str, account: &str) -> Result<(), KeyringError> {
    let bus = Connection::session().map_err(|error| no_bus(&error))?;
    let attributes = HashMap::from([("service", service), ("username", account)]);
    let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
        call(&bus, SERVICE_PATH, SERVICE, "SearchItems", &attributes)?;
    match (unlocked.as_slice(), locked.as_slice()) {
        ([_], []) => Ok(()),
        (_, [_, ..]) => Err(KeyringError::Locked),
        ([_, _, ..], []) => Err(KeyringError::Ambiguous),
        ([], []) => check_default_collection(&bus),
    }
}

/// Checks the collection in which a new entry would be created.
fn check_default_collection(bus: &Connection) -> Result<(), KeyringError> {
    let path: OwnedObjectPath = call(bus, SERVICE_PATH, SERVICE, "ReadAlias", &"default")?;
    if path.as_str() == NONE {
        return Err(KeyringError::NoCollection);
    }
    let is_locked: OwnedValue = call(bus, path.as_str(), PROPERTIES, "Get", &(COLLECTION, "Locked"))?;
    if bool::try_from(is_locked).unwrap_or(false) { Err(KeyringError::Locked) } else { Ok(()) }
}

fn call<T, B>(
    bus: &Connection,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> Result<T, KeyringError>
where
    T: serde::de::DeserializeOwned + zbus::zvariant::Type,
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    let answer = bus
        .call_method(Some(DESTINATION), path, Some(interface), method, body)
        .map_err(|error| failure(&error))?;
    answer.body().deserialize().map_err(|error| failure(&error))
}

fn no_bus(error: &zbus::Error) -> KeyringError {
    let is_absent = match error {
        zbus::Error::Address(_) => true,
        zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        }
        _ => false,
    };
    KeyringError::Unavailable(if is_absent {
        "there is no D-Bus session".to_owned()
    } else {
        format!("the D-Bus session cannot be used ({})", printable(&error.to_string(), MAX_REASON))
    })
}

fn failure(error: &zbus::Error) -> KeyringError {
    match error {
        zbus::Error::MethodError(name, text, _) => by_name(name, text.as_deref().unwrap_or(name.as_str())),
        // An error of the bus itself.
        zbus::Error::InputOutput(_) => KeyringError::Disconnected,
        other => KeyringError::Failed(printable(&other.to_string(), MAX_REASON)),
    }
}

fn by_name(name: &ErrorName<'_>, text: &str) -> KeyringError {
    match name.as_str().rsplit('.').next().unwrap_or_default() {
        "ServiceUnknown" | "NameHasNoOwner" => {
            KeyringError::Unavailable("no service answers on the D-Bus session".to_owned())
        }
        "NoReply" | "Disconnected" => KeyringError::Disconnected,
        "IsLocked" => KeyringError::Locked,
        // The bus failed to start the service.
        _ if name.as_str().starts_with("org.freedesktop.DBus.Error.Spawn") => {
            KeyringError::Unavailable(format!("it cannot be started ({})", printable(text, MAX_REASON)))
        }
        _ => KeyringError::Failed(printable(text, MAX_REASON)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_error_is_mapped_to_its_meaning() {
        for (name, meaning) in [
            ("org.freedesktop.DBus.Error.NoReply", KeyringError::Disconnected),
            ("org.freedesktop.Secret.Error.IsLocked", KeyringError::Locked),
            (
                "org.freedesktop.DBus.Error.ServiceUnknown",
                KeyringError::Unavailable("no service answers on the D-Bus session".to_owned()),
            ),
            (
                "org.freedesktop.DBus.Error.Spawn.ChildExited",
                KeyringError::Unavailable("it cannot be started (why)".to_owned()),
            ),
            ("org.example.Other", KeyringError::Failed("why".to_owned())),
        ] {
            let name = ErrorName::try_from(name).expect("a name");
            assert_eq!(by_name(&name, "why\u{1b}"), meaning, "{name}");
        }
    }
}
