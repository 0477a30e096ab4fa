//! Limits how many codes a provider may reject. An attacker with valid tickets and invented codes must not make the
//! daemon call the provider from every address it has, nor lock out users at other addresses.
//!
//! Within the budget per minute there is no limit. After that, each network has its own share of codes rejected in
//! this minute and codes in flight. A network without rejected codes only waits for its own exchanges, one second at
//! a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_mins(1);
/// Rejected codes per window before shares apply.
const BUDGET: u32 = 30;
/// The share of an address, or of a /64 network.
const SHARE: u32 = 3;
/// The share of a /48 network: one customer may hold all of its 65,536 /64 networks (RFC 6177).
const SITE_SHARE: u32 = 24;
/// Retry interval when exchanges in flight use up the share.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of networks with rejected codes. Beyond it, new networks wait, so that calls to the provider stay
/// bounded.
const MAX_NETWORKS: usize = 4096;

#[derive(Clone, Default)]
pub(super) struct RejectedCodeLimiter(Arc<Mutex<Window>>);

#[derive(Default)]
struct Window {
    begun: Option<Instant>,
    rejected: u32,
    /// Networks with codes in flight or rejected in this window.
    networks: HashMap<IpNet, Codes>,
}

#[derive(Clone, Copy, Default)]
struct Codes {
    in_flight: u32,
    rejected: u32,
}

/// An attempt to exchange a code. If dropped without a result, it counts as not rejected.
pub(super) struct CodeAttempt {
    codes: RejectedCodeLimiter,
    client: IpAddr,
    is_rejected: bool,
}

impl RejectedCodeLimiter {
    /// Admits an attempt of `client`, or returns how long it must wait.
    pub(super) fn begin_attempt(&self, client: IpAddr) -> Result<CodeAttempt, Duration> {
        self.begin_attempt_at(client, Instant::now())
    }

    /// Like [`Self::begin_attempt`], without starting an attempt.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        self.lock().check(client, Instant::now())
    }

    fn begin_attempt_at(&self, client: IpAddr, now: Instant) -> Result<CodeAttempt, Duration> {
        let mut window = self.lock();
        window.check(client, now)?;
        for (network, _) in networks(client) {
            window.networks.entry(network).or_default().in_flight += 1;
        }
        Ok(CodeAttempt { codes: self.clone(), client, is_rejected: false })
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn check(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let left = self.renew(now);
        if self.rejected >= BUDGET {
            for (network, share) in networks(client) {
                self.check_share(network, share, left)?;
            }
        }
        Ok(())
    }

    /// Starts a new window if this one has expired; returns the time left in the window.
    fn renew(&mut self, now: Instant) -> Duration {
        let left = self.begun.map(|begun| WINDOW.saturating_sub(now.saturating_duration_since(begun)));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return left;
        }
        self.begun = Some(now);
        self.rejected = 0;
        self.networks.retain(|_, codes| codes.in_flight > 0);
        self.networks.values_mut().for_each(|codes| codes.rejected = 0);
        WINDOW
    }

    fn check_share(&self, network: IpNet, share: u32, left: Duration) -> Result<(), Duration> {
        match self.networks.get(&network) {
            Some(codes) if codes.rejected >= share => Err(left),
            Some(codes) if codes.rejected + codes.in_flight >= share => Err(RETRY_INTERVAL),
            None if self.networks.len() >= MAX_NETWORKS => Err(left),
            Some(_) | None => Ok(()),
        }
    }
}

/// The networks that contain an address, with their shares.
fn networks(client: IpAddr) -> impl Iterator<Item = (IpNet, u32)> {
    let site = match client {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Ipv6Net::new(address, 48).ok().map(|site| IpNet::from(site.trunc())),
    };
    std::iter::once((IpNet::from(client), SHARE)).chain(site.map(|site| (site, SITE_SHARE)))
}

impl CodeAttempt {
    /// Records that the provider rejected the code.
    pub(super) fn rejected(&mut self) {
        self.is_rejected = true;
    }
}

