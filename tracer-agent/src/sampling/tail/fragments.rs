//! The traces that are held, each with what of it has come: its spans, and the parents that they name and that have not come.

use std::collections::{BTreeSet, HashMap};

use crate::{
    ids::{BootNanos, SpanId, TraceId},
    spans::Span,
};

use super::Settings;

/// What of a trace has come.
#[derive(Debug)]
pub struct Fragment {
    /// In the order in which they came.
    pub spans: Vec<Span>,
    /// When what is missing had begun at the latest: it is in flight since.
    pub in_flight_since: Option<BootNanos>,
    /// The number of each span whose parent is of another host, or none.
    entries: Vec<usize>,
    missing: Vec<SpanId>,
    /// Places it in the order in which traces began to be held.
    number: u64,
    first: BootNanos,
    last: BootNanos,
    /// The earliest of its spans began then, on the clock of the records.
    earliest: BootNanos,
    /// Under which it stands among the deadlines.
    deadline: BootNanos,
}

/// The traces that are held, at most so many, with so many spans.
#[derive(Debug)]
pub struct Fragments {
    quiet_ns: u64,
    longest_ns: u64,
    slow_ns: Option<u64>,
    max_traces: usize,
    max_spans: usize,
    max_spans_of_trace: usize,
    /// Of both bounds this part counts.
    one_in: usize,
    // Never iterated.
    traces: HashMap<TraceId, Fragment, foldhash::fast::RandomState>,
    deadlines: BTreeSet<(BootNanos, TraceId)>,
    order: BTreeSet<(u64, TraceId)>,
    spans: usize,
    next: u64,
}

impl Fragments {
    pub fn new(settings: &Settings) -> Self {
        Self {
            quiet_ns: settings.quiet_ns,
            longest_ns: settings.longest_ns,
            slow_ns: settings.slow.over_ns,
            max_traces: settings.max_traces.max(1),
            max_spans: settings.max_spans.max(1),
            max_spans_of_trace: settings.max_spans_of_trace.max(1),
            one_in: 1,
            traces: HashMap::default(),
            deadlines: BTreeSet::new(),
            order: BTreeSet::new(),
            spans: 0,
            next: 0,
        }
    }

    /// Times are others from now on.
    pub fn configure(&mut self, settings: &Settings) {
        self.quiet_ns = settings.quiet_ns;
        self.longest_ns = settings.longest_ns;
        self.slow_ns = settings.slow.over_ns;
    }

    /// Something of this trace is held.
    pub fn holds(&self, trace: TraceId) -> bool {
        self.traces.contains_key(&trace)
    }

    pub fn push(&mut self, span: Span, has_local_parent: bool, now: BootNanos) {
        let trace = span.trace;
        // It has ended by now.
        let began = BootNanos(now.0.saturating_sub(super::duration(&span)));
        let fragment = self.traces.entry(trace).or_insert_with(|| {
            let deadline = now.plus(self.quiet_ns);
            self.deadlines.insert((deadline, trace));
            self.order.insert((self.next, trace));
            self.next += 1;
            Fragment {
                spans: Vec::new(),
                in_flight_since: None,
                entries: Vec::new(),
                missing: Vec::new(),
                number: self.next - 1,
                first: now,
                last: now,
                earliest: began,
                deadline,
            }
        });
        self.spans += 1;
        fragment.push(span, has_local_parent, began, now);
        // A deadline that is put off is looked at when it comes: most traces would move theirs with every span.
        let due = fragment.due(self.quiet_ns, self.longest_ns, self.slow_ns);
        if due < fragment.deadline {
            self.deadlines.remove(&(fragment.deadline, trace));
            self.deadlines.insert((due, trace));
            fragment.deadline = due;
        }
    }

    /// A trace that is to be decided by now.
    pub fn due(&mut self, now: BootNanos) -> Option<TraceId> {
        while let Some((deadline, trace)) = self.deadlines.first().copied() {
            if deadline > now {
                return None;
            }
            let Some(fragment) = self.traces.get_mut(&trace) else {
                self.deadlines.pop_first();
                continue;
            };
            let due = fragment.due(self.quiet_ns, self.longest_ns, self.slow_ns);
            if due <= now {
                return Some(trace);
            }
            fragment.deadline = due;
            self.deadlines.pop_first();
            self.deadlines.insert((due, trace));
        }
        None
    }

    /// A trace that must be decided for there to be room, after a span was added to `newest`.
    pub fn over_bound(&self, newest: TraceId) -> Option<TraceId> {
        let of_newest = self
            .traces
            .get(&newest)
            .map_or(0, |fragment| fragment.spans.len());
        if of_newest > self.max_spans_of_trace {
            return Some(newest);
        }
        self.is_over().then(|| self.oldest()).flatten()
    }

    /// There is more than there is room for.
    pub fn is_over(&self) -> bool {
        self.traces.len() > (self.max_traces / self.one_in).max(1)
            || self.spans > (self.max_spans / self.one_in).max(1)
    }

    /// There is room for one in so many, from now on.
    pub fn hold_one_in(&mut self, one_in: usize) {
        self.one_in = one_in.max(1);
    }

    pub fn oldest(&self) -> Option<TraceId> {
        self.order.first().map(|(_, trace)| *trace)
    }

    pub fn take(&mut self, trace: TraceId) -> Option<Fragment> {
        let fragment = self.traces.remove(&trace)?;
        self.deadlines.remove(&(fragment.deadline, trace));
        self.order.remove(&(fragment.number, trace));
        self.spans -= fragment.spans.len();
        Some(fragment)
    }

    pub const fn spans(&self) -> usize {
        self.spans
    }

    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

impl Fragment {
    /// The spans whose parent is of another host, or none: what this host was asked for.
    pub fn entries(&self) -> impl Iterator<Item = &Span> {
        self.entries.iter().filter_map(|entry| self.spans.get(*entry))
    }

    /// The one that began first; where none has come, any that did.
    pub fn entry(&self) -> Option<&Span> {
        let began_first = |span: &&Span| (span.start_unix_ns, span.id);
        let entry = self.entries().min_by_key(began_first);
        entry.or_else(|| self.spans.iter().min_by_key(began_first))
    }

    fn push(&mut self, span: Span, has_local_parent: bool, began: BootNanos, now: BootNanos) {
        self.last = now;
        self.earliest = self.earliest.min(began);
        self.missing.retain(|missing| *missing != span.id);
        match span.parent.filter(|_| has_local_parent) {
            Some(parent) => {
                let is_known =
                    self.missing.contains(&parent) || self.spans.iter().any(|span| span.id == parent);
                if !is_known {
                    self.missing.push(parent);
                }
            }
            None => self.entries.push(self.spans.len()),
        }
        self.spans.push(span);
        // What is missing began before what it has caused.
        self.in_flight_since = (!self.missing.is_empty()).then_some(self.earliest);
    }

    fn due(&self, quiet_ns: u64, longest_ns: u64, slow_ns: Option<u64>) -> BootNanos {
        let at_last = self.first.plus(longest_ns);
        let Some(since) = self.in_flight_since else {
            return at_last.min(self.last.plus(quiet_ns));
        };
        // Once it is slow nothing that comes can change that.
        slow_ns.map_or(at_last, |slow_ns| at_last.min(since.plus(slow_ns)))
    }
}
