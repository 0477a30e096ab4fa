//! How many codes a provider may refuse: a stranger with valid tickets and invented codes must not make the daemon call it
//! as often as there are addresses to come from.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_mins(1);
/// Refused codes of a window. After these, an address whose code was refused has to wait; every other one still has a try.
const BUDGET: u32 = 30;
/// Addresses that are remembered. More at a time come from one stranger.
const MAX_PARTIES: usize = 4096;

/// The budget of one provider.
#[derive(Clone, Default)]
pub(super) struct RefusedCodes(Arc<Mutex<Window>>);

#[derive(Default)]
struct Window {
    begun: Option<Instant>,
    refused: u32,
    /// Whose codes were refused, and who has the one try that is left.
    parties: HashSet<IpAddr>,
}

/// A try to exchange a code. Dropped without a word, it is taken for one that was not refused.
pub(super) struct Try {
    codes: RefusedCodes,
    party: IpAddr,
    is_refused: bool,
}

impl RefusedCodes {
    /// Lets `party` try, or says how long it has to wait.
    pub(super) fn admit(&self, party: IpAddr) -> Result<Try, Duration> {
        self.admit_at(party, Instant::now())
    }

    fn admit_at(&self, party: IpAddr, now: Instant) -> Result<Try, Duration> {
        let mut window = self.lock();
        let age = window.begun.map_or(WINDOW, |begun| now.duration_since(begun));
        if age >= WINDOW {
            *window = Window { begun: Some(now), ..Window::default() };
        } else if window.refused >= BUDGET {
            let is_full = window.parties.len() >= MAX_PARTIES;
            if is_full || !window.parties.insert(party) {
                return Err(WINDOW.saturating_sub(age));
            }
        }
        Ok(Try { codes: self.clone(), party, is_refused: false })
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try {
    /// The provider refused the code.
    pub(super) fn refused(&mut self) {
        self.is_refused = true;
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let mut window = self.codes.lock();
        if self.is_refused {
            window.refused = window.refused.saturating_add(1);
            if window.parties.len() < MAX_PARTIES {
                window.parties.insert(self.party);
            }
        } else {
            window.parties.remove(&self.party);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn party(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    fn refused(codes: &RefusedCodes, party: IpAddr, now: Instant) -> bool {
        codes.admit_at(party, now).map(|mut attempt| attempt.refused()).is_ok()
    }

    #[test]
    fn refused_codes_are_bounded_for_all_addresses_together() {
        let (codes, now) = (RefusedCodes::default(), Instant::now());
        let tries = (0..15).flat_map(|_| (1..=20).map(party));
        let admitted = tries.filter(|party| refused(&codes, *party, now)).count();
        assert_eq!(admitted, 30, "300 invented codes from 20 addresses");
        // An address that did nothing yet has a try, and after a good code another one.
        let honest = party(99);
        for _ in 0..3 {
            drop(codes.admit_at(honest, now).expect("a try"));
        }
        let first = codes.admit_at(honest, now).expect("a try");
        assert!(codes.admit_at(honest, now).is_err(), "one at a time");
        drop(first);
        assert!(refused(&codes, honest, now) && !refused(&codes, honest, now));
        let wait = codes.admit_at(party(1), now + Duration::from_secs(20)).err().expect("a wait");
        assert_eq!(wait, Duration::from_secs(40));
        assert!(refused(&codes, party(1), now + WINDOW), "the next minute");
    }
}
