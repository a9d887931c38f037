//! The whole way, from one input to finished spans: the only file that knows every stage.
//!
//! ```text
//! Input ─ Record ─▶ connections ─▶ protocols ─▶ rules ─▶ correlate ─▶ spans ─▶ tail ─▶ out
//!       ─ Process ───────────────────────────────────────▶ correlate, ▶ spans
//!       ─ Shed ──────────────────▶ those of them that can do less
//!       ─ Tick, End ─────────────▶ protocols ─▶ rules ─▶ correlate ─▶ spans ─▶ tail ─▶
//! ```
//! Between `spans` and out everything is counted ([`metrics`]), if that is wanted; then what is not sampled goes no further.
//!
//! Synchronous, single-threaded, without a clock or randomness of its own: the same inputs give the same spans,
//! live, from a recording, in a test and in a fuzzer.

use std::{cell::OnceCell, sync::Arc};

use tracer_common::Loss;

use crate::{
    capture::{HostInfo, Input, Record, input::Shed},
    connections::{Connections, Limits},
    correlate::{self, Correlator, Linked},
    guard::steps::Effects,
    ids::BootNanos,
    live,
    metrics::{self, Family, Measures},
    protocols::{self, ExchangeEvent, Protocols},
    sampling::{
        Rule, Tail,
        rules::{self, Subject},
        tail,
    },
    spans::{self, Span},
};

/// How each stage is to work.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Bounds of the connection table.
    pub connections: Limits,
    /// Timeouts and bounds of exchanges, headers that are kept.
    pub protocols: protocols::Settings,
    /// What is dropped and kept of requests; the first rule that fits decides.
    pub rules: Vec<Rule>,
    /// Sampling, instrumented processes, waits.
    pub correlate: correlate::Settings,
    /// Redaction, routes, conventions.
    pub spans: spans::Settings,
    /// Which traces are kept, where that is decided once their spans are finished.
    pub tail: Option<tail::Settings>,
    /// How spans are counted; `None` for not at all, which spares those that are not sampled.
    pub metrics: Option<metrics::Settings>,
}

/// Every stage, in a row.
#[derive(Debug)]
pub struct Pipeline {
    settings: Settings,
    connections: Connections,
    protocols: Protocols,
    correlator: Correlator,
    builder: spans::Builder,
    tail: Option<Tail>,
    measures: Option<Measures>,
    unix_minus_boot_ns: i64,
    events: Vec<ExchangeEvent>,
    linked: Vec<Linked>,
    /// The latest time that was told.
    latest: BootNanos,
    malformed_records: u64,
    lost: Vec<(Loss, u64)>,
    /// Exchanges that were given out and are not spans yet.
    unbuilt: usize,
    effects: Effects,
    /// What was counted before it began anew, in the order of [`Self::counters`].
    counted: Vec<u64>,
    lost_exchanges: u64,
    lost_spans: u64,
}

impl Pipeline {
    /// A pipeline that waits for its first input, which tells the host.
    pub fn new(mut settings: Settings) -> Self {
        settings.correlate.gives_unsampled = settings.metrics.is_some();
        let host = HostInfo::default();
        Self {
            connections: Connections::new(settings.connections),
            protocols: Protocols::new(settings.protocols.clone()),
            correlator: Correlator::new(settings.correlate.clone(), host.id_seed),
            builder: spans::Builder::new(&host, settings.spans.clone()),
            tail: settings.tail.clone().map(Tail::new),
            measures: settings.metrics.map(Measures::new),
            unix_minus_boot_ns: host.unix_minus_boot_ns,
            settings,
            events: Vec::new(),
            linked: Vec::new(),
            latest: BootNanos::default(),
            malformed_records: 0,
            lost: Vec::new(),
            unbuilt: 0,
            effects: Effects::of(Shed::default()),
            counted: Vec::new(),
            lost_exchanges: 0,
            lost_spans: 0,
        }
    }

    /// Works otherwise from the next input on. Bounds of tables stay as they are, and so does whether spans are counted: what is
    /// not sampled is left out before it could be, where it is not.
    pub fn configure(&mut self, mut settings: Settings) {
        settings.metrics = self.settings.metrics;
        settings.correlate.gives_unsampled = self.settings.correlate.gives_unsampled;
        match &mut self.tail {
            Some(tail) => tail.configure(settings.tail.clone()),
            None => {
                self.tail = settings.tail.clone().map(Tail::new);
                if let Some(tail) = &mut self.tail {
                    // It holds nothing yet that this could give out.
                    tail.shed(self.effects.held_one_in, &mut Vec::new());
                }
            }
        }
        self.protocols.configure(settings.protocols.clone());
        self.correlator.configure(settings.correlate.clone());
        self.builder.configure(settings.spans.clone());
        self.settings = settings;
    }

