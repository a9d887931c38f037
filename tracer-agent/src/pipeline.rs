//! The whole way, from one input to finished spans: the only file that knows every stage.
//!
//! ```text
//! Input ─ Record ─▶ connections ─▶ protocols ─▶ correlate ─▶ spans ─▶ out
//!       ─ Process ─────────────────────────────▶ correlate, ▶ spans
//!       ─ Tick, End ─────────────▶ protocols ─▶ correlate ─▶
//! ```
//!
//! Synchronous, single-threaded, without a clock or randomness of its own: the same inputs give the same spans,
//! live, from a recording, in a test and in a fuzzer.

use std::sync::Arc;

use tracer_common::Loss;

use crate::{
    capture::{HostInfo, Input, Record},
    connections::{Connections, Limits},
    correlate::{self, Correlator, Linked},
    ids::BootNanos,
    live,
    protocols::{self, ExchangeEvent, Protocols},
    spans::{self, Span},
};

/// How each stage is to work.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Bounds of the connection table.
    pub connections: Limits,
    /// Timeouts and bounds of exchanges, headers that are kept.
    pub protocols: protocols::Settings,
    /// Sampling, instrumented processes, waits.
    pub correlate: correlate::Settings,
    /// Redaction, routes, conventions.
    pub spans: spans::Settings,
}

/// Every stage, in a row.
#[derive(Debug)]
pub struct Pipeline {
    settings: Settings,
    connections: Connections,
    protocols: Protocols,
    correlator: Correlator,
    builder: spans::Builder,
    events: Vec<ExchangeEvent>,
    linked: Vec<Linked>,
    malformed_records: u64,
    lost: Vec<(Loss, u64)>,
}

impl Pipeline {
    /// A pipeline that waits for its first input, which tells the host.
    pub fn new(settings: Settings) -> Self {
        let host = HostInfo::default();
        Self {
            connections: Connections::new(settings.connections),
            protocols: Protocols::new(settings.protocols.clone()),
            correlator: Correlator::new(settings.correlate.clone(), host.id_seed),
            builder: spans::Builder::new(&host, settings.spans.clone()),
            settings,
            events: Vec::new(),
            linked: Vec::new(),
            malformed_records: 0,
            lost: Vec::new(),
        }
    }

    /// Takes one input; finished spans are added to `out`.
    pub fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        match input {
            Input::Host(host) => {
                self.correlator = Correlator::new(self.settings.correlate.clone(), host.id_seed);
                self.builder = spans::Builder::new(host, self.settings.spans.clone());
            }
            Input::Record(bytes) => match Record::decode(bytes) {
                Ok(record) => self.record(&record),
                Err(_) => self.malformed_records += 1,
            },
            Input::Process(info) => {
                self.correlator.on_process_info(info);
                self.builder.on_process_info(Arc::new((**info).clone()));
            }
            Input::Lost { cause, count } => self.lost(*cause, *count),
            Input::Tick(now) => {
                self.protocols.tick(*now, &mut self.events);
                self.link();
                self.correlator.tick(*now, &mut self.linked);
            }
            Input::End(now) => {
                self.protocols.finish(*now, &mut self.events);
                self.link();
                self.correlator.finish(*now, &mut self.linked);
            }
        }
        let builder = &mut self.builder;
        out.extend(self.linked.drain(..).map(|linked| builder.build(linked)));
    }

    /// When the time must be told, even if nothing happens.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        [self.protocols.next_deadline(), self.correlator.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Every counter of every stage, as `(stage, what, how many)`, in a fixed order; the zeroes too.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = vec![("capture", "malformed_records", self.malformed_records)];
        all.extend(Loss::ALL.iter().map(|cause| {
            let count = self
                .lost
                .iter()
                .find(|(known, _)| known == cause)
                .map_or(0, |(_, count)| *count);
            ("kernel", cause.name(), count)
        }));
        let of = |stage, counters: &mut dyn Iterator<Item = (&'static str, u64)>| {
            counters
                .map(|(what, count)| (stage, what, count))
                .collect::<Vec<_>>()
        };
        all.extend(of("connections", &mut self.connections.counters().by_cause()));
        all.extend(of("protocols", &mut self.protocols.counters().by_cause()));
        all.extend(of("correlate", &mut self.correlator.counters().named()));
        all.push(("spans", "evicted_processes", self.builder.evicted_processes()));
        all.extend(of("spans", &mut self.builder.routes().by_cause()));
        all
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Process(event) = record {
            self.correlator.on_process(event, &mut self.linked);
            self.builder.on_process(event);
        }
        self.protocols
            .push(self.connections.apply(record), &mut self.events);
        self.link();
    }

    fn link(&mut self) {
        for event in self.events.drain(..) {
            self.correlator.on_event(event, &mut self.linked);
        }
    }

    fn lost(&mut self, cause: u32, count: u64) {
        // A recording of a newer version may name a cause that this one does not know.
        let Some(cause) = Loss::ALL.iter().copied().find(|known| *known as u32 == cause) else {
            return;
        };
        match self.lost.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.lost.push((cause, count)),
        }
    }
}

impl live::Core for Pipeline {
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        self.push(input, out);
    }

    fn next_deadline(&self) -> Option<BootNanos> {
        self.next_deadline()
    }
}
