//! How many traces of each service come a second, so that a limit can be kept.
//!
//! No trace is turned away because it came late in a second: the share that is kept becomes smaller, which every host can follow. So a
//! limit holds in the mean; in the second in which a burst begins, more is kept, by the logarithm of how much larger the burst is.

use crate::ids::BootNanos;

use super::recent::Recent;

const SECOND: u64 = 1_000_000_000;

/// The rates of services.
#[derive(Debug)]
pub struct Limits {
    services: Recent<String, Rate>,
}

/// Traces of the second that runs, and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    second: u64,
    before: u64,
    since: u64,
}

impl Limits {
    pub fn new(bound: usize) -> Self {
        Self {
            services: Recent::new(bound),
        }
    }

    /// How many traces a second come of this service, this one included.
    pub fn offered(&mut self, service: &str, now: BootNanos, evicted: &mut u64) -> u64 {
        let service = service.to_owned();
        if let Some(rate) = self.services.get(&service) {
            return rate.count(now);
        }
        let mut rate = Rate::default();
        let offered = rate.count(now);
        self.services.insert(service, rate, evicted);
        offered
    }
}

impl Rate {
    fn count(&mut self, now: BootNanos) -> u64 {
        let (second, into) = (now.0 / SECOND, now.0 % SECOND);
        if second != self.second {
            self.before = if second == self.second + 1 { self.since } else { 0 };
            (self.second, self.since) = (second, 0);
        }
        self.since = self.since.saturating_add(1);
        let before = u128::from(self.before) * u128::from(SECOND - into) / u128::from(SECOND);
        self.since
            .saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_evenly_is_counted_as_it_comes_once_a_second_is_over() {
        let (mut limits, mut evicted) = (Limits::new(2), 0);
        for number in 0..5_000_u64 {
            let now = BootNanos(7 * SECOND + number * SECOND / 1_000);
            let offered = limits.offered("shop", now, &mut evicted);
            if number >= 1_000 {
                assert!((999..=1_001).contains(&offered), "{offered} at {number}");
            }
        }
        assert_eq!(limits.offered("pay", BootNanos(9 * SECOND), &mut evicted), 1);
        assert_eq!(limits.offered("shop", BootNanos(60 * SECOND), &mut evicted), 1);
        limits.offered("stock", BootNanos(60 * SECOND), &mut evicted);
        assert_eq!(evicted, 1);
    }
}
