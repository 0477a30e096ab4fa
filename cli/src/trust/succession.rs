//! CA rollover: stores a server's announcement only if its own authority signed it.

use infra_shared::origin::Origin;
use infra_shared::succession::{NotBelieved, Succession};
use jiff::Timestamp;

use super::Reach;
use crate::home::{Home, HomeError, SuccessionRecord};
use crate::terminal::Terminal;

/// Adopts the record that the server has proved, then stores its announcement.
pub fn heed(
    home: &Home,
    origin: &Origin,
    reach: &Reach,
    now: Timestamp,
    terminal: Terminal,
) -> Result<(), HomeError> {
    if reach.has_moved() {
        let (_, is_adopted) = home.update(|state| state.adopt(origin, reach.record()))?;
        if !is_adopted {
            return Ok(());
        }
        terminal.say(&format!("{origin} proves itself in another way now, as it had announced"));
    }
    let state = home.read()?;
    let Some(server) = state.config.servers.get(origin) else { return Ok(()) };
    let seen = server.succession.map_or(0, |announced| announced.sequence);
    // Fetched once per number. Servers without their own authority cannot announce.
    let is_news = reach.client.announced().is_some_and(|number| number > seen);
    let trusted = reach.record().pins();
    if !is_news || trusted.is_empty() || server.trust != *reach.record() {
        return Ok(());
    }
    let Some(statement) = reach.client.server().ok().and_then(|server| server.succession) else {
        return Ok(());
    };
    match Succession::verify(&statement, &trusted, origin, now, seen) {
        Ok(succession) => {
            let announced = SuccessionRecord {
                sequence: succession.sequence,
                pin: succession.pin,
                public: succession.public,
            };
            // The announcement was fetched over the network. A trust record that changed meanwhile is not overwritten.
            let (_, is_noted) =
                home.update(|state| state.note_succession(origin, reach.record(), announced))?;
            if is_noted {
                terminal.explain(&format!("{origin} announced by what it will prove itself next"));
            }
        }
        Err(reason @ (NotBelieved::OtherAuthority | NotBelieved::Signature)) => terminal.warn(&format!(
            "{origin} announces another identity, and that is not believed: {reason}; tell the server's operator"
        )),
        Err(reason) => terminal.explain(&format!("what {origin} announces is not believed: {reason}")),
    }
    Ok(())
}
