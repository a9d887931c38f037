//! Which step a limit is at. In: how much of it is taken, every few seconds, and the time. Out: the steps that are entered and left, one at
//! a time.
//!
//! ```text
//!          taken >= 1                    taken >= 1                    (at the last step it stays)
//!  0 full ───────────▶ 1 ─────────────────────────────▶ 2 ─ … ─▶ LAST
//!         ◀───────────   ◀─────────────────────────────
//!          taken < 0.7 for as long as the step's patience
//! ```
//! Between 0.7 and 1 it stays where it is: what is left out then is what keeps it there. A step that has to be entered again soon after
//! it was left was left too early: its patience doubles, up to a bound, so that a load that never changes makes fewer and fewer changes. It
//! is as it was at first once all has been well for as long as the patience would have been at most.

use crate::ids::BootNanos;

use super::steps::LAST;

const SECOND: u64 = 1_000_000_000;
/// Part of the limit below which a step is not needed any more.
const CALM: f64 = 0.7;
/// How long it must be so at first.
const PATIENCE_NS: u64 = 4 * SECOND;
/// And at last.
const PATIENCE_MAX_NS: u64 = 256 * SECOND;

/// The steps of one limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ladder {
    step: u8,
    patience_ns: u64,
    calm_since: Option<BootNanos>,
    /// When a step was left last.
    left: Option<BootNanos>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            step: 0,
            patience_ns: PATIENCE_NS,
            calm_since: None,
            left: None,
        }
    }
}

impl Ladder {
    /// The step it is at; 0: nothing is left out.
    pub const fn step(&self) -> u8 {
        self.step
    }

    /// Takes note of the part of the limit that is taken now. The step it was at, if it is at another now.
    pub fn look(&mut self, now: BootNanos, taken: f64) -> Option<u8> {
        let before = self.step;
        let since_left = self.left.map(|left| now.since(left));
        if taken >= 1.0 {
            self.calm_since = None;
            if self.step == LAST {
                return None;
            }
            if since_left.is_some_and(|since| since < self.patience_ns.max(2 * PATIENCE_NS)) {
                self.patience_ns = (2 * self.patience_ns).min(PATIENCE_MAX_NS);
                self.left = None;
            }
            self.step += 1;
            return Some(before);
        }
        if since_left.is_some_and(|since| self.step == 0 && since >= PATIENCE_MAX_NS) {
            *self = Self::default();
        }
        if taken >= CALM || self.step == 0 {
            self.calm_since = None;
            return None;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.since(since) < self.patience_ns {
            return None;
        }
        self.step -= 1;
        (self.calm_since, self.left) = (Some(now), Some(now));
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The step after each reading, 2 s between them.
    fn steps(ladder: &mut Ladder, from: &mut u64, readings: &[f64]) -> Vec<u8> {
        let look = |taken: &f64| {
            *from += 2;
            ladder.look(BootNanos(*from * SECOND), *taken);
            ladder.step()
        };
        readings.iter().map(look).collect()
    }

    #[test]
    fn every_step_is_entered_in_turn_and_left_in_turn() {
        let (mut ladder, mut at) = (Ladder::default(), 0);
        assert_eq!(
            steps(&mut ladder, &mut at, &[0.9, 1.0, 3.0, 1.1, 1.0, 9.0]),
            [0, 1, 2, 3, 4, 4]
        );
        assert_eq!(
            steps(&mut ladder, &mut at, &[0.1; 10]),
            [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
        );
    }

    #[test]
    fn what_is_nearly_as_much_as_the_limit_changes_nothing() {
        let (mut ladder, mut at) = (Ladder::default(), 0);
        steps(&mut ladder, &mut at, &[2.0, 2.0]);
        assert!(
            steps(&mut ladder, &mut at, &[0.7, 0.99, 0.8, 0.71].repeat(100))
                .iter()
                .all(|step| *step == 2)
        );
        // A calm that is broken begins anew.
        assert_eq!(
            steps(&mut ladder, &mut at, &[0.6, 0.6, 0.8, 0.6, 0.6, 0.6]),
            [2, 2, 2, 2, 2, 1]
        );
    }

    /// Full detail costs too much, one step less than three quarters of the limit: for ever.
    #[test]
    fn a_load_that_never_changes_makes_fewer_and_fewer_changes() {
        let (mut ladder, mut changes) = (Ladder::default(), Vec::new());
        for second in (0..7200).step_by(2) {
            let taken = if ladder.step() == 0 { 1.5 } else { 0.5 };
            if ladder.look(BootNanos(second * SECOND), taken).is_some() {
                changes.push(second);
            }
        }
        assert!(changes.len() < 70, "{} changes", changes.len());
        let (first, second) = changes.split_at(changes.len() / 2);
        assert!(first.last() < second.first() && second.len() < 40);
        let in_last_hour = changes.iter().filter(|at| **at >= 3600).count();
        assert!((2..=30).contains(&in_last_hour), "{in_last_hour}");
    }

    #[test]
    fn patience_is_as_it_was_once_all_has_been_well_for_long() {
        let (mut ladder, mut at) = (Ladder::default(), 0);
        for _ in 0..8 {
            steps(&mut ladder, &mut at, &[2.0]);
            while ladder.step() > 0 {
                steps(&mut ladder, &mut at, &[0.1]);
            }
        }
        assert!(ladder.patience_ns > 8 * PATIENCE_NS);
        steps(&mut ladder, &mut at, &[0.1; 200]);
        assert_eq!(ladder, Ladder::default());
    }

    proptest! {
        #[test]
        fn steps_are_taken_one_at_a_time_and_only_for_a_reason(readings in prop::collection::vec(0.0..2.0, 0..200)) {
            let mut ladder = Ladder::default();
            for (second, taken) in (0..).step_by(2).zip(readings) {
                let before = ladder.step();
                let changed = ladder.look(BootNanos(second * SECOND), taken);
                prop_assert_eq!(changed, (ladder.step() != before).then_some(before));
                prop_assert!(ladder.step() <= LAST && ladder.step().abs_diff(before) <= 1);
                prop_assert!(ladder.step() <= before || taken >= 1.0);
                prop_assert!(ladder.step() >= before || taken < CALM);
            }
        }
    }
}
