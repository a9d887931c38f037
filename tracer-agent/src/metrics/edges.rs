//! Who calls whom: the service graph, under the names that Tempo and the Collector's servicegraph connector give its metrics, so that
//! dashboards made for them work (<https://grafana.com/docs/tempo/latest/metrics-from-traces/service_graphs/>).
//!
//! ```text
//! client span ─┬─ its server span comes ──▶ edge client ─▶ server
//!              └─ none comes in time ─────▶ edge client ─▶ address  (virtual_node)
//! server span ─┬─ its client span comes ──▶ edge, as above
//!              ├─ it has no parent ───────▶ edge user ─▶ server     (virtual_node)
//!              └─ none comes in time: its caller is traced by another agent or an SDK, who tells of it
//! ```
//!
//! The two halves name each other: the server span has the client span as its parent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    Family, Histogram, Kind, Unit, Value,
    family::{Labels, text},
    red::{exemplar, points, seconds},
    series::{Key, Table},
};
use crate::{
    capture::{ProcessInfo, input::AttributeValue},
    ids::{SpanId, TraceId},
    spans::{
        Span,
        span::{SpanKind, SpanStatus},
    },
};

/// The bounds of the Collector's connector, in seconds.
const BOUNDS: &[f64] = &[
    0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0,
];
/// Halves that wait for the other; past it the oldest is taken for alone.
const MAX_HALVES: usize = 10_000;
/// The same for their order, which has those too that were found.
const MAX_WAITING: usize = 65_536;
/// How long a half waits: longer than the correlator takes to give out the other.
const WAIT_NS: u64 = 10 * 1_000_000_000;
/// Who calls, where nothing is known of it but that it is outside of what is traced.
const USER: &str = "user";

type HalfId = (TraceId, SpanId, bool);

/// The service graph.
#[derive(Debug)]
pub struct Edges {
    table: Table<Edge>,
    key: Key,
    halves: HashMap<HalfId, Half>,
    /// In the order in which they came; may name halves that were found since.
    waiting: VecDeque<(u64, HalfId)>,
    unpaired: u64,
    given_up: u64,
}

/// What went over one edge.
#[derive(Debug)]
struct Edge {
    total: u64,
    failed: u64,
    client: Option<Histogram>,
    server: Option<Histogram>,
}

/// One end of a request.
#[derive(Debug)]
struct Half {
    process: Arc<ProcessInfo>,
    times: (u64, u64),
    seconds: f64,
    exemplar: Option<super::Exemplar>,
    failed: bool,
    /// Of a client: the server's address, as it named it.
    peer: Option<String>,
}

impl Edges {
    /// At most so many edges.
    pub fn new(limit: usize) -> Self {
        Self {
            table: Table::new(limit),
            key: Key::default(),
            halves: HashMap::new(),
            waiting: VecDeque::new(),
            unpaired: 0,
            given_up: 0,
        }
    }

    /// Takes one end of a request.
    pub fn observe(&mut self, span: &Span) {
        self.give_up_old(span.end_unix_ns);
        let half = Half::of(span);
        let (id, is_server) = match (span.kind, span.parent) {
            (SpanKind::Client, _) => (span.id, false),
            (SpanKind::Server, Some(parent)) => (parent, true),
            (SpanKind::Server, None) => return self.count(None, Some(&half), USER),
        };
        match self.halves.remove(&(span.trace, id, !is_server)) {
            Some(other) if is_server => self.count(Some(&other), Some(&half), ""),
            Some(other) => self.count(Some(&half), Some(&other), ""),
            None => {
                let id = (span.trace, id, is_server);
                self.halves.insert(id, half);
                self.waiting.push_back((span.end_unix_ns, id));
                while self.halves.len() > MAX_HALVES || self.waiting.len() > MAX_WAITING {
                    self.given_up += u64::from(self.give_up_first());
                }
            }
        }
    }

    /// Takes halves for alone whose other would have come by now.
    pub fn give_up_old(&mut self, now_unix_ns: u64) {
        let until = now_unix_ns.saturating_sub(WAIT_NS);
        while self.waiting.front().is_some_and(|(since, _)| *since < until) {
            self.give_up_first();
        }
    }