impl Drop for CodeAttempt {
    fn drop(&mut self) {
        let mut window = self.codes.lock();
        let rejected = u32::from(self.is_rejected);
        window.rejected = window.rejected.saturating_add(rejected);
        for (network, _) in networks(self.client) {
            if let Some(codes) = window.networks.get_mut(&network) {
                codes.in_flight = codes.in_flight.saturating_sub(1);
                codes.rejected = codes.rejected.saturating_add(rejected);
                if codes.in_flight == 0 && codes.rejected == 0 {
                    window.networks.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn client(number: u16) -> IpAddr {
        Ipv4Addr::from_bits(0xc000_0200 + u32::from(number)).into()
    }

    fn rejected(codes: &RejectedCodeLimiter, client: IpAddr, now: Instant) -> bool {
        codes.begin_attempt_at(client, now).map(|mut attempt| attempt.rejected()).is_ok()
    }

    fn wait(codes: &RejectedCodeLimiter, client: IpAddr, now: Instant) -> Option<Duration> {
        codes.begin_attempt_at(client, now).err()
    }

    /// Two addresses used up the shared budget.
    fn used_up(now: Instant) -> RejectedCodeLimiter {
        let codes = RejectedCodeLimiter::default();
        let admitted = (0..40).filter(|number| rejected(&codes, client(number % 2), now)).count();
        assert_eq!(admitted, 30);
        codes
    }

    #[test]
    fn flood_from_few_addresses_spares_concurrent_logins() {
        let now = Instant::now();
        let codes = used_up(now);
        let honest: Vec<CodeAttempt> =
            (0..3).map_while(|_| codes.begin_attempt_at(client(9), now).ok()).collect();
        assert_eq!(honest.len(), 3, "three at a time");
        assert_eq!(
            wait(&codes, client(9), now),
            Some(RETRY_INTERVAL),
            "a fourth waits for one of them, not for a minute"
        );
        drop(honest);
        let one_by_one = (0..100).filter(|_| codes.begin_attempt_at(client(9), now).is_ok());
        assert_eq!(one_by_one.count(), 100, "logins that succeed use up nothing");
        assert_eq!(codes.lock().networks.len(), 2, "and nothing is kept of them");
        assert!(rejected(&codes, client(9), now), "a code that went stale");
        assert_eq!(wait(&codes, client(9), now), None, "other clients of this address need not wait");
    }

    #[test]
    fn rejected_codes_from_many_addresses_are_bounded() {
        let now = Instant::now();
        let codes = used_up(now);
        let admitted = (0..15).flat_map(|_| 0..20).filter(|number| rejected(&codes, client(*number), now));
        assert_eq!(admitted.count(), 18 * 3, "of 18 more addresses");
        let admitted = (0..10_000).filter(|number| rejected(&codes, client(100 + number), now));
        assert_eq!(admitted.count(), MAX_NETWORKS - 20, "one of each, as long as they can be remembered");
        assert_eq!(wait(&codes, client(20_000), now), Some(WINDOW), "a new one waits");
        assert_eq!(wait(&codes, client(101), now), None, "those remembered have the rest of their share");
    }

    #[test]
    fn rejected_address_waits_until_minute_ends() {
        let now = Instant::now();
        let codes = used_up(now);
        let later = now + Duration::from_millis(20_500);
        assert_eq!(wait(&codes, client(1), later), Some(Duration::from_millis(39_500)));
        assert!(rejected(&codes, client(1), now + WINDOW), "the next minute");
        assert_eq!(codes.lock().networks.len(), 1, "nothing else is kept of the one before");
    }

    #[test]
    fn exchange_beyond_its_minute_still_counts() {
        let now = Instant::now();
        let codes = RejectedCodeLimiter::default();
        let mut long = codes.begin_attempt_at(client(1), now).expect("a try");
        drop(codes.begin_attempt_at(client(2), now + WINDOW).expect("a try of the next minute"));
        long.rejected();
        drop(long);
        assert_eq!(codes.lock().rejected, 1);
        assert_eq!(codes.lock().networks.get(&IpNet::from(client(1))).map(|codes| codes.rejected), Some(1));
    }

    #[test]
    fn networks_of_one_site_share_a_limit() {
        let now = Instant::now();
        let codes = used_up(now);
        let network =
            |site: u16, number: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, number, 0, 0, 0, 0));
        let admitted = (0..60_000).filter(|number| rejected(&codes, network(1, *number), now));
        assert_eq!(admitted.count(), 24);
        assert_eq!(wait(&codes, network(2, 0), now), None);
        assert_eq!(wait(&codes, client(9), now), None);
    }
}
