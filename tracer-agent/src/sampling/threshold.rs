//! Rejection thresholds and randomness, 56 bits each, by OpenTelemetry's specification
//! (<https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>). All of it is in integers, so that
//! every host comes to the same decision.

use std::fmt;

use crate::ids::TraceId;

const BITS: u32 = 56;
/// One more than the highest threshold and the highest randomness.
const ALL: u64 = 1 << BITS;
const DIGITS: u32 = BITS / DIGIT_BITS;
const DIGIT_BITS: u32 = 4;
/// Digits after those that only say how small the share is: what the specification recommends.
const PRECISION: u32 = 4;

/// Which of all traces are rejected: those whose randomness is less. Always below 2^56, so some trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

/// What a trace is decided by: the same in all its spans, evenly spread over all traces. Always below 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Threshold {
    /// Nothing is rejected.
    pub const NONE: Self = Self(0);

    /// The threshold of a share of all traces, with four significant digits. `None` for a share of which not one trace in
    /// 2^56 would be left, and for what is no share (0 to 1): never to sample is no probability.
    pub fn of_share(share: f64) -> Option<Self> {
        Self::with_precision(share, PRECISION)
    }

    /// The same with so many significant digits, 1 to 14.
    fn with_precision(share: f64, precision: u32) -> Option<Self> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 <= share <= 1, and a product with a power of two is exact: the result is within 0 to 2^56"
        )]
        let kept = (share * ALL as f64).round() as u64;
        Self::keeping(kept, precision)
    }

    /// Of those that this one keeps, `part` of `whole`: 1 of 4 of a half is an eighth. `None` where nothing is left.
    pub fn keeping_part(self, part: u64, whole: u64) -> Option<Self> {
        if part >= whole {
            return Some(self);
        }
        let kept = u128::from(self.kept()) * u128::from(part) / u128::from(whole);
        Self::keeping(u64::try_from(kept).ok()?, PRECISION)
    }

    fn keeping(kept: u64, precision: u32) -> Option<Self> {
        let exact = ALL.checked_sub(kept).filter(|_| kept > 0)?;
        // Each leading `f` only says that the share is sixteen times smaller, and is no digit of it.
        let leading = BITS.saturating_sub(u64::BITS - kept.leading_zeros()) / DIGIT_BITS;
        let digits = precision.saturating_add(leading).clamp(1, DIGITS);
        let shift = (DIGITS - digits) * DIGIT_BITS;
        let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
        let rounded = ((exact + half) >> shift) << shift;
        Some(Self(if rounded < ALL { rounded } else { exact }))
    }

    /// The threshold that 1 to 14 hexadecimal digits write; digits that are left out are zeroes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = u32::try_from(text.len())
            .ok()
            .filter(|digits| (1..=DIGITS).contains(digits))?;
        Some(Self(hexadecimal(text)? << ((DIGITS - digits) * DIGIT_BITS)))
    }

    /// Whether a trace is kept.
    pub fn keeps(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    fn kept(self) -> u64 {
        ALL - self.0
    }

    /// The share of all traces that is kept, above 0 and at most 1.
    pub fn share(self) -> f64 {
        self.kept() as f64 / ALL as f64
    }
}

/// Hexadecimal, without the zeroes at its end.
impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:014x}", self.0);
        match digits.trim_end_matches('0') {
            "" => out.write_str("0"),
            digits => out.write_str(digits),
        }
    }
}

impl Randomness {
    /// The last 7 bytes of a trace id, which W3C Trace Context level 2 wants to be random; older ids are taken to be so.
    pub fn of(trace: TraceId) -> Self {
        let [_, _, _, _, _, _, _, _, _, a, b, c, d, e, f, g] = trace.bytes();
        Self(u64::from_be_bytes([0, a, b, c, d, e, f, g]))
    }

    /// The randomness that exactly 14 hexadecimal digits write.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == DIGITS as usize)
            .then(|| hexadecimal(text).map(Self))
            .flatten()
    }
}

