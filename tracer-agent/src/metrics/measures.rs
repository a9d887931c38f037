//! The stage that counts spans, and a copy of its counts for those who ask.

use super::{Family, Kind, Unit, Value, edges::Edges, family::text, red::Red, series::LIMIT};
use crate::spans::Span;

/// What can be chosen about counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Series a metric; what is beyond is counted in one of its own.
    pub max_series: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_series: LIMIT }
    }
}

/// Counts every span, also those that are not exported.
#[derive(Debug)]
pub struct Measures {
    red: Red,
    edges: Edges,
}

impl Measures {
    /// Nothing counted yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            red: Red::new(settings.max_series),
            edges: Edges::new(settings.max_series),
        }
    }

    /// Counts a finished span.
    pub fn observe(&mut self, span: &Span) {
        self.red.observe(span);
        self.edges.observe(span);
    }

    /// Tells the time, so that requests of which one end is not traced are counted also when nothing follows.
    pub fn tick(&mut self, unix_ns: u64) {
        self.edges.give_up_old(unix_ns);
    }

    /// Everything that was counted, and what of it has no series of its own.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.red.families();
        families.extend(self.edges.families());
        let metric = |name, kind, help| Family::new(name, kind, Unit::None, help);
        let by_table = |pick: fn((u64, u64, u64)) -> u64| {
            [("red", self.red.sizes()), ("edges", self.edges.sizes())]
                .map(|(table, sizes)| (table, pick(sizes)))
        };
        let tables = [
            (
                metric(
                    "tracer.agent.metrics.series",
                    Kind::Gauge,
                    "Series that are kept.",
                ),
                by_table(|(series, ..)| series),
            ),
            (
                metric(
                    "tracer.agent.metrics.overflowed",
                    Kind::Counter,
                    "Spans that were counted in a series of what is beyond the limit.",
                ),
                by_table(|(_, overflowed, _)| overflowed),
            ),
            (
                metric(
                    "tracer.agent.metrics.series_forgotten",
                    Kind::Counter,
                    "Series that were forgotten because they were quiet and there was no room.",
                ),
                by_table(|(.., forgotten)| forgotten),
            ),
        ];
        for (family, values) in tables {
            families.push(values.into_iter().fold(family, |family, (table, value)| {
                family.with([("table", text(table))], Value::Whole(value))
            }));
        }
        let uncounted = metric(
            "tracer.agent.metrics.uncounted",
            Kind::Counter,
            "Spans that are not in a metric, by cause.",
        );
        let causes = [
            ("end_not_seen", self.red.unmeasured()),
            ("caller_not_seen", self.edges.unpaired()),
            ("waited_too_many", self.edges.given_up()),
        ];
        families.push(causes.into_iter().fold(uncounted, |family, (cause, count)| {
            family.with([("cause", text(cause))], Value::Whole(count))
        }));
        families
    }
}
