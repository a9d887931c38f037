//! Tail sampling: which traces are kept, decided on what of them was seen on this host. In: finished spans. Out: those that are
//! kept, and when time must be told. Kept true: the spans of a trace are all kept or all left out, also those that come late, as
//! long as the decision is remembered; every trace that is held is decided, whatever the bounds; what was left out is counted.
//!
//! ```text
//! span ──► its trace was decided ──► as decided
//!     └──► held ──► nothing is missing, and it was quiet for a while ──► decided
//!                   └─ or too long, or too many ─┘
//! ```
//!
//! A span that ends before its parent names one that has not come yet, so a trace is not decided while a request is in flight.
//! A decision is by rule (an error, a slow request) or by share; a share is decided by the trace id, so agents on different hosts
//! decide alike. A limit makes the share smaller, and so leaves out the same traces everywhere, first those that a smaller share leaves out.

mod counters;
mod fragments;
mod limits;
mod recent;
mod routes;
mod settings;
#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use settings::{Settings, SettingsError, Slow};

use crate::{
    ids::{BootNanos, TraceId},
    spans::{Span, span::SpanStatus},
};

use super::{Randomness, Threshold, tracestate};
use fragments::{Fragment, Fragments};
use limits::Limits;
use recent::Recent;
use routes::Routes;

/// Decides which traces are kept.
#[derive(Debug)]
pub struct Tail {
    settings: Settings,
    held: Fragments,
    decided: Recent<TraceId, Decision>,
    routes: Routes,
    limits: Limits,
    counters: Counters,
    now: BootNanos,
    /// Traces that begin from now on are all kept.
    is_ending: bool,
}

/// What was decided of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Left out.
    Dropped,
    /// Kept for what it is: how many others it stands for is not known.
    ByRule,
    /// Kept by its id, with the threshold that was applied.
    ByShare(Threshold),
}

