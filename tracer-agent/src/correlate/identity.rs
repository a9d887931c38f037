//! Trace and span ids: a keyed function of the exchange, so that they depend neither on the order in which
//! exchanges are decided nor on the clock, and a recording replays to the same ids.

use std::num::{NonZeroU64, NonZeroU128};

use crate::{
    ids::{SpanId, TraceId},
    protocols::ExchangeId,
};

/// Makes ids from exchanges. Two exchanges never have one span id: the function is a bijection.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    seed: [u64; 2],
}

impl Identity {
    /// Ids of this run; the seed must be random in production, or two agents make the same ids.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// The id of the span that this exchange becomes.
    pub fn span(self, exchange: ExchangeId) -> SpanId {
        let [key, offset] = self.seed;
        let number = mix(mix(exchange.0.wrapping_add(offset)) ^ key);
        NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX).into()
    }

    /// The id of the trace that this exchange begins.
    pub fn trace(self, exchange: ExchangeId) -> TraceId {
        let [key, offset] = self.seed;
        let high = mix(mix(exchange.0 ^ key).wrapping_add(offset));
        let low = mix(mix(exchange.0 ^ offset.rotate_left(32)) ^ key.rotate_left(32));
        let number = u128::from(high) << 64 | u128::from(low);
        NonZeroU128::new(number).unwrap_or(NonZeroU128::MAX).into()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014) with its increment: a bijection that spreads every bit.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_exchanges_share_an_id_and_another_seed_gives_other_ids() {
        let (one, two) = (Identity::new([1, 2]), Identity::new([1, 3]));
        let spans: BTreeSet<_> = (0..10_000).map(|id| one.span(ExchangeId(id))).collect();
        let traces: BTreeSet<_> = (0..10_000).map(|id| one.trace(ExchangeId(id))).collect();
        assert_eq!((spans.len(), traces.len()), (10_000, 10_000));
        assert_ne!(one.span(ExchangeId(7)), two.span(ExchangeId(7)));
        assert_ne!(one.trace(ExchangeId(7)), two.trace(ExchangeId(7)));
    }

    #[test]
    fn ids_are_spread_evenly_enough_for_a_ratio_sampler() {
        let ids = Identity::new([0x1234, 0x5678]);
        let ones: u32 = (0..4096)
            .map(|id| u128::from_be_bytes(ids.trace(ExchangeId(id)).bytes()).count_ones())
            .sum();
        let mean = f64::from(ones) / 4096.0;
        assert!((63.5..64.5).contains(&mean), "mean {mean} bits of 128");
    }
}
