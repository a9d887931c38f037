//! Series by their labels, at most so many: past it those that are long quiet go, and what is new is counted together.

use std::collections::HashMap;

use super::family::Labels;
use crate::capture::input::AttributeValue;

/// The cardinality limit that the OpenTelemetry SDK specification proposes for a metric.
pub const LIMIT: usize = 2_000;
/// A longer label has no series of its own: labels come from the wire, and are kept for long.
const MAX_LABEL: usize = 255;
/// A series may be forgotten when nothing was counted in it for so long. Where it comes again it begins anew, which is a reset as by a restart.
const QUIET_NS: u64 = 15 * 60 * 1_000_000_000;
/// How often series that are quiet are looked for.
const SWEEP_NS: u64 = 60 * 1_000_000_000;

/// The attribute that marks the series of what has none of its own.
pub const OVERFLOW: (&str, AttributeValue) = ("otel.metric.overflow", AttributeValue::Bool(true));

/// The name of a series while it is looked up, in a buffer that is used again.
#[derive(Debug, Default)]
pub struct Key {
    bytes: Vec<u8>,
    is_too_long: bool,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Series<V> {
    /// Who it is about.
    pub service: Labels,
    /// What sets it apart.
    pub labels: Labels,
    /// When the first that was counted began.
    pub since_unix_ns: u64,
    /// When the last that was counted ended.
    last_unix_ns: u64,
    /// What was counted.
    pub value: V,
}

/// Series by labels. Holds at most its limit, and one more for what is beyond it.
#[derive(Debug)]
pub struct Table<V> {
    series: HashMap<Box<[u8]>, Series<V>>,
    overflow: Option<Series<V>>,
    limit: usize,
    swept_unix_ns: u64,
    overflowed: u64,
    forgotten: u64,
}

impl Key {
    /// Begins another name.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.is_too_long = false;
    }

    /// Adds a label, by the place of its name in a list that is the same for all series of a table.
    pub fn add(&mut self, place: u8, value: &AttributeValue) {
        match value {
            AttributeValue::Text(text) => self.add_text(place, text),
            AttributeValue::Int(number) => self.put(place, &number.to_le_bytes()),
            AttributeValue::Bool(value) => self.put(place, &[u8::from(*value)]),
            AttributeValue::Double(number) => self.put(place, &number.to_le_bytes()),
            // No convention has a list for a label.
            AttributeValue::List(_) => self.is_too_long = true,
        }
    }

    /// The same for a text.
    pub fn add_text(&mut self, place: u8, text: &str) {
        self.put(place, text.as_bytes());
    }

    fn put(&mut self, place: u8, value: &[u8]) {
        match u8::try_from(value.len()) {
            // With its length before it, no value can be taken for the next label.
            Ok(len) if value.len() <= MAX_LABEL => {
                self.bytes.extend([place, len]);
                self.bytes.extend_from_slice(value);
            }
            _ => self.is_too_long = true,
        }
    }
}

impl<V> Table<V> {
    /// An empty table of at most `limit` series.
    pub fn new(limit: usize) -> Self {
        Self {
            series: HashMap::new(),
            overflow: None,
            limit,
            swept_unix_ns: 0,
            overflowed: 0,
            forgotten: 0,
        }
    }

    /// What was counted for this key, or in the series of all that have none; made anew where there is none.
    pub fn at(
        &mut self,
        key: &Key,
        (start_unix_ns, end_unix_ns): (u64, u64),
        labels: impl FnOnce() -> (Labels, Labels),
        empty: impl Fn() -> V,
    ) -> &mut V {
        let make = |(service, labels), value| Series {
            service,
            labels,
            since_unix_ns: start_unix_ns,
            last_unix_ns: end_unix_ns,
            value,
        };
        let name = key.bytes.as_slice();
        if !key.is_too_long && !self.series.contains_key(name) && self.has_room(end_unix_ns) {
            self.series.insert(name.into(), make(labels(), empty()));
        }
        let series = match self.series.get_mut(name).filter(|_| !key.is_too_long) {
            Some(series) => series,
            None => {
                self.overflowed += 1;
                let nobody = || (Labels::default(), [OVERFLOW].into());
                self.overflow.get_or_insert_with(|| make(nobody(), empty()))
            }
        };
        series.last_unix_ns = series.last_unix_ns.max(end_unix_ns);
        &mut series.value
    }

    /// Every series, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Series<V>> {
        self.series.values().chain(&self.overflow)
    }

    /// How many there are, without the one for what is beyond the limit.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.overflow.is_none()
    }

    /// What was counted in no series of its own.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Series that were forgotten because they were quiet and there was no room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn has_room(&mut self, now_unix_ns: u64) -> bool {
        if self.series.len() < self.limit {
            return true;
        }
        if now_unix_ns.saturating_sub(self.swept_unix_ns) < SWEEP_NS {
            return false;
        }
        self.swept_unix_ns = now_unix_ns;
        let before = self.series.len();
        let quiet_since = now_unix_ns.saturating_sub(QUIET_NS);
        self.series.retain(|_, series| series.last_unix_ns >= quiet_since);
        self.forgotten += (before - self.series.len()) as u64;
        self.series.len() < self.limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn count(table: &mut Table<u64>, name: &str, at: u64) {
        let mut key = Key::default();
        key.add_text(0, name);
        let labels = || (Labels::default(), Labels::default());
        *table.at(&key, (at, at), labels, || 0) += 1;
    }

    #[test]
    fn what_is_beyond_the_limit_or_too_long_is_counted_together() {
        let mut table = Table::new(2);
        for name in ["a", "b", "c", "d", "a", &"x".repeat(256)] {
            count(&mut table, name, SECOND);
        }
        assert_eq!(table.len(), 2);
        assert_eq!(table.overflowed(), 3);
        assert_eq!(table.iter().map(|series| series.value).sum::<u64>(), 6);
        let overflow = table.iter().find(|series| series.labels.contains(&OVERFLOW));
        assert_eq!(overflow.unwrap().value, 3);
    }

    #[test]
    fn a_series_that_is_long_quiet_makes_room_for_another() {
        let mut table = Table::new(2);
        count(&mut table, "old", SECOND);
        count(&mut table, "young", QUIET_NS);
        count(&mut table, "new", QUIET_NS + 2 * SECOND);
        assert_eq!((table.len(), table.forgotten(), table.overflowed()), (2, 1, 0));
    }

    #[test]
    fn labels_that_read_alike_one_after_the_other_are_told_apart() {
        let mut table = Table::new(9);
        for (first, second) in [("ab", "c"), ("a", "bc")] {
            let mut key = Key::default();
            key.add_text(0, first);
            key.add_text(1, second);
            let labels = || (Labels::default(), Labels::default());
            *table.at(&key, (1, 1), labels, || 0) += 1;
        }
        assert_eq!(table.len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_bound_is_kept(
            names in prop::collection::vec("[a-e]{0,3}", 0..300),
            limit in 0_usize..20,
        ) {
            let mut table = Table::new(limit);
            names.iter().for_each(|name| count(&mut table, name, SECOND));
            prop_assert!(table.len() <= limit);
            prop_assert_eq!(table.iter().map(|series| series.value).sum::<u64>(), names.len() as u64);
        }
    }
}
