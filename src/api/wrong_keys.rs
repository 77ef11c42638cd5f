//! Wrong keys: whoever tries many from one address waits longer for each answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after which the wrong keys of an address are forgotten, and between two lines of the log.
const WINDOW: Duration = Duration::from_secs(60);
/// Wrong keys of an address that are answered at once.
const AT_ONCE: u32 = 3;
/// Delay of the first answer that waits; each further one takes twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay of an answer.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Maximum number of answers to an address that wait at a time.
const MAX_WAITING: u32 = 8;
/// Maximum number of addresses that are remembered.
const REMEMBERED: usize = 10_000;

/// The wrong keys of the last time. Clones share the counts.
#[derive(Clone, Default)]
pub struct WrongKeys(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    addresses: HashMap<IpAddr, Tries>,
    /// Wrong keys since the last line of the log; the time of that line.
    unlogged: u64,
    logged_at: Option<Instant>,
}

struct Tries {
    since: Instant,
    count: u32,
    waiting: u32,
}

/// Delay of the answer to a wrong key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// The answer waits.
    For(Duration),
    /// Too many answers to this address wait: it is refused at once, whatever it shows next.
    TooMany,
}

impl WrongKeys {
    /// Waits for as long as the address has earned. Returns false where too many of its answers wait already.
    pub async fn slow_down(&self, address: IpAddr) -> bool {
        match self.count(address, Instant::now()) {
            Delay::TooMany => false,
            Delay::For(delay) if delay.is_zero() => true,
            Delay::For(delay) => {
                let _waiting = Waiting { counts: self, address };
                tokio::time::sleep(delay).await;
                true
            }
        }
    }

    fn count(&self, address: IpAddr, now: Instant) -> Delay {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.log(address, now);
        if counts.addresses.len() >= REMEMBERED {
            counts.addresses.retain(|_, tries| tries.waiting > 0 || now.duration_since(tries.since) < WINDOW);
        }
        let is_full = counts.addresses.len() >= REMEMBERED && !counts.addresses.contains_key(&address);
        if is_full {
            // A flood from everywhere: each answer of an unknown address takes its time.
            return Delay::For(MAX_DELAY);
        }
        let tries = counts.addresses.entry(address).or_insert(Tries { since: now, count: 0, waiting: 0 });
        if now.duration_since(tries.since) >= WINDOW {
            (tries.since, tries.count) = (now, 0);
        }
        tries.count = tries.count.saturating_add(1);
        if tries.waiting >= MAX_WAITING {
            return Delay::TooMany;
        }
        let Some(doublings) = tries.count.checked_sub(AT_ONCE + 1) else { return Delay::For(Duration::ZERO) };
        tries.waiting += 1;
        Delay::For(FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(MAX_DELAY))
    }
}

impl Counts {
    fn log(&mut self, address: IpAddr, now: Instant) {
        self.unlogged += 1;
        if self.logged_at.is_some_and(|at| now.duration_since(at) < WINDOW) {
            return;
        }
        let (count, addresses) = (self.unlogged, self.addresses.len().max(1));
        tracing::warn!(%address, count, addresses, "Wrong keys were shown");
        (self.unlogged, self.logged_at) = (0, Some(now));
    }
}

/// An answer that waits.
struct Waiting<'a> {
    counts: &'a WrongKeys,
    address: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tries) = counts.addresses.get_mut(&self.address) {
            tries.waiting = tries.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_longer_for_each_wrong_key_and_others_do_not() {
        let (keys, now) = (WrongKeys::default(), Instant::now());
        let [one, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let delays: Vec<_> = (0..6).map(|_| keys.count(one, now)).collect();
        let ms = |ms| Delay::For(Duration::from_millis(ms));
        assert_eq!(delays, [ms(0), ms(0), ms(0), ms(100), ms(200), ms(400)]);
        assert_eq!(keys.count(other, now), ms(0));
        for _ in 0..5 {
            assert!(matches!(keys.count(one, now), Delay::For(_)));
        }
        assert_eq!(keys.count(one, now), Delay::TooMany, "eight answers wait");
        for _ in 0..8 {
            drop(Waiting { counts: &keys, address: one });
        }
        assert_eq!(keys.count(one, now + WINDOW), ms(0), "a minute later it is forgotten");
    }

    #[test]
    fn addresses_without_number_take_no_memory_without_bound() {
        let (keys, now) = (WrongKeys::default(), Instant::now());
        for n in 0..2 * REMEMBERED as u32 {
            keys.count(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(keys.0.lock().expect("no panic").addresses.len() <= REMEMBERED);
    }
}
