//! Rate, errors, duration: how long what a service answers and asks for takes, by the semantic conventions for metrics
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>, <https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/>).
//!
//! The count of a histogram is the rate, `error.type` tells the errors. A span of which the end is not known has no duration, and is
//! counted by that cause alone.

use super::{
    Exemplar, Family, Histogram, Kind, Point, Unit, Value,
    family::{Labels, text},
    series::{Key, Table},
};
use crate::{
    capture::{ProcessInfo, input::AttributeValue},
    spans::{Span, span::SpanKind},
};

/// The bounds that the conventions advise, in seconds.
const BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The attributes of a resource that name a service, besides its name.
const OF_SERVICE: [&str; 2] = ["service.namespace", "service.instance.id"];
/// Where labels of the resource are placed in a key: behind those of the span.
const FIRST_OF_SERVICE: u8 = 128;

/// How spans of one kind are counted.
struct Instrument {
    name: &'static str,
    help: &'static str,
    kind: SpanKind,
    /// What every span of it has, and no other.
    told_by: &'static str,
    /// The attributes of a span that are labels, and no other: their values are few.
    labels: &'static [&'static str],
}

const INSTRUMENTS: [Instrument; 4] = [
    Instrument {
        name: "http.server.request.duration",
        help: "Duration of HTTP server requests.",
        kind: SpanKind::Server,
        told_by: "network.protocol.version",
        labels: &[
            "http.request.method",
            "url.scheme",
            "http.response.status_code",
            "http.route",
            "error.type",
            "network.protocol.version",
        ],
    },
    Instrument {
        name: "http.client.request.duration",
        help: "Duration of HTTP client requests.",
        kind: SpanKind::Client,
        told_by: "network.protocol.version",
        labels: &[
            "http.request.method",
            "server.address",
            "server.port",
            "http.response.status_code",
            "error.type",
            "network.protocol.version",
        ],
    },
    Instrument {
        name: "rpc.server.call.duration",
        help: "Duration of incoming remote procedure calls.",
        kind: SpanKind::Server,
        told_by: "rpc.system.name",
        labels: &[
            "rpc.system.name",
            "rpc.method",
            "rpc.response.status_code",
            "error.type",
        ],
    },
    Instrument {
        name: "rpc.client.call.duration",
        help: "Duration of outgoing remote procedure calls.",
        kind: SpanKind::Client,
        told_by: "rpc.system.name",
        labels: &[
            "rpc.system.name",
            "rpc.method",
            "server.address",
            "server.port",
            "rpc.response.status_code",
            "error.type",
        ],
    },
];

/// What tells how it ended; a span has one of them, or its end was not seen.
const OUTCOMES: [&str; 3] = [
    "http.response.status_code",
    "rpc.response.status_code",
    "error.type",
];

/// The histograms of all services.
#[derive(Debug)]
pub struct Red {
    tables: [Table<Histogram>; INSTRUMENTS.len()],
    key: Key,
    unmeasured: u64,
}

impl Red {
    /// At most so many series a metric.
    pub fn new(limit: usize) -> Self {
        Self {
            tables: std::array::from_fn(|_| Table::new(limit)),
            key: Key::default(),
            unmeasured: 0,
        }
    }

    /// Counts a span, if there is a metric for its kind.
    pub fn observe(&mut self, span: &Span) {
        let has = |name: &str| span.attributes.iter().any(|(key, _)| *key == name);
        let found = INSTRUMENTS
            .iter()
            .zip(&mut self.tables)
            .find(|(instrument, _)| instrument.kind == span.kind && has(instrument.told_by));
        let Some((instrument, table)) = found else {
            return;
        };
        if !OUTCOMES.iter().any(|outcome| has(outcome)) {
            self.unmeasured += 1;
            return;
        }
        self.key.clear();
        for (key, value) in &span.attributes {
            if let Some(place) = instrument.labels.iter().position(|label| label == key) {
                self.key.add(u8::try_from(place).unwrap_or(u8::MAX), value);
            }
        }
        self.key.add_text(FIRST_OF_SERVICE, &span.process.service_name);
        for (place, (_, value)) in (FIRST_OF_SERVICE + 1..).zip(of_service(&span.process)) {
            self.key.add(place, value);
        }
        let times = (span.start_unix_ns, span.end_unix_ns);
        let labels = || (service(&span.process), labels(instrument, span));
        let histogram = table.at(&self.key, times, labels, || Histogram::new(BOUNDS));
        let seconds = seconds(span);
        histogram.observe(seconds, exemplar(span, seconds));
    }

    /// The metrics that have a series.
    pub fn families(&self) -> Vec<Family> {
        INSTRUMENTS
            .iter()
            .zip(&self.tables)
            .filter(|(_, table)| !table.is_empty())
            .map(|(instrument, table)| {
                let mut family =
                    Family::new(instrument.name, Kind::Histogram, Unit::Seconds, instrument.help);
                family.points = points(table, |histogram| Value::Histogram(histogram.clone()));
                family
            })
            .collect()
    }

    /// Series, what was counted in none of its own, and series that were forgotten.
    pub fn sizes(&self) -> (u64, u64, u64) {
        self.tables.iter().fold((0, 0, 0), |(series, over, gone), table| {
            (
                series + table.len() as u64,
                over + table.overflowed(),
                gone + table.forgotten(),
            )
        })
    }

    /// Spans that have no duration because their end was not seen.
    pub fn unmeasured(&self) -> u64 {
        self.unmeasured
    }
}

/// How long a span took.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 104 days, and beyond to a part in 10^15"
)]
pub fn seconds(span: &Span) -> f64 {
    span.end_unix_ns.saturating_sub(span.start_unix_ns) as f64 / 1e9
}

/// The exemplar that a span is, if backends will have it.
pub fn exemplar(span: &Span, seconds: f64) -> Option<Exemplar> {
    span.is_sampled().then_some(Exemplar {
        trace: span.trace,
        span: span.id,
        seconds,
        unix_ns: span.end_unix_ns,
    })
}

/// The series of a table as they are told.
pub fn points<V>(table: &Table<V>, value: impl Fn(&V) -> Value) -> Vec<Point> {
    table
        .iter()
        .map(|series| Point {
            service: series.service.clone(),
            labels: series.labels.clone(),
            since_unix_ns: series.since_unix_ns,
            value: value(&series.value),
        })
        .collect()
}

fn of_service(process: &ProcessInfo) -> impl Iterator<Item = (&'static str, &AttributeValue)> {
    OF_SERVICE.iter().filter_map(|name| {
        let (_, value) = process.resource.iter().find(|(key, _)| key == name)?;
        Some((*name, value))
    })
}

fn service(process: &ProcessInfo) -> Labels {
    let name = ("service.name", text(process.service_name.clone()));
    let others = of_service(process).map(|(key, value)| (key, value.clone()));
    [name].into_iter().chain(others).collect()
}

fn labels(instrument: &Instrument, span: &Span) -> Labels {
    span.attributes
        .iter()
        .filter(|(key, _)| instrument.labels.contains(key))
        .cloned()
        .collect()
}
