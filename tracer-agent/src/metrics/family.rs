//! A metric as it is told: neither Prometheus nor OTLP, and enough for both.

use std::sync::Arc;

use super::Histogram;
use crate::capture::input::AttributeValue;

/// Attributes with their names in OpenTelemetry's spelling, no name twice.
pub type Labels = Arc<[(&'static str, AttributeValue)]>;

/// One metric with all its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// OpenTelemetry's name; that of Prometheus follows from it, the unit and the kind.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// How it behaves.
    pub kind: Kind,
    /// Its series.
    pub points: Vec<Point>,
}

/// What a metric counts, as UCUM and Prometheus write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, or nothing that has a unit.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows since the start of its series.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size since the start of its series.
    Histogram,
}

/// One series as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Who it is about: `service.*`. Empty for what is about the agent, or about two services.
    pub service: Labels,
    /// What sets it apart from the others.
    pub labels: Labels,
    /// Since when it counts; 0: since the agent started.
    pub since_unix_ns: u64,
    /// What it says.
    pub value: Value,
}

/// What a series says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// A number, finite.
    Real(f64),
    /// Sizes.
    Histogram(Histogram),
}

impl Unit {
    /// As OTLP writes it (UCUM).
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "s",
            Self::Bytes => "By",
        }
    }

    /// As names of Prometheus end with it.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "_seconds",
            Self::Bytes => "_bytes",
        }
    }
}

impl Family {
    /// A metric of the agent itself, without series yet.
    pub fn new(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit,
            kind,
            points: Vec::new(),
        }
    }

    /// The same with one more series, that counts since the agent started.
    #[must_use]
    pub fn with(
        mut self,
        labels: impl IntoIterator<Item = (&'static str, AttributeValue)>,
        value: Value,
    ) -> Self {
        self.points.push(Point {
            service: Labels::default(),
            labels: labels.into_iter().collect(),
            since_unix_ns: 0,
            value,
        });
        self
    }

    /// The name that Prometheus knows it by, without `_total`, by the rules of the OpenTelemetry specification ("Prometheus and
    /// OpenMetrics Compatibility").
    pub fn prometheus_name(&self) -> String {
        let name = underscored(self.name);
        let name = name.strip_suffix("_total").unwrap_or(&name);
        let suffix = self.unit.suffix();
        format!("{}{suffix}", name.strip_suffix(suffix).unwrap_or(name))
    }
}

/// A name with everything that Prometheus does not allow in one replaced.
pub fn underscored(name: &str) -> String {
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '_' })
        .collect()
}

/// A text as the value of a label.
pub fn text(text: impl Into<compact_str::CompactString>) -> AttributeValue {
    AttributeValue::Text(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_prometheus_follows_from_name_and_unit() {
        let name = |name, kind, unit| Family::new(name, kind, unit, "x").prometheus_name();
        assert_eq!(
            name("http.server.request.duration", Kind::Histogram, Unit::Seconds),
            "http_server_request_duration_seconds"
        );
        assert_eq!(
            name("traces_service_graph_request_total", Kind::Counter, Unit::None),
            "traces_service_graph_request"
        );
        assert_eq!(
            name("tracer.agent.memory_bytes", Kind::Gauge, Unit::Bytes),
            "tracer_agent_memory_bytes"
        );
    }
}