    /// The metrics, if there is any edge.
    pub fn families(&self) -> Vec<Family> {
        let counters = [
            (
                "traces_service_graph_request_total",
                "Requests between two services.",
                points(&self.table, |edge| Value::Whole(edge.total)),
            ),
            (
                "traces_service_graph_request_failed_total",
                "Requests between two services that failed.",
                points(&self.table, |edge| Value::Whole(edge.failed)),
            ),
        ];
        let histograms = [
            (
                "traces_service_graph_request_client",
                "Duration of requests between two services, as the client sees it.",
                self.durations(|edge| edge.client.as_ref()),
            ),
            (
                "traces_service_graph_request_server",
                "Duration of requests between two services, as the server sees it.",
                self.durations(|edge| edge.server.as_ref()),
            ),
        ];
        let counters = counters.map(|(name, help, points)| (name, Kind::Counter, Unit::None, help, points));
        let histograms =
            histograms.map(|(name, help, points)| (name, Kind::Histogram, Unit::Seconds, help, points));
        counters
            .into_iter()
            .chain(histograms)
            .filter(|(.., points)| !points.is_empty())
            .map(|(name, kind, unit, help, points)| Family {
                name,
                help,
                unit,
                kind,
                points,
            })
            .collect()
    }

    /// Edges, requests that were counted in none of their own, and edges that were forgotten.
    pub fn sizes(&self) -> (u64, u64, u64) {
        (
            self.table.len() as u64,
            self.table.overflowed(),
            self.table.forgotten(),
        )
    }

    /// Server spans whose client was not seen here.
    pub fn unpaired(&self) -> u64 {
        self.unpaired
    }

    /// Halves that were taken for alone early because there were too many.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    fn durations<'a>(&'a self, side: impl Fn(&'a Edge) -> Option<&'a Histogram>) -> Vec<super::Point> {
        self.table
            .iter()
            .filter_map(|series| {
                Some(super::Point {
                    service: series.service.clone(),
                    labels: series.labels.clone(),
                    since_unix_ns: series.since_unix_ns,
                    value: Value::Histogram(side(&series.value)?.clone()),
                })
            })
            .collect()
    }

    /// Takes the oldest half for alone; false if it was found.
    fn give_up_first(&mut self) -> bool {
        let Some((_, id)) = self.waiting.pop_front() else {
            return false;
        };
        let Some(half) = self.halves.remove(&id) else {
            return false;
        };
        let (.., is_server) = id;
        match &half.peer {
            Some(peer) if !is_server => self.count(Some(&half), None, peer),
            _ => self.unpaired += 1,
        }
        true
    }

    /// Counts a request; `other` stands for the end that was not seen.
    fn count(&mut self, client: Option<&Half>, server: Option<&Half>, other: &str) {
        let is_virtual = client.is_none() || server.is_none();
        let kind = if is_virtual { VIRTUAL } else { "" };
        let name = |half: Option<&Half>| match half {
            Some(half) => half.process.service_name.clone(),
            None => other.to_owned(),
        };
        let names = [("client", name(client)), ("server", name(server))];
        self.key.clear();
        for (place, (_, name)) in (0..).zip(&names) {
            self.key.add_text(place, name);
        }
        self.key.add_text(2, kind);
        let labels = || {
            let names = names.into_iter().map(|(key, name)| (key, text(name)));
            let labels = names.chain([("connection_type", text(kind))]);
            (Labels::default(), labels.collect())
        };
        let times = [client, server].into_iter().flatten().map(|half| half.times);
        let times = times.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        let edge = self
            .table
            .at(&self.key, times.unwrap_or_default(), labels, Edge::new);
        edge.total += 1;
        edge.failed += u64::from([client, server].into_iter().flatten().any(|half| half.failed));
        for (half, histogram) in [(client, &mut edge.client), (server, &mut edge.server)] {
            if let Some(half) = half {
                histogram
                    .get_or_insert_with(|| Histogram::new(BOUNDS))
                    .observe(half.seconds, half.exemplar);
            }
        }
    }
}

/// The value of `connection_type` where one end was not seen.
const VIRTUAL: &str = "virtual_node";

impl Edge {
    fn new() -> Self {
        Self {
            total: 0,
            failed: 0,
            client: None,
            server: None,
        }
    }
}

impl Half {
    fn of(span: &Span) -> Self {
        let seconds = seconds(span);
        let peer = match span.kind {
            SpanKind::Client => peer(span),
            SpanKind::Server => None,
        };
        Self {
            process: span.process.clone(),
            times: (span.start_unix_ns, span.end_unix_ns),
            seconds,
            exemplar: exemplar(span, seconds),
            failed: span.status == SpanStatus::Error,
            peer,
        }
    }
}

/// The server as the client named it, with its port where that is known.
fn peer(span: &Span) -> Option<String> {
    let value = |name| {
        span.attributes
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let Some(AttributeValue::Text(address)) = value("server.address") else {
        return None;
    };
    Some(match value("server.port") {
        Some(AttributeValue::Int(port)) if address.contains(':') => format!("[{address}]:{port}"),
        Some(AttributeValue::Int(port)) => format!("{address}:{port}"),
        _ => address.to_string(),
    })
}