impl Tail {
    /// A stage that holds nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            held: Fragments::new(&settings),
            decided: Recent::new(settings.max_decisions),
            routes: Routes::new(settings.max_routes),
            limits: Limits::new(settings.max_services),
            counters: Counters::default(),
            now: BootNanos::default(),
            is_ending: false,
            settings,
        }
    }

    /// Decides by other rules from now on, also what is held. By none: what is held is decided by the rules there were, and what
    /// begins is kept. What was decided stays so, and bounds stay as they are.
    pub fn configure(&mut self, settings: Option<Settings>) {
        self.is_ending = settings.is_none();
        if let Some(settings) = settings {
            self.held.configure(&settings);
            self.settings = settings;
        }
    }

    /// Takes a span that was finished by now; `has_local_parent`: its parent is a span of this agent, which has come or will. What is
    /// kept is added to `out`.
    pub fn push(&mut self, span: Span, has_local_parent: bool, now: BootNanos, out: &mut Vec<Span>) {
        self.tick(now, out);
        if let Some(decision) = self.decided.get(&span.trace).copied() {
            self.counters.late_spans += 1;
            self.give(span, decision, out);
            return;
        }
        let trace = span.trace;
        if self.is_ending && !self.held.holds(trace) {
            out.push(span);
            return;
        }
        let has_error = self.settings.errors && span.status == SpanStatus::Error;
        self.held.push(span, has_local_parent, self.now);
        // Nothing that comes can change this.
        if has_error && self.settings.limit.is_none() {
            self.decide(trace, out);
        }
        while let Some(oldest) = self.held.over_bound(trace) {
            self.counters.decided_early += 1;
            self.decide(oldest, out);
        }
    }

    /// Holds at most this part of what it may otherwise, from now on: what is too much is decided at once.
    pub fn shed(&mut self, one_in: usize, out: &mut Vec<Span>) {
        self.held.hold_one_in(one_in);
        while let Some(oldest) = self.held.oldest().filter(|_| self.held.is_over()) {
            self.counters.decided_early += 1;
            self.decide(oldest, out);
        }
    }

    /// Spans that are held.
    pub const fn held(&self) -> usize {
        self.held.spans()
    }

    /// Takes note of the time: what is due is decided.
    pub fn tick(&mut self, now: BootNanos, out: &mut Vec<Span>) {
        self.now = self.now.max(now);
        while let Some(trace) = self.held.due(self.now) {
            self.decide(trace, out);
        }
    }

    /// Decides everything: nothing more will come.
    pub fn finish(&mut self, now: BootNanos, out: &mut Vec<Span>) {
        self.now = self.now.max(now);
        while let Some(oldest) = self.held.oldest() {
            self.decide(oldest, out);
        }
    }

    /// When [`Self::tick`] may have something to decide, if no span comes.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.held.next_deadline()
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn decide(&mut self, trace: TraceId, out: &mut Vec<Span>) {
        let Some(fragment) = self.held.take(trace) else {
            return;
        };
        let decision = self.decision(trace, &fragment);
        match decision {
            Decision::Dropped => self.counters.dropped_traces += 1,
            Decision::ByRule => self.counters.kept_by_rule += 1,
            Decision::ByShare(_) => self.counters.kept_by_share += 1,
        }
        self.decided
            .insert(trace, decision, &mut self.counters.evicted_decisions);
        for span in fragment.spans {
            self.give(span, decision, out);
        }
    }

    fn decision(&mut self, trace: TraceId, fragment: &Fragment) -> Decision {
        let is_slow = self.is_slow(fragment);
        let is_error = || fragment.spans.iter().any(|span| span.status == SpanStatus::Error);
        let randomness = fragment
            .spans
            .iter()
            .find_map(|span| tracestate::randomness(&span.tracestate))
            .unwrap_or_else(|| Randomness::of(trace));
        let by_rule = is_slow || (self.settings.errors && is_error());
        let share = if by_rule {
            Some(Threshold::NONE)
        } else {
            self.settings.share.filter(|share| share.keeps(randomness))
        };
        let Some(share) = share else {
            return Decision::Dropped;
        };
        let limited = match self.settings.limit {
            Some(limit) => {
                let service = fragment.entry().map_or("", |entry| &entry.process.service_name);
                let evicted = &mut self.counters.evicted_services;
                let offered = self.limits.offered(service, self.now, evicted);
                share.keeping_part(limit.into(), offered)
            }
            None => Some(share),
        };
        match limited.filter(|limited| limited.keeps(randomness)) {
            None => {
                self.counters.over_limit += 1;
                Decision::Dropped
            }
            Some(_) if by_rule => Decision::ByRule,
            Some(threshold) => Decision::ByShare(threshold),
        }
    }

    /// Whether anything in it took too long, or takes it already.
    fn is_slow(&mut self, fragment: &Fragment) -> bool {
        let slow = self.settings.slow;
        let is_slower = |slow_ns: u64| {
            let in_flight = fragment.in_flight_since.map(|since| self.now.since(since));
            let durations = fragment.spans.iter().map(duration);
            durations.chain(in_flight).any(|duration| duration >= slow_ns)
        };
        let is_slow = slow.over_ns.is_some_and(is_slower);
        let mut is_unusual = false;
        if slow.unusual {
            // All are asked, since all are to be learned.
            for entry in fragment.entries() {
                let evicted = &mut self.counters.evicted_routes;
                is_unusual |= self.routes.is_unusual(entry, duration(entry), evicted);
            }
        }
        is_slow || is_unusual
    }

    fn give(&mut self, mut span: Span, decision: Decision, out: &mut Vec<Span>) {
        match decision {
            Decision::Dropped => {
                self.counters.dropped_spans += 1;
                return;
            }
            Decision::ByRule if tracestate::has_threshold(&span.tracestate) => {
                span.tracestate = tracestate::with_threshold(&span.tracestate, None);
            }
            Decision::ByRule => {}
            Decision::ByShare(threshold) => {
                let before = tracestate::threshold(&span.tracestate).unwrap_or(Threshold::NONE);
                let applied = Some(threshold.max(before));
                span.tracestate = tracestate::with_threshold(&span.tracestate, applied);
            }
        }
        let links = span.links.len();
        // What is still held may be kept.
        let decided = &self.decided;
        span.links
            .retain(|link| decided.peek(&link.trace) != Some(&Decision::Dropped));
        self.counters.dropped_links += (links - span.links.len()) as u64;
        out.push(span);
    }
}

fn duration(span: &Span) -> u64 {
    span.end_unix_ns.saturating_sub(span.start_unix_ns)
}
