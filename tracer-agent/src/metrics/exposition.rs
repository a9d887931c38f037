//! Metrics as text: the format of Prometheus 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics 1.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), which has exemplars.

use std::fmt::{self, Write as _};

use super::{Exemplar, Family, Histogram, Kind, Point, Value, family::underscored};
use crate::capture::input::AttributeValue;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What a scraper asks for that sends this `Accept`: OpenMetrics where it names it, and does not refuse it.
    pub fn of_accept(accept: &str) -> Self {
        let names = |entry: &str| {
            let mut parts = entry.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            let is_refused = |part: &str| {
                let weight = part.strip_prefix("q=").map(str::trim);
                weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
            };
            is_named && !parts.any(is_refused)
        };
        if accept.split(',').any(names) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics that have a series, in the order given, each with its series in the order of their labels.
pub fn text<'a>(families: impl IntoIterator<Item = &'a Family>, format: Format) -> String {
    let mut out = String::new();
    for family in families {
        if !family.points.is_empty() {
            // Writing to a text does not fail.
            let _ = put_family(&mut out, family, format);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn put_family(out: &mut String, family: &Family, format: Format) -> fmt::Result {
    let name = family.prometheus_name();
    let total = if family.kind == Kind::Counter {
        "_total"
    } else {
        ""
    };
    // OpenMetrics names the family, Prometheus its samples.
    let named = match format {
        Format::OpenMetrics => name.clone(),
        Format::Prometheus => format!("{name}{total}"),
    };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    writeln!(out, "# HELP {named} {}", Escaped(family.help, Place::Help))?;
    writeln!(out, "# TYPE {named} {kind}")?;
    let mut series: Vec<_> = family.points.iter().map(|point| (labels(point), point)).collect();
    series.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (labels, point) in series {
        match &point.value {
            Value::Whole(value) => writeln!(out, "{name}{total}{} {value}", Braced(&labels))?,
            Value::Real(value) => writeln!(out, "{name}{total}{} {value}", Braced(&labels))?,
            Value::Histogram(histogram) => put_histogram(out, &name, &labels, histogram, format)?,
        }
    }
    Ok(())
}

fn put_histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    histogram: &Histogram,
    format: Format,
) -> fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (bucket, count) in histogram.counts().iter().enumerate() {
        below += count;
        write!(out, "{name}_bucket{{{labels}{comma}le=\"")?;
        match histogram.bounds().get(bucket) {
            // A float has a point in OpenMetrics, and the same text in both, so that a series is one whatever is asked for.
            Some(bound) => write!(out, "{bound:?}")?,
            None => out.push_str("+Inf"),
        }
        write!(out, "\"}} {below}")?;
        if let (Format::OpenMetrics, Some(exemplar)) = (format, histogram.exemplar(bucket)) {
            put_exemplar(out, exemplar)?;
        }
        out.push('\n');
    }
    writeln!(out, "{name}_sum{} {}", Braced(labels), histogram.sum_seconds())?;
    writeln!(out, "{name}_count{} {}", Braced(labels), histogram.count())
}

fn put_exemplar(out: &mut String, exemplar: &Exemplar) -> fmt::Result {
    let (seconds, millis) = (
        exemplar.unix_ns / 1_000_000_000,
        exemplar.unix_ns / 1_000_000 % 1_000,
    );
    write!(
        out,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {seconds}.{millis:03}",
        exemplar.trace, exemplar.span, exemplar.seconds
    )
}

/// The labels of a series as they stand between the braces.
fn labels(point: &Point) -> String {
    let mut out = String::new();
    for (name, value) in point.service.iter().chain(point.labels.iter()) {
        let comma = if out.is_empty() { "" } else { "," };
        // Writing to a text does not fail.
        let _ = write!(out, "{comma}{}=\"", underscored(name));
        let _ = match value {
            AttributeValue::Text(text) => write!(out, "{}", Escaped(text, Place::Label)),
            AttributeValue::Int(number) => write!(out, "{number}"),
            AttributeValue::Bool(value) => write!(out, "{value}"),
            AttributeValue::Double(number) => write!(out, "{number}"),
            AttributeValue::List(texts) => write!(out, "{}", Escaped(&texts.join(","), Place::Label)),
        };
        out.push('"');
    }
    out
}

/// Labels with their braces, if there are any.
struct Braced<'a>(&'a str);

impl fmt::Display for Braced<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            labels => write!(out, "{{{labels}}}"),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Place {
    Help,
    Label,
}

/// A text in which nothing can end the line or the quotes.
struct Escaped<'a>(&'a str, Place);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => out.write_str(r"\\")?,
                '\n' => out.write_str(r"\n")?,
                '"' if self.1 == Place::Label => out.write_str("\\\"")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}