/// Digits alone: what the standard library parses may have a sign.
fn hexadecimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(share: f64, precision: u32) -> String {
        Threshold::with_precision(share, precision).unwrap().to_string()
    }

    /// The table of "Converting floating-point probability to threshold value", precision 3, 4 and 5.
    #[test]
    fn the_table_of_the_specification() {
        let table = [
            (1.0, "0", "0", "0"),
            (0.5, "8", "8", "8"),
            (1.0 / 3.0, "aab", "aaab", "aaaab"),
            (0.25, "c", "c", "c"),
            (0.2, "ccd", "cccd", "ccccd"),
            (0.125, "e", "e", "e"),
            (0.1, "e66", "e666", "e6666"),
            (0.0625, "f", "f", "f"),
            (0.01, "fd71", "fd70a", "fd70a4"),
            (0.001, "ffbe7", "ffbe77", "ffbe76d"),
            (0.000_1, "fff972", "fff9724", "fff97247"),
            (0.000_01, "ffff584", "ffff583a", "ffff583a5"),
            (0.000_001, "ffffef4", "ffffef39", "ffffef391"),
        ];
        for (share, three, four, five) in table {
            let got = [3, 4, 5].map(|precision| written(share, precision));
            assert_eq!(got, [three, four, five], "{share}");
            assert_eq!(Threshold::of_share(share).unwrap().to_string(), four);
        }
    }

    #[test]
    fn the_actual_probabilities_of_the_specification() {
        for (text, share) in [
            ("0", 1.0),
            ("8", 0.5),
            ("aab", 0.333_251_953_125),
            ("ccd", 0.199_951_171_875),
            ("e666", 0.100_006_103_515_625),
            ("fd71", 0.009_994_506_835_937_5),
        ] {
            let parsed = Threshold::parse(text).unwrap().share();
            assert!((parsed - share).abs() < f64::EPSILON, "{text}: {parsed}");
        }
    }

    /// One, two, three of 2^56: the digits that are asked for are never those that are only `f`.
    #[test]
    fn the_smallest_shares_are_exact() {
        let least = 1.0 / ALL as f64;
        for (of, text) in [
            (1.0, "ffffffffffffff"),
            (2.0, "fffffffffffffe"),
            (3.0, "fffffffffffffd"),
            (8.0, "fffffffffffff8"),
            (16.0, "fffffffffffff"),
        ] {
            assert_eq!(written(of * least, 3), text);
        }
        for nothing in [
            0.0,
            -0.0,
            least / 4.0,
            f64::MIN_POSITIVE,
            f64::NAN,
            -0.1,
            1.1,
            f64::INFINITY,
        ] {
            assert_eq!(Threshold::of_share(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_threshold_is_read_with_the_zeroes_that_were_left_out_and_nothing_else_is_one() {
        assert_eq!(Threshold::parse("c"), Some(Threshold(0xc0_0000_0000_0000)));
        assert_eq!(Threshold::parse("C0"), Threshold::parse("c"));
        assert_eq!(Threshold::parse("0"), Some(Threshold::NONE));
        for wrong in ["", "0x1", "+1", "-1", "g", " 8", "123456789abcdef", "é"] {
            assert_eq!(Threshold::parse(wrong), None, "{wrong}");
        }
        for wrong in ["", "8", "+123456789abcd", "123456789abcdef"] {
            assert_eq!(Randomness::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_random_is_the_last_seven_bytes_and_the_threshold_itself_is_kept() {
        let trace = TraceId::new(*b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xc0\0\0\0\0\0\0").unwrap();
        assert_eq!(Randomness::of(trace), Randomness(0xc0_0000_0000_0000));
        let quarter = Threshold::parse("c").unwrap();
        assert!(quarter.keeps(Randomness::of(trace)));
        assert!(!quarter.keeps(Randomness(0xbf_ffff_ffff_ffff)));
    }

    #[test]
    fn a_part_of_a_share_is_their_product() {
        let half = Threshold::of_share(0.5).unwrap();
        assert_eq!(half.keeping_part(1, 4), Threshold::of_share(0.125));
        assert_eq!(half.keeping_part(4, 4), Some(half));
        assert_eq!(half.keeping_part(9, 4), Some(half));
        assert_eq!(half.keeping_part(0, 4), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bits in 0..ALL) {
            let threshold = Threshold(bits);
            prop_assert_eq!(Threshold::parse(&threshold.to_string()), Some(threshold));
        }

        #[test]
        fn a_share_is_met_to_four_digits(share in 1e-12..1.0) {
            let met = Threshold::of_share(share).unwrap().share();
            // Half of the last of four digits, of which the first may be 1.
            prop_assert!((met - share).abs() <= share * 0.000_5 + 0.000_01 * share.max(0.0625), "{} for {}", met, share);
        }

        #[test]
        fn what_a_share_keeps_a_larger_one_keeps(a in 0.0..=1.0, b in 0.0..=1.0, randomness in 0..ALL) {
            let (small, large) = if a < b { (a, b) } else { (b, a) };
            let keeps = |share| Threshold::of_share(share).is_some_and(|threshold| threshold.keeps(Randomness(randomness)));
            prop_assert!(!keeps(small) || keeps(large));
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC{0,20}") {
            let _ = (Threshold::parse(&text), Randomness::parse(&text));
        }
    }
}
