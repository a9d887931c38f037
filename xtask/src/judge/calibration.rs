//! Whether links that were found by times are right as often as they claim.
//!
//! In: links with the confidence that they claim, each right or not. Out: bins of confidence, ten of links (0.9 to 1) and nine of
//! candidates (0 to 0.9), which are no links but what a root may belong under. Kept true: a claim is told in thousandths, as it is
//! exported, so that bins of many runs add up exactly.

use std::{fmt, ops::AddAssign};

/// A confidence in thousandths, 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim(u16);

impl Claim {
    /// That it cannot be wrong.
    pub const CERTAIN: Self = Self(1000);
    const MAX: f64 = 1000.0;

    /// The claim of a confidence from 0 to 1; `None` for what is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 1000"
    )]
    pub fn new(confidence: f64) -> Option<Self> {
        (0.0..=1.0)
            .contains(&confidence)
            .then(|| Self((confidence * Self::MAX).round() as u16))
    }

    fn share(self) -> f64 {
        f64::from(self.0) / Self::MAX
    }
}

/// What claims a confidence of one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    /// How many there are.
    pub links: usize,
    /// How many of them are right.
    pub right: usize,
    /// The sum of what they claim, in thousandths.
    claimed: u64,
    /// The sum of `c (1000 - c)` over the claims `c` in thousandths: the variance of how many are right where the claims are true.
    variance: u64,
}

impl Bin {
    fn add(&mut self, claim: Claim, is_right: bool) {
        let claim = u64::from(claim.0);
        self.links += 1;
        self.right += usize::from(is_right);
        self.claimed += claim;
        self.variance += claim * (1000 - claim);
    }

    /// The share that is right, 0 to 1; 1 where there is none.
    pub fn share(&self) -> f64 {
        super::ratio(self.right, self.links)
    }

    /// The share that should be right at least, 0 to 1: the mean of the claims; 1 where there is none.
    pub fn claim(&self) -> f64 {
        if self.links == 0 {
            return 1.0;
        }
        count(self.claimed) / Claim::MAX / count(self.links)
    }

    /// Whether at least as many are right as they claim; `None` where fewer are, by no more than chance does to true claims (three
    /// standard deviations).
    pub fn holds(&self) -> Option<bool> {
        let missing = count(self.claimed) / Claim::MAX - count(self.right);
        let by_chance = 3.0 * count(self.variance).sqrt() / Claim::MAX;
        if missing <= 0.0 {
            Some(true)
        } else if missing <= by_chance {
            None
        } else {
            Some(false)
        }
    }
}

impl AddAssign for Bin {
    fn add_assign(&mut self, other: Self) {
        self.links += other.links;
        self.right += other.right;
        self.claimed += other.claimed;
        self.variance += other.variance;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of spans are far below 2^52")]
fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

/// The bins, from the lowest confidence to the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// Links by `timing`: ten ranges from 0.9 to 1.
    links: [Bin; 10],
    /// What was not sure enough to be a link: nine ranges from 0 to 0.9.
    candidates: [Bin; 9],
}

/// The lowest claim of a link, in thousandths.
const LINK_MIN: u16 = 900;
/// Thousandths in one bin of links.
const LINK_STEP: u16 = 10;
/// Thousandths in one bin of candidates.
const CANDIDATE_STEP: u16 = 100;

impl Calibration {
    /// A link; one that claims less than any should counts where the least is claimed.
    pub(super) fn link(&mut self, claim: Claim, is_right: bool) {
        let bin = claim.0.saturating_sub(LINK_MIN) / LINK_STEP;
        add(&mut self.links, bin, claim, is_right);
    }

    pub(super) fn candidate(&mut self, claim: Claim, is_right: bool) {
        add(&mut self.candidates, claim.0 / CANDIDATE_STEP, claim, is_right);
    }

    /// The bins of links, each with its range.
    pub fn links(&self) -> impl Iterator<Item = (Range, &Bin)> {
        ranges(LINK_MIN, LINK_STEP).zip(&self.links)
    }

    /// The bins of candidates, each with its range.
    pub fn candidates(&self) -> impl Iterator<Item = (Range, &Bin)> {
        ranges(0, CANDIDATE_STEP).zip(&self.candidates)
    }

