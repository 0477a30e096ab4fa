//! CA rollover: stores a server's announcement only if its own authority signed it.

use infra_shared::ca_rollover::{CARollover, StatementError};
use infra_shared::origin::Origin;
use jiff::Timestamp;

use super::Connection;
use crate::home::{CARolloverRecord, Home, HomeError};
use crate::terminal::Terminal;

/// Adopts the record that the server has proved, then stores its announcement.
pub fn store_ca_rollover(
    home: &Home,
    origin: &Origin,
    connection: &Connection,
    now: Timestamp,
    terminal: Terminal,
) -> Result<(), HomeError> {
    if connection.has_rolled_over() {
        let (_, is_adopted) = home.update(|state| state.complete_ca_rollover(origin, connection.record()))?;
        if !is_adopted {
            return Ok(());
        }
        terminal.info(&format!("{origin} now uses a new identity, as it had announced"));
    }
    let state = home.read()?;
    let Some(server) = state.config.servers.get(origin) else { return Ok(()) };
    let seen = server.ca_rollover.map_or(0, |announced| announced.sequence);
    // Fetched once per number. Servers without their own authority cannot announce.
    let is_news = connection.client.rollover_number().is_some_and(|number| number > seen);
    let trusted = connection.record().pins();
    if !is_news || trusted.is_empty() || server.trust != *connection.record() {
        return Ok(());
    }
    let Some(statement) = connection.client.server().ok().and_then(|server| server.ca_rollover) else {
        return Ok(());
    };
    match CARollover::verify(&statement, &trusted, origin, now, seen) {
        Ok(ca_rollover) => {
            let announced = CARolloverRecord {
                sequence: ca_rollover.sequence,
                pin: ca_rollover.pin,
                public: ca_rollover.public,
            };
            // The announcement was fetched over the network. A trust record that changed meanwhile is not overwritten.
            let (_, is_noted) =
                home.update(|state| state.record_ca_rollover(origin, connection.record(), announced))?;
            if is_noted {
                terminal.verbose(&format!("{origin} announced its next identity, which is stored"));
            }
        }
        Err(reason @ (StatementError::OtherAuthority | StatementError::Signature)) => terminal.warn(&format!(
            "rejected the new identity that {origin} announces: {reason}; report this to the server's operator"
        )),
        Err(reason) => terminal.verbose(&format!("ignored the announcement of {origin}: {reason}")),
    }
    Ok(())
}
