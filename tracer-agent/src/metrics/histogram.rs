//! A histogram with fixed bounds, and the last sampled span of each bucket as its exemplar.

use crate::ids::{SpanId, TraceId};

/// A histogram of durations. The sum of `counts` is `count`; there is one bucket more than bounds, for what is above the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    /// One a bucket once there is any; none before, because most series of unsampled traffic never have one.
    exemplars: Vec<Option<Exemplar>>,
    count: u64,
    sum_seconds: f64,
}

/// A span that stands for those of its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// How long it took.
    pub seconds: f64,
    /// When it ended.
    pub unix_ns: u64,
}

impl Histogram {
    /// An empty histogram. `bounds` are the inclusive upper bounds of the buckets, in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            exemplars: Vec::new(),
            count: 0,
            sum_seconds: 0.0,
        }
    }

    /// Counts one duration; an exemplar takes the place of the one before it.
    pub fn observe(&mut self, seconds: f64, exemplar: Option<Exemplar>) {
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.count += 1;
        self.sum_seconds += seconds;
        if exemplar.is_some() {
            self.exemplars.resize(self.counts.len(), None);
            if let Some(kept) = self.exemplars.get_mut(place) {
                *kept = exemplar;
            }
        }
    }

    /// Upper bounds of the buckets but the last, in seconds, ascending, inclusive.
    pub fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many there are in each bucket, not added up.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The exemplar of a bucket.
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket)?.as_ref()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::tests::{span_id, trace_id};

    const BOUNDS: &[f64] = &[0.1, 1.0];

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_above_all_has_one() {
        let mut histogram = Histogram::new(BOUNDS);
        for seconds in [0.0, 0.1, 0.100_001, 1.0, 7.0] {
            histogram.observe(seconds, None);
        }
        assert_eq!(histogram.counts(), [2, 2, 1]);
        assert_eq!(histogram.count(), 5);
    }

    #[test]
    fn the_last_sampled_span_of_a_bucket_is_its_exemplar() {
        let exemplar = |span| Exemplar {
            trace: trace_id(1),
            span: span_id(span),
            seconds: 0.5,
            unix_ns: 9,
        };
        let mut histogram = Histogram::new(BOUNDS);
        histogram.observe(0.5, None);
        assert_eq!(histogram.exemplar(1), None);
        histogram.observe(0.5, Some(exemplar(1)));
        histogram.observe(0.5, Some(exemplar(2)));
        histogram.observe(0.5, None);
        assert_eq!(histogram.exemplar(1), Some(&exemplar(2)));
        assert_eq!(histogram.exemplar(0), None);
        assert_eq!(histogram.exemplar(3), None);
    }

    proptest! {
        #[test]
        fn buckets_add_up_to_the_count(durations in prop::collection::vec(0.0_f64..20.0, 0..200)) {
            let mut histogram = Histogram::new(BOUNDS);
            durations.iter().for_each(|seconds| histogram.observe(*seconds, None));
            prop_assert_eq!(histogram.counts().iter().sum::<u64>(), durations.len() as u64);
            prop_assert_eq!(histogram.count(), durations.len() as u64);
            let fast = durations.iter().filter(|seconds| **seconds <= 0.1).count() as u64;
            prop_assert_eq!(histogram.counts()[0], fast);
        }
    }
}
