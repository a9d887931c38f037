//! Spans gathered into traces until they are shown, within bounds.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    capture::input::AttributeValue,
    ids::{SpanId, TraceId},
    spans::{
        Span,
        span::{SpanKind, SpanStatus},
    },
};

use super::text::harmless;

/// Spans of one trace that are kept; the rest is counted.
const MAX_TRACE_SPANS: usize = 500;
/// Spans of all traces together that are kept.
const MAX_SPANS: usize = 20_000;

/// A trace whose last span is not as old as this may not be whole.
const SPARED: Duration = Duration::from_secs(1);

/// What the waterfall shows of a span. Every text is harmless for a terminal.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub parent_is_remote: bool,
    pub kind: SpanKind,
    pub service: String,
    /// Method, or the name of the span where there is none.
    pub what: String,
    pub path: String,
    /// `host:port` of the server, for a client span.
    pub server: String,
    /// Status code as sent.
    pub status: Option<i64>,
    pub is_error: bool,
    /// `error.type`, unless it only repeats the status code.
    pub error: Option<String>,
    pub is_incomplete: bool,
    pub evidence: Option<String>,
    /// The best candidate for a parent that was not proven.
    pub candidate: Option<(SpanId, Option<f64>)>,
    pub start: u64,
    pub end: u64,
}

impl Row {
    fn new(span: Span) -> Self {
        let find = |key: &str| {
            span.attributes
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| value)
        };
        let text = |key: &str| match find(key) {
            Some(AttributeValue::Text(text)) => Some(harmless(text)),
            _ => None,
        };
        let int = |key: &str| match find(key) {
            Some(AttributeValue::Int(value)) => Some(*value),
            _ => None,
        };
        let path = text("url.path")
            .or_else(|| text("url.full").map(|url| path_of(&url)))
            .unwrap_or_default();
        let status = int("http.response.status_code");
        let server = match (text("server.address"), int("server.port")) {
            (Some(address), Some(port)) => format!("{address}:{port}"),
            (Some(address), None) => address,
            (None, _) => String::new(),
        };
        Self {
            id: span.id,
            parent: span.parent,
            parent_is_remote: span.parent_is_remote,
            kind: span.kind,
            service: harmless(&span.process.service_name),
            what: text("http.request.method").unwrap_or_else(|| harmless(&span.name)),
            path,
            server,
            status,
            is_error: span.status == SpanStatus::Error,
            error: text("error.type")
                .filter(|error| status.is_none_or(|status| *error != status.to_string())),
            is_incomplete: find("tracer.incomplete") == Some(&AttributeValue::Bool(true)),
            evidence: text("tracer.link.evidence"),
            candidate: span.links.first().map(|link| {
                let confidence = link.attributes.iter().find_map(|(key, value)| match value {
                    AttributeValue::Double(value) if *key == "tracer.link.confidence" => Some(*value),
                    _ => None,
                });
                (link.span, confidence)
            }),
            start: span.start_unix_ns,
            end: span.end_unix_ns.max(span.start_unix_ns),
        }
    }

    /// Nanoseconds from start to end.
    pub fn duration(&self) -> u64 {
        self.end - self.start
    }
}

/// The path of an absolute URL.
fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|place| rest.get(place..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// The spans of one trace.
#[derive(Clone, Debug)]
pub struct Trace {
    pub id: TraceId,
    pub rows: Vec<Row>,
    /// Spans beyond the bound.
    pub omitted: usize,
    /// When the last span came.
    pub changed: Instant,
}

impl Trace {
    /// First start and last end.
    pub fn window(&self) -> (u64, u64) {
        let start = self.rows.iter().map(|row| row.start).min().unwrap_or_default();
        let end = self.rows.iter().map(|row| row.end).max().unwrap_or_default();
        (start, end)
    }

    fn duration(&self) -> u64 {
        let (start, end) = self.window();
        end - start
    }
}

/// All traces that were not shown yet.
#[derive(Default)]
pub struct Collection {
    traces: HashMap<TraceId, Trace>,
    kept: usize,
    /// Spans, traces and services ever seen, evicted ones included.
    pub spans: usize,
    /// Traces that had to make room; a trace that comes back counts again.
    pub evicted: usize,
    services: Vec<String>,
    /// Traces ever taken out to be shown.
    taken: usize,
}

impl Collection {
    /// Puts in a span; makes room if there is none by letting go of the fastest traces.
    pub fn push(&mut self, span: Span, now: Instant) {
        self.spans += 1;
        let id = span.trace;
        let row = Row::new(span);
        if self.services.len() < MAX_TRACE_SPANS && !self.services.contains(&row.service) {
            self.services.push(row.service.clone());
        }
        let trace = self.traces.entry(id).or_insert_with(|| Trace {
            id,
            rows: Vec::new(),
            omitted: 0,
            changed: now,
        });
        trace.changed = now;
        if trace.rows.len() >= MAX_TRACE_SPANS {
            trace.omitted += 1;
            return;
        }
        trace.rows.push(row);
        self.kept += 1;
        if self.kept > MAX_SPANS {
            self.make_room(now);
        }
    }

    /// Number of traces that came and were not shown yet, evicted ones included.
    pub fn traces(&self) -> usize {
        self.traces.len() + self.evicted + self.taken
    }

    /// Number of services ever seen.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Takes out the traces that had no new span since `before`, the earliest first.
    pub fn take_quiet(&mut self, before: Instant) -> Vec<Trace> {
        let mut quiet: Vec<_> = self
            .traces
            .extract_if(|_, trace| trace.changed <= before)
            .map(|(_, trace)| trace)
            .collect();
        self.kept -= quiet.iter().map(|trace| trace.rows.len()).sum::<usize>();
        self.taken += quiet.len();
        quiet.sort_by_key(|trace| (trace.window().0, trace.id));
        quiet
    }

    /// Takes out the `most` slowest traces, the earliest first.
    pub fn take_slowest(&mut self, most: usize) -> Vec<Trace> {
        let mut all: Vec<_> = self.traces.drain().map(|(_, trace)| trace).collect();
        self.taken += all.len();
        self.kept = 0;
        all.sort_by_key(|trace| (std::cmp::Reverse(trace.duration()), trace.id));
        all.truncate(most);
        all.sort_by_key(|trace| (trace.window().0, trace.id));
        all
    }

    /// Lets go of half of the spans, those of the fastest traces first. A trace that had a span a moment ago
    /// may not be whole, and is spared while there are others.
    fn make_room(&mut self, now: Instant) {
        let mut dispensable: Vec<_> = self
            .traces
            .values()
            .map(|trace| (now - trace.changed < SPARED, trace.duration(), trace.id))
            .collect();
        dispensable.sort_unstable();
        for (_, _, id) in dispensable {
            if self.kept <= MAX_SPANS / 2 {
                return;
            }
            if let Some(trace) = self.traces.remove(&id) {
                self.kept -= trace.rows.len();
                self.evicted += 1;
            }
        }
    }
}