    /// Takes one input; finished spans are added to `out`.
    pub fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        match input {
            Input::Host(host) => {
                self.begin(host);
                self.do_less(out);
            }
            Input::Shed(shed) => {
                self.effects = Effects::of(*shed);
                self.do_less(out);
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
                self.latest = self.latest.max(*now);
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
        self.build(out);
        match (&mut self.tail, input) {
            (Some(tail), Input::Tick(now)) => tail.tick(*now, out),
            (Some(tail), Input::End(now)) => tail.finish(*now, out),
            _ => {}
        }
    }

    /// Everything that was counted up to this time: the spans, if that is wanted, and what the stages have counted.
    pub fn families(&mut self, now: BootNanos) -> Vec<Family> {
        let mut families = Vec::new();
        if let Some(measures) = &mut self.measures {
            measures.tick(now.0.saturating_add_signed(self.unix_minus_boot_ns));
            families = measures.families();
        }
        families.extend(metrics::own::of_stages(&self.counters()));
        families
    }

    /// The latest time that was told: when a recording that is cut off ended.
    pub const fn latest(&self) -> BootNanos {
        self.latest
    }

    /// When the time must be told, even if nothing happens.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        let tail = self.tail.as_ref().and_then(Tail::next_deadline);
        let before = [self.protocols.next_deadline(), self.correlator.next_deadline()];
        before.into_iter().chain([tail]).flatten().min()
    }

    /// Every counter of every stage, as `(stage, what, how many)`, in a fixed order; the zeroes too.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = self.of_stages();
        for ((.., count), before) in all.iter_mut().zip(&self.counted) {
            *count = count.saturating_add(*before);
        }
        all.push(("pipeline", "lost_exchanges", self.lost_exchanges));
        all.push(("pipeline", "lost_spans", self.lost_spans));
        all
    }

    /// Begins, or begins anew: the stages know nothing any more, but which connections there are.
    fn begin(&mut self, host: &HostInfo) {
        let dropped = self.correlator.in_flight() + std::mem::take(&mut self.unbuilt);
        self.lost_exchanges += dropped as u64;
        self.lost_spans += self.tail.as_ref().map_or(0, Tail::held) as u64;
        let counters = self.counters();
        let of_stages = counters.len().saturating_sub(2);
        self.counted = counters
            .iter()
            .take(of_stages)
            .map(|(.., count)| *count)
            .collect();
        (self.malformed_records, self.lost) = (0, Vec::new());
        let connections = Connections::new(self.settings.connections);
        self.connections = std::mem::replace(&mut self.connections, connections).rejoined();
        self.protocols = Protocols::new(self.settings.protocols.clone());
        self.correlator = Correlator::new(self.settings.correlate.clone(), host.id_seed);
        self.builder = spans::Builder::new(host, self.settings.spans.clone());
        self.tail = self.settings.tail.clone().map(Tail::new);
        self.unix_minus_boot_ns = host.unix_minus_boot_ns;
        self.events.clear();
        self.linked.clear();
    }

    /// Has the stages leave out what they are to.
    fn do_less(&mut self, out: &mut Vec<Span>) {
        let effects = self.effects;
        self.correlator.shed(effects.is_without_timing, effects.one_in);
        if let Some(tail) = &mut self.tail {
            tail.shed(effects.held_one_in, out);
        }
        if effects.drops_idle {
            for id in self.protocols.drop_idle() {
                self.connections.rejoin(id);
            }
        }
    }

    fn of_stages(&self) -> Vec<(&'static str, &'static str, u64)> {
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
        let tail = self.tail.as_ref().map(|tail| *tail.counters());
        all.extend(of("tail", &mut tail.unwrap_or_default().named()));
        all.extend(of("spans", &mut self.builder.routes().by_cause()));
        all
    }

    fn record(&mut self, record: &Record<'_>) {
        self.latest = self.latest.max(record.at());
        if let Record::Process(event) = record {
            self.correlator.on_process(event, &mut self.linked);
            self.builder.on_process(event);
        }
        self.protocols
            .push(self.connections.apply(record), &mut self.events);
        self.link();
    }

    fn link(&mut self) {
        for mut event in self.events.drain(..) {
            if !self.settings.rules.is_empty() {
                ask(&self.settings.rules, &self.builder, &mut event);
            }
            self.correlator.on_event(event, &mut self.linked);
        }
    }

    fn build(&mut self, out: &mut Vec<Span>) {
        self.unbuilt = self.linked.len();
        for linked in self.linked.drain(..) {
            self.unbuilt -= 1;
            let end = linked.observed.end();
            let has_local_parent = linked.parent.is_some_and(|parent| parent.is_local);
            let span = self.builder.build(linked);
            if let Some(measures) = &mut self.measures {
                measures.observe(&span);
            }
            if !span.is_sampled() {
                continue;
            }
            match &mut self.tail {
                Some(tail) => tail.push(span, has_local_parent, end, out),
                None => out.push(span),
            }
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

/// Has the rules say what they say of an exchange that begins.
fn ask(rules: &[Rule], builder: &spans::Builder, event: &mut ExchangeEvent) {
    let process = OnceCell::new();
    let said = |subject, pid, start| {
        let process = || process.get_or_init(|| builder.process(pid, start));
        rules::first(rules, subject, || &process().service_name)
    };
    match event {
        ExchangeEvent::Begun(exchange) => {
            exchange.rule = said(Subject::Request(exchange), exchange.pid(), exchange.start);
        }
        ExchangeEvent::ConnectFailed(failure) => {
            failure.rule = said(Subject::Connect(failure), failure.task.pid, failure.start);
        }
        ExchangeEvent::Read(..)
        | ExchangeEvent::Taken(..)
        | ExchangeEvent::Calls(_)
        | ExchangeEvent::Made(_)
        | ExchangeEvent::Ended(..) => {}
    }
}

impl live::Core for Pipeline {
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        self.push(input, out);
    }

    fn next_deadline(&self) -> Option<BootNanos> {
        self.next_deadline()
    }

    fn families(&mut self, now: BootNanos) -> Vec<Family> {
        self.families(now)
    }
}

#[cfg(test)]
mod tests;
