//! How long requests of each route take: the 99th percentile, from a histogram whose buckets grow with what they hold.
//!
//! Sixteen buckets to each doubling, so a percentile is at most 6.25 % above the true one, and never below. Counts are
//! halved now and then, so that what a route did long ago fades.

use std::fmt::Write as _;

use crate::spans::Span;

use super::recent::Recent;

/// Durations are counted in units of 4.096 µs.
const UNIT_BITS: u32 = 12;
/// Buckets to a doubling, as a power of two.
const FINE_BITS: u32 = 4;
/// Up to 4.9 hours; what takes longer is counted as that.
const BUCKETS: usize = 29 << FINE_BITS;
/// Nothing is unusual before so many are known.
const LEAST: u32 = 500;
/// Counts are halved when there are so many.
const MOST: u32 = 20_000;
/// How often the percentile is looked for anew: it takes a walk over all buckets.
const LOOK_EVERY: u32 = 50;

/// The routes that are known.
#[derive(Debug)]
pub struct Routes {
    routes: Recent<String, Route>,
    name: String,
}

#[derive(Debug)]
struct Route {
    counts: Vec<u32>,
    total: u32,
    /// The first bucket that is above the percentile; none is before enough is known.
    unusual_from: Option<usize>,
    until_look: u32,
}

impl Routes {
    pub fn new(bound: usize) -> Self {
        Self {
            routes: Recent::new(bound),
            name: String::new(),
        }
    }

    /// Whether a request took longer than 99 in 100 of its route did before; it counts from now on. A route is what a
    /// service names its spans by.
    pub fn is_unusual(&mut self, entry: &Span, duration_ns: u64, evicted: &mut u64) -> bool {
        self.name.clear();
        let service = &entry.process.service_name;
        // A text takes whatever is written.
        let _ = write!(self.name, "{service}\n{:?}\n{}", entry.kind, entry.name);
        if let Some(route) = self.routes.get(&self.name) {
            return route.took(duration_ns);
        }
        let mut route = Route::new();
        route.took(duration_ns);
        self.routes.insert(self.name.clone(), route, evicted);
        false
    }
}

impl Route {
    fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            unusual_from: None,
            until_look: LEAST,
        }
    }

    fn took(&mut self, duration_ns: u64) -> bool {
        let bucket = bucket(duration_ns);
        let is_unusual = self.unusual_from.is_some_and(|from| bucket >= from);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.total += 1;
        }
        self.until_look = self.until_look.saturating_sub(1);
        if self.until_look == 0 {
            self.until_look = LOOK_EVERY;
            self.look();
        }
        is_unusual
    }

    fn look(&mut self) {
        if self.total >= MOST {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        let mut above = self.total / 100;
        // From the top, as long as all that is above is one in a hundred at most.
        let usual = self.counts.iter().rposition(|count| {
            let is_above = *count <= above;
            above = above.saturating_sub(*count);
            !is_above
        });
        self.unusual_from = usual.map(|usual| usual + 1);
    }
}

/// One for each unit at first, then sixteen to each doubling.
fn bucket(duration_ns: u64) -> usize {
    let units = duration_ns >> UNIT_BITS;
    let doublings = (u64::BITS - units.leading_zeros()).saturating_sub(FINE_BITS + 1);
    // The first `FINE_BITS + 1` bits, of which the first is always set but for small numbers.
    let place = (u64::from(doublings) << FINE_BITS) + (units >> doublings);
    usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    /// How many of the last 10,000 are unusual, of 20,000 that take so long.
    fn unusual(mut durations: impl FnMut(u64) -> u64) -> usize {
        let mut route = Route::new();
        (0..10_000).for_each(|number| {
            route.took(durations(number));
        });
        (10_000..20_000)
            .filter(|number| route.took(durations(*number)))
            .count()
    }

    /// The same numbers every time, spread over `0..1_000`.
    fn spread(number: u64) -> u64 {
        number.wrapping_mul(2_654_435_761) / 4_096 % 1_000
    }

    #[test]
    fn one_in_a_hundred_is_unusual_whatever_the_distribution() {
        let even = unusual(|number| 10 * MILLISECOND + spread(number) * MILLISECOND / 10);
        assert!((20..=130).contains(&even), "{even} of an even one");
        let long_tailed = unusual(|number| MILLISECOND * 1_000 / (1 + spread(number)));
        assert!(
            (40..=130).contains(&long_tailed),
            "{long_tailed} of one with a long tail"
        );
        assert_eq!(unusual(|_| 5 * MILLISECOND), 0);
    }

    #[test]
    fn what_takes_three_times_as_long_once_in_two_hundred_is_found_each_time() {
        let found = unusual(|number| if number % 200 == 7 { 30 } else { 10 } * MILLISECOND);
        assert_eq!(found, 50);
    }

    #[test]
    fn nothing_is_unusual_before_enough_is_known() {
        let mut route = Route::new();
        let found = (1..LEAST).any(|number| route.took(u64::from(number) * MILLISECOND));
        assert!(!found);
    }

    #[test]
    fn a_route_that_becomes_slower_is_usual_again_after_a_while() {
        let mut route = Route::new();
        (0..30_000).for_each(|_| {
            route.took(MILLISECOND);
        });
        assert!(route.took(10 * MILLISECOND));
        (0..5_000).for_each(|_| {
            route.took(10 * MILLISECOND);
        });
        assert!(!route.took(10 * MILLISECOND));
    }

    proptest! {
        #[test]
        fn a_bucket_is_no_wider_than_a_sixteenth_and_in_order(nanos in 0..(1_u64 << 43), more in 0..1_000_000_u64) {
            prop_assert!(bucket(nanos) <= bucket(nanos + more));
            let wider = nanos + nanos / 16 + (2 << UNIT_BITS);
            prop_assert!(bucket(wider) > bucket(nanos));
        }

        #[test]
        fn any_duration_has_a_bucket(nanos: u64) {
            prop_assert!(bucket(nanos) < BUCKETS);
        }
    }
}
