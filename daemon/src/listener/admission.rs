//! How many connections there may be, in all and from one address.
//!
//! When every place is taken, one that comes from a party with few takes the place of one from the party with most: who
//! holds many connections open keeps nobody else out. Where all have few, the one gives way that has waited for its peer
//! the longest: nor does whoever holds one from each of many addresses. No place ever goes to who has as many already.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ListenerLimits;
use super::activity::Activity;
use crate::addresses::{Networks, one_party};

/// A connection that waits for its peer keeps its place for this time, whoever else wants it: for a handshake, or for the next
/// request of many.
const LONG: Duration = Duration::from_secs(1);

/// Counts the connections there are.
pub(super) struct Admission {
    places: Arc<Mutex<Places>>,
    connections: usize,
    connections_per_address: usize,
    long: Duration,
    /// Proxies and services: counted with all others, and not by their address.
    exempt: Networks,
    /// Services alone: whoever a proxy brings is never taken for a proxy.
    services: Networks,
}

#[derive(Default)]
struct Places {
    all: usize,
    /// The next connection's number: older ones have smaller ones.
    next: u64,
    of_party: HashMap<IpAddr, BTreeMap<u64, Arc<Activity>>>,
}

/// A connection's place, given back when dropped.
pub(super) struct Admitted {
    places: Arc<Mutex<Places>>,
    party: IpAddr,
    number: u64,
}

impl Admission {
    pub(super) fn new(limits: &ListenerLimits, proxies: &Networks, services: &Networks) -> Self {
        Self {
            places: Arc::default(),
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            long: LONG,
            exempt: proxies.and(services),
            services: services.clone(),
        }
    }

    /// A place for a connection from `peer`; `None` when there is none.
    pub(super) fn admit(&self, peer: IpAddr, activity: &Arc<Activity>) -> Option<Admitted> {
        self.admit_as(peer, self.is_limited(peer), activity)
    }

    fn admit_as(&self, peer: IpAddr, is_limited: bool, activity: &Arc<Activity>) -> Option<Admitted> {
        let party = one_party(peer);
        let mut places = self.places();
        let held = places.of_party.get(&party).map_or(0, BTreeMap::len);
        if is_limited && held >= self.connections_per_address {
            return None;
        }
        if places.all >= self.connections
            && !places.make_room(held, self.long, |party| self.is_limited(party))
        {
            return None;
        }
        Some(self.place(places, party, activity))
    }

    /// The place of a connection whose caller is told by its proxy: `caller` is who has it from now on.
    pub(super) fn admit_told(
        &self,
        caller: IpAddr,
        proxy: Admitted,
        activity: &Arc<Activity>,
    ) -> Option<Admitted> {
        drop(proxy);
        self.admit_as(caller, !self.services.contains(caller), activity)
    }

    fn place(&self, mut places: MutexGuard<'_, Places>, party: IpAddr, activity: &Arc<Activity>) -> Admitted {
        let number = places.next;
        places.next += 1;
        places.all += 1;
        places.of_party.entry(party).or_default().insert(number, activity.clone());
        Admitted { places: self.places.clone(), party, number }
    }