    /// The ranges of links in which fewer are right than claimed, and than chance explains.
    pub fn misses(&self) -> impl Iterator<Item = (Range, &Bin)> {
        self.links().filter(|(_, bin)| bin.holds() == Some(false))
    }
}

/// The highest claim counts to the last bin.
fn add(bins: &mut [Bin], bin: u16, claim: Claim, is_right: bool) {
    let last = bins.len().saturating_sub(1);
    if let Some(bin) = bins.get_mut(usize::from(bin).min(last)) {
        bin.add(claim, is_right);
    }
}

impl AddAssign<&Self> for Calibration {
    fn add_assign(&mut self, other: &Self) {
        let all = self.links.iter_mut().chain(&mut self.candidates);
        for (bin, other) in all.zip(other.links.iter().chain(&other.candidates)) {
            *bin += *other;
        }
    }
}

/// From one confidence to below the next, in thousandths; the last range of all has its end too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(u16, u16);

fn ranges(first: u16, step: u16) -> impl Iterator<Item = Range> {
    (0..).map(move |number| Range(first + number * step, first + (number + 1) * step))
}

impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:.2} to {:.2}",
            Claim(self.0).share(),
            Claim(self.1).share()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many links that claim this, of which so many are right.
    fn links(confidence: f64, links: usize, right: usize) -> Calibration {
        let mut calibration = Calibration::default();
        let claim = Claim::new(confidence).unwrap();
        (0..links).for_each(|number| calibration.link(claim, number < right));
        calibration
    }

    fn bin(calibration: &Calibration, range: &str) -> Bin {
        let mut bins = calibration.links().chain(calibration.candidates());
        *bins.find(|(of_bin, _)| of_bin.to_string() == range).unwrap().1
    }

    #[test]
    fn a_link_counts_to_the_bin_of_its_claim() {
        for (confidence, range) in [
            (0.9, "0.90 to 0.91"),
            (0.909, "0.90 to 0.91"),
            (0.91, "0.91 to 0.92"),
            (0.957, "0.95 to 0.96"),
            (0.99, "0.99 to 1.00"),
            (1.0, "0.99 to 1.00"),
            (0.5, "0.90 to 0.91"),
        ] {
            let calibration = links(confidence, 3, 2);
            let bin = bin(&calibration, range);
            assert_eq!((bin.links, bin.right), (3, 2), "{confidence}");
            assert!((bin.claim() - confidence).abs() < 1e-9, "{confidence}");
            assert!((bin.share() - 2.0 / 3.0).abs() < 1e-9);
            assert_eq!(calibration.links().map(|(_, bin)| bin.links).sum::<usize>(), 3);
        }
        assert_eq!(Calibration::default().links().count(), 10);
    }

    #[test]
    fn a_candidate_counts_apart_from_links() {
        let mut calibration = Calibration::default();
        for (confidence, is_right) in [
            (0.0, false),
            (0.099, true),
            (0.1, true),
            (0.899, false),
            (0.95, true),
        ] {
            calibration.candidate(Claim::new(confidence).unwrap(), is_right);
        }
        let of = |range| {
            let bin = bin(&calibration, range);
            (bin.links, bin.right)
        };
        assert_eq!(of("0.00 to 0.10"), (2, 1));
        assert_eq!(of("0.10 to 0.20"), (1, 1));
        assert_eq!(of("0.80 to 0.90"), (2, 1));
        assert_eq!(calibration.candidates().count(), 9);
        assert_eq!(calibration.links().map(|(_, bin)| bin.links).sum::<usize>(), 0);
    }

    #[test]
    fn a_claim_is_missed_where_chance_does_not_explain_it() {
        // Of 1000 that claim 0.95, 950 are to be right, give or take 3 times 6.9.
        for (right, holds) in [
            (1000, Some(true)),
            (950, Some(true)),
            (949, None),
            (930, None),
            (929, Some(false)),
        ] {
            let calibration = links(0.95, 1000, right);
            assert_eq!(bin(&calibration, "0.95 to 0.96").holds(), holds, "{right}");
            assert_eq!(calibration.misses().count(), usize::from(holds == Some(false)));
        }
    }

    #[test]
    fn who_claims_to_be_certain_must_be() {
        assert_eq!(links(1.0, 500, 500).misses().count(), 0);
        assert_eq!(links(1.0, 500, 499).misses().count(), 1);
    }

    #[test]
    fn a_bin_without_links_misses_nothing() {
        assert_eq!(Calibration::default().misses().count(), 0);
        let bin = Bin::default();
        assert!(bin.share() >= 1.0 && bin.claim() >= 1.0 && bin.holds() == Some(true));
    }

    #[test]
    fn a_bin_that_misses_is_not_made_up_for_by_another() {
        let mut all = links(0.905, 1000, 1000);
        all += &links(0.985, 1000, 900);
        let misses: Vec<_> = all.misses().map(|(range, _)| range.to_string()).collect();
        assert_eq!(misses, ["0.98 to 0.99"]);
    }

    #[test]
    fn bins_of_several_runs_add_up() {
        // None of them alone tells that fewer are right than claimed.
        let one = links(0.95, 20, 17);
        assert_eq!(one.misses().count(), 0);
        let mut all = Calibration::default();
        (0..10).for_each(|_| all += &one);
        let bin = bin(&all, "0.95 to 0.96");
        assert_eq!((bin.links, bin.right, bin.holds()), (200, 170, Some(false)));
    }

    #[test]
    fn what_is_no_confidence_claims_nothing() {
        for confidence in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Claim::new(confidence), None);
        }
    }
}
