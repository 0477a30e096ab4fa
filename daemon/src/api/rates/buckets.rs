//! Leaky buckets by client in bounded memory.
//!
//! Written by hand: library limiters grow with the number of addresses until they are pruned. This table of fixed
//! size evicts the bucket closest to empty, so a crowd of addresses does not affect others.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const SHARDS: usize = 64;
const WAYS: usize = 8;
const PERIOD: Duration = Duration::from_mins(1);

/// Permits a number per minute for each client: all in a burst, then evenly spaced (GCRA).
pub(super) struct Buckets {
    /// Average time between two permits.
    interval: Duration,
    /// Random, so that an attacker cannot choose whose bucket to share.
    hasher: RandomState,
    sets_per_shard: usize,
    /// Each without memory until it counts its first client.
    shards: Vec<Mutex<Box<[Set]>>>,
}

/// Number of clients remembered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Capacity {
    /// 131,072 internet addresses.
    Addresses = 256,
    /// 16,384 connections, which are fewer.
    Connections = 32,
}

type Set = [Bucket; WAYS];

/// A bucket: the client's hash, and when it will be empty.
#[derive(Clone, Copy, Default)]
struct Bucket {
    client: u64,
    empty_at: Duration,
}

impl Buckets {
    pub(super) fn new(a_minute: u32, capacity: Capacity) -> Self {
        Self {
            interval: PERIOD / a_minute.max(1),
            hasher: RandomState::new(),
            sets_per_shard: capacity as usize,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes one permit for `client`, or returns how long to wait.
    pub(super) fn take(&self, client: impl Hash, now: Duration) -> Result<(), Duration> {
        self.with_bucket(client, now, |bucket| {
            let empty_at = bucket.empty_at.max(now) + self.interval;
            wait(empty_at, now)?;
            bucket.empty_at = empty_at;
            Ok(())
        })
    }

    /// Checks for a permit without taking it.
    pub(super) fn check(&self, client: impl Hash, now: Duration) -> Result<(), Duration> {
        self.with_bucket(client, now, |bucket| wait(bucket.empty_at.max(now) + self.interval, now))
    }

    fn with_bucket<T>(
        &self,
        client: impl Hash,
        now: Duration,
        act: impl FnOnce(&mut Bucket) -> Result<T, Duration>,
    ) -> Result<T, Duration> {
        let hash = self.hasher.hash_one(client);
        let (shard, set) = (part(hash, 0, SHARDS), part(hash, 16, self.sets_per_shard));
        // Succeeds, because the index is a remainder of the size.
        let mut shard = match self.shards.get(shard) {
            Some(shard) => shard.lock().unwrap_or_else(PoisonError::into_inner),
            None => return act(&mut Bucket::default()),
        };
        let known = shard.get_mut(set).and_then(|set| set.iter_mut().find(|bucket| bucket.client == hash));
        if let Some(bucket) = known {
            return act(bucket);
        }
        let mut new = Bucket { client: hash, empty_at: now };
        let outcome = act(&mut new);
        if new.empty_at > now {
            if shard.is_empty() {
                *shard = vec![Set::default(); self.sets_per_shard].into_boxed_slice();
            }
            // Evict the bucket closest to empty.
            let least =
                shard.get_mut(set).and_then(|set| set.iter_mut().min_by_key(|bucket| bucket.empty_at));
            if let Some(bucket) = least {
                *bucket = new;
            }
        }
        outcome
    }
}

/// Returns the time, in whole seconds, until a bucket that empties at `empty_at` is within its limit; `Ok` if it is.
fn wait(empty_at: Duration, now: Duration) -> Result<(), Duration> {
    match empty_at.saturating_sub(now).checked_sub(PERIOD) {
        // Rounding in the division leaves less than a microsecond.
        None => Ok(()),
        Some(over) if over < Duration::from_micros(1) => Ok(()),
        Some(over) => Err(Duration::from_secs(over.as_secs() + u64::from(over.subsec_nanos() > 0))),
    }
}

fn part(hash: u64, shift: u32, size: usize) -> usize {
    usize::try_from((hash >> shift) & 0xffff).unwrap_or_default() % size
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn bucket_permits_burst_then_steady_rate() {
        let buckets = Buckets::new(60, Capacity::Addresses);
        for count in 0..60 {
            assert_eq!(buckets.take(client(1), at(0)), Ok(()), "{count}");
        }
        assert_eq!(buckets.take(client(1), at(0)), Err(Duration::from_secs(1)));
        assert_eq!(buckets.check(client(1), at(0)), Err(Duration::from_secs(1)));
        assert_eq!(buckets.take(client(2), at(0)), Ok(()), "another's is another");
        assert_eq!(buckets.take(client(1), at(1)), Ok(()));
        assert_eq!(buckets.take(client(1), at(1)), Err(Duration::from_secs(1)));
        assert!(
            (0..60).all(|_| buckets.take(client(1), at(61)).is_ok()),
            "a minute later it is as in the beginning"
        );
    }

    #[test]
    fn check_takes_no_permit() {
        let buckets = Buckets::new(1, Capacity::Addresses);
        for _ in 0..10 {
            assert_eq!(buckets.check(client(1), at(0)), Ok(()));
        }
        assert_eq!(buckets.take(client(1), at(0)), Ok(()));
        assert_eq!(buckets.check(client(1), at(0)), Err(Duration::from_mins(1)));
    }

    #[test]
    fn bucket_keeps_any_rate_per_minute() {
        for a_minute in [1, 7, 20, 59, 1_000, 60_000] {
            let buckets = Buckets::new(a_minute, Capacity::Addresses);
            let taken = (0..=a_minute).filter(|_| buckets.take(client(1), at(0)).is_ok()).count();
            assert_eq!(u32::try_from(taken), Ok(a_minute));
        }
    }

    #[test]
    fn shard_takes_memory_when_it_counts_its_first_client() {
        let buckets = Buckets::new(1, Capacity::Addresses);
        let used =
            || buckets.shards.iter().filter(|shard| !shard.lock().expect("unharmed").is_empty()).count();
        assert_eq!(buckets.check(client(1), at(0)), Ok(()));
        assert_eq!(used(), 0);
        assert_eq!(buckets.take(client(1), at(0)), Ok(()));
        assert!(buckets.take(client(1), at(0)).is_err());
        assert_eq!(used(), 1);
    }

    /// 10⁶ addresses use only the table's memory, and do not reset a client at its limit.
    #[test]
    fn many_addresses_use_fixed_memory_and_reset_no_client() {
        let buckets = Buckets::new(60, Capacity::Addresses);
        assert!((0..60).all(|_| buckets.take(client(0), at(0)).is_ok()));
        for number in 1..=1_000_000 {
            assert_eq!(buckets.take(client(number), at(0)), Ok(()), "a newcomer is refused");
        }
        assert!(buckets.take(client(0), at(0)).is_err(), "it was forgotten what the first one used");
        let bytes = SHARDS * buckets.sets_per_shard * size_of::<Set>();
        assert!(bytes <= 4 * 1024 * 1024, "{bytes}");
        assert_eq!(
            buckets.shards.iter().map(|shard| shard.lock().expect("unharmed").len()).sum::<usize>(),
            16_384
        );
    }
}
