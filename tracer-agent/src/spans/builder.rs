//! Makes a span of a linked exchange.

use std::sync::Arc;

use crate::{
    capture::{HostInfo, ProcessInfo, input::AttributeValue, record::ProcessEvent},
    correlate::{Candidate, Linked, Observed},
    ids::{BootNanos, Pid},
    protocols::exchange::{ConnectFailure, Failure, Side},
};

use super::{
    Settings, Span, error_type,
    http::{self, Attributes, Description},
    processes::Processes,
    routes::{self, Routes},
    span::{RANDOM, SAMPLED, SpanKind, SpanLink, SpanStatus},
    url,
};

const MAX_PROCESSES: usize = 16_384;

/// Makes spans of linked exchanges.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    unix_minus_boot_ns: i64,
    processes: Processes,
    routes: Routes,
}

impl Builder {
    /// A builder for the spans of this host.
    pub fn new(host: &HostInfo, settings: Settings) -> Self {
        Self {
            settings,
            unix_minus_boot_ns: host.unix_minus_boot_ns,
            processes: Processes::new(MAX_PROCESSES),
            routes: Routes::default(),
        }
    }

    /// Describes what ends from now on otherwise.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes what was found out of a process.
    pub fn on_process_info(&mut self, info: Arc<ProcessInfo>) {
        self.processes.learn(info);
    }

    /// Takes note of a new process or program.
    pub fn on_process(&mut self, event: &ProcessEvent) {
        self.processes.on_event(event);
    }

    /// Processes that were forgotten while they ran because there were too many.
    pub const fn evicted_processes(&self) -> u64 {
        self.processes.evicted()
    }

    /// The program that a process ran at a time.
    pub fn process(&self, pid: Pid, time: BootNanos) -> Arc<ProcessInfo> {
        self.processes.at(pid, time)
    }

    /// What of routes could not be learned as it should be.
    pub const fn routes(&self) -> routes::Counters {
        self.routes.counters()
    }

    /// The span of a linked exchange.
    pub fn build(&mut self, linked: Linked) -> Span {
        let process = self.processes.at(linked.observed.pid(), linked.observed.start());
        let service = &process.service_name;
        let (start, end, is_incomplete, mut description) = match &linked.observed {
            Observed::Exchange(exchange, ending) => (
                exchange.start,
                ending.end,
                exchange.incomplete || ending.incomplete,
                http::describe(exchange, ending, service, &mut self.routes, &self.settings),
            ),
            Observed::ConnectFailed(failure) => (failure.start, failure.end, false, failed_connect(failure)),
        };
        let attributes = &mut description.attributes;
        attributes.some_text(
            "tracer.link.evidence",
            linked.evidence.map(|evidence| evidence.name()),
        );
        attributes.0.extend(confidence(linked.confidence));
        if is_incomplete {
            attributes
                .0
                .push(("tracer.incomplete", AttributeValue::Bool(true)));
        }
        Span {
            trace: linked.trace,
            id: linked.span,
            parent: linked.parent.map(|parent| parent.span),
            parent_is_remote: linked.parent.is_some_and(|parent| parent.is_remote),
            trace_flags: flags(&linked),
            tracestate: linked.tracestate.as_deref().unwrap_or_default().to_owned(),
            name: description.name,
            kind: match linked.observed.side() {
                Side::Inbound => SpanKind::Server,
                Side::Outbound => SpanKind::Client,
            },
            start_unix_ns: self.unix(start),
            end_unix_ns: self.unix(end.max(start)),
            status: if description.is_error {
                SpanStatus::Error
            } else {
                SpanStatus::Unset
            },
            attributes: description.attributes.0,
            header_attributes: description.header_attributes,
            links: linked.candidates.iter().map(link).collect(),
            process,
        }
    }

    fn unix(&self, boot: BootNanos) -> u64 {
        boot.0.saturating_add_signed(self.unix_minus_boot_ns)
    }
}

fn link(candidate: &Candidate) -> SpanLink {
    let evidence = AttributeValue::Text(candidate.evidence.name().into());
    let evidence = [("tracer.link.evidence", evidence)];
    SpanLink {
        trace: candidate.trace,
        span: candidate.span,
        attributes: evidence
            .into_iter()
            .chain(confidence(candidate.confidence))
            .collect(),
    }
}

fn flags(linked: &Linked) -> u8 {
    let sampled = if linked.is_sampled { SAMPLED } else { 0 };
    let random = if linked.has_random_id { RANDOM } else { 0 };
    sampled | random
}

/// How likely a parent is the true one, in thousandths: more is not known.
fn confidence(confidence: Option<f64>) -> Option<(&'static str, AttributeValue)> {
    let rounded = (confidence? * 1e3).floor() / 1e3;
    Some(("tracer.link.confidence", AttributeValue::Double(rounded)))
}

/// A connection that did not come about has no request, so it is described by the general network attributes.
fn failed_connect(failure: &ConnectFailure) -> Description {
    let mut attributes = Attributes::default();
    if let Some((address, port)) = url::socket(failure.peer) {
        attributes.text("server.address", address.clone());
        attributes.some_number("server.port", Some(u64::from(port)));
        http::peer(&mut attributes, address, port);
    }
    let error = error_type::of(Side::Outbound, None, Some(Failure::Errno(failure.errno)));
    attributes.some_text("error.type", error);
    Description {
        name: "connect".into(),
        attributes,
        header_attributes: Vec::new(),
        is_error: true,
    }
}