    fn is_limited(&self, address: IpAddr) -> bool {
        !self.exempt.contains(address)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Cuts off a connection of the party with most, where that has at least two more than the `held` of who asks, or else
    /// of any party with more than that: the one that waits for its peer the longest, and `long` or longer.
    fn make_room(&mut self, held: usize, long: Duration, is_limited: impl Fn(IpAddr) -> bool) -> bool {
        let limited = || self.of_party.iter().filter(|(party, _)| is_limited(**party));
        let most = limited().max_by_key(|(_, connections)| connections.len());
        let chosen = match most {
            // The oldest that has nothing to do; where all are busy, the oldest.
            Some((party, connections)) if connections.len() >= held + 2 => {
                let idle = connections.iter().find(|(_, activity)| activity.waits_since().is_some());
                idle.or_else(|| connections.iter().next()).map(|(number, _)| (*party, *number))
            }
            _ => {
                let with_more = limited().filter(|(_, connections)| connections.len() > held);
                let waiting = with_more.flat_map(|(party, connections)| {
                    connections.iter().filter_map(|(number, activity)| {
                        activity.waits_since().map(|since| (since, *party, *number))
                    })
                });
                let longest = waiting.min_by_key(|(since, ..)| *since);
                longest
                    .filter(|(since, ..)| since.elapsed() >= long)
                    .map(|(_, party, number)| (party, number))
            }
        };
        let Some((party, number)) = chosen else { return false };
        if let Some(activity) = self.of_party.get(&party).and_then(|connections| connections.get(&number)) {
            activity.cut_off();
        }
        self.remove(party, number);
        true
    }

    fn remove(&mut self, party: IpAddr, number: u64) {
        let Some(connections) = self.of_party.get_mut(&party) else { return };
        // It may have been cut off before.
        if connections.remove(&number).is_some() {
            self.all -= 1;
        }
        if connections.is_empty() {
            self.of_party.remove(&party);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.remove(self.party, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, connections_per_address: usize) -> Admission {
        let limits = ListenerLimits { connections, connections_per_address, ..ListenerLimits::default() };
        let proxies = Networks::new(vec!["203.0.113.0/24".parse().expect("a network")]);
        Admission::new(&limits, &proxies, &Networks::default())
    }

    fn admit(admission: &Admission, address: &str) -> Option<Admitted> {
        admission.admit(address.parse().expect("an address"), &Activity::new())
    }

    async fn is_cut_off(activity: &Activity) {
        tokio::time::timeout(Duration::from_secs(10), activity.is_cut_off()).await.expect("cut off at once");
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = admission(3, 2);
        let first = admit(&admission, "192.0.2.1").expect("a place");
        let _second = admit(&admission, "::ffff:192.0.2.1").expect("a place");
        assert!(admit(&admission, "192.0.2.1").is_none());
        let _other = admit(&admission, "192.0.2.2").expect("a place for another");

        drop(first);
        admit(&admission, "192.0.2.1").expect("the place is free again");
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one() {
        let admission = admission(10, 1);
        let _first = admit(&admission, "2001:db8::1").expect("a place");
        assert!(admit(&admission, "2001:db8::ffff:1").is_none());
        assert!(admit(&admission, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn whoever_a_proxy_brings_is_never_exempt_as_a_proxy_is() {
        let admission = admission(10, 1);
        let bring = || {
            let proxy = admit(&admission, "203.0.113.9").expect("a place");
            admission.admit_told("203.0.113.7".parse().expect("an address"), proxy, &Activity::new())
        };
        let _first = bring().expect("a place");
        assert!(bring().is_none());
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let admission = admission(10, 1);
        drop(admit(&admission, "192.0.2.1"));
        assert!(admission.places().of_party.is_empty());
        assert_eq!(admission.places().all, 0);
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_one_who_has_most_gives_one_up() {
        let admission = admission(4, 3);
        let greedy: Vec<_> = (0..3).map(|_| Activity::new()).collect();
        let _held: Vec<_> = greedy
            .iter()
            .map(|activity| admission.admit([192, 0, 2, 1].into(), activity).expect("a place"))
            .collect();
        let _answering = greedy.first().expect("three").answering(100);
        let _other = admit(&admission, "192.0.2.2").expect("a place");

        let third = admit(&admission, "192.0.2.3").expect("the place of one of three");
        is_cut_off(greedy.get(1).expect("three")).await;
        assert!(
            admit(&admission, "192.0.2.2").is_none(),
            "two and one more would be as many as the greedy has"
        );
        assert_eq!(admission.places().all, 4);
        drop(third);
        assert_eq!(admission.places().all, 3);
    }

    #[tokio::test]
    async fn who_has_as_few_as_all_others_takes_the_place_that_waits_the_longest_and_no_busy_one() {
        let mut admission = admission(3, 2);
        let activities: Vec<_> = (0..3).map(|_| Activity::new()).collect();
        let held: Vec<_> = (1..)
            .zip(&activities)
            .map(|(number, activity)| admission.admit([192, 0, 2, number].into(), activity).expect("a place"))
            .collect();
        let answering = activities.first().map(|activity| activity.answering(100));
        assert!(admit(&admission, "192.0.2.9").is_none(), "all of them had too little time");
        admission.long = Duration::ZERO;
        let ninth = Activity::new();
        let _ninth = admission.admit([192, 0, 2, 9].into(), &ninth).expect("the place of the second");
        is_cut_off(activities.get(1).expect("three")).await;
        drop(answering);
        let _eighth =
            admit(&admission, "192.0.2.8").expect("the place of the third: the first was busy since");
        is_cut_off(activities.get(2).expect("three")).await;
        let _seventh = admit(&admission, "192.0.2.7").expect("the place of the ninth");
        is_cut_off(&ninth).await;
        drop(held);
        assert_eq!(admission.places().all, 2, "the first goes; the seventh and the eighth stay");
    }

    #[test]
    fn who_has_many_takes_no_place_of_who_has_as_few_or_fewer() {
        let mut admission = admission(4, 3);
        admission.long = Duration::ZERO;
        let _honest: Vec<_> =
            ["192.0.2.1", "192.0.2.2"].map(|address| admit(&admission, address).expect("a place")).into();
        let _greedy: Vec<_> = (0..2).map(|_| admit(&admission, "192.0.2.9").expect("a place")).collect();
        assert!(admit(&admission, "192.0.2.9").is_none());
        let _second = admit(&admission, "192.0.2.1").expect("one of the two of the greedy");
        assert!(admit(&admission, "192.0.2.2").is_some(), "one of the two that the first has now");
    }

    #[test]
    fn a_trusted_proxy_has_as_many_as_there_are_and_gives_none_up() {
        let mut admission = admission(3, 1);
        admission.long = Duration::ZERO;
        let _proxied: Vec<_> = (0..3).map(|_| admit(&admission, "203.0.113.9").expect("a place")).collect();
        assert!(admit(&admission, "192.0.2.1").is_none(), "there are no more places");
    }
}
