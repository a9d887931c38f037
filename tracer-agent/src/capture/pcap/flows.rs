//! The connections of a capture, as many as there is room for.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
};

use super::{
    flow::{Flow, Patience},
    segment::Segment,
    story::Teller,
};

/// Connections that are remembered at a time, closed ones among them.
const FLOWS_MAX: usize = 65_536;
/// What is kept of all connections together that came too early for its place.
const EARLY_BYTES_MAX: usize = 64 << 20;
/// How long a connection that ended is remembered, for what is captured late: as long as TCP itself waits on Linux.
const LINGER_NS: u64 = 60_000_000_000;
/// How often connections that wait for something are looked at.
const SWEEP_NS: u64 = 100_000_000;

/// Both addresses, the smaller one first.
type Key = (SocketAddr, SocketAddr);

/// The connections that are remembered. Peers choose addresses, so the hasher is a keyed one; nothing depends on its
/// order.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<Key, Flow>,
    /// In the order in which they were first seen, each with its number; may name some that are gone.
    by_age: VecDeque<(Key, u64)>,
    /// In the order in which they ended.
    closed: VecDeque<(u64, Key, u64)>,
    /// Those that wait for something.
    waiting: BTreeSet<Key>,
    /// What is kept of all of them.
    early_bytes: usize,
    swept: u64,
    count: u64,
}

impl Flows {
    /// Takes the next segment.
    pub fn push(&mut self, segment: &Segment<'_>, teller: &mut Teller) {
        let key = key(segment);
        let takes = self.flows.get_mut(&key).map(|flow| flow.takes(segment));
        if takes == Some(false) {
            self.end(key, segment.at, teller);
        }
        if takes != Some(true) {
            self.begin(key, segment, teller);
        }
        self.change(key, teller, |flow, teller| flow.push(segment, teller));
        if self.early_bytes > EARLY_BYTES_MAX {
            teller.counters.early_over_bound += 1;
            self.change(key, teller, |flow, teller| flow.give_up(Patience::None, teller));
        }
    }

    /// It is this late: what was waited for long enough is given up.
    pub fn tick(&mut self, now: u64, teller: &mut Teller) {
        if now.saturating_sub(self.swept) < SWEEP_NS {
            return;
        }
        self.swept = now;
        let waiting: Vec<_> = self.waiting.iter().copied().collect();
        for key in waiting {
            self.change(key, teller, |flow, teller| {
                flow.give_up(Patience::Until(now), teller)
            });
        }
        while let Some((at, key, number)) = self.closed.front().copied() {
            if now.saturating_sub(at) < LINGER_NS {
                break;
            }
            self.closed.pop_front();
            self.forget(key, number);
        }
    }

    /// No more segments will come.
    pub fn finish(&mut self, now: u64, teller: &mut Teller) {
        let mut open: Vec<_> = self.flows.iter().map(|(key, flow)| (flow.number, *key)).collect();
        open.sort_unstable();
        for (_, key) in open {
            self.end(key, now, teller);
        }
    }

    fn begin(&mut self, key: Key, segment: &Segment<'_>, teller: &mut Teller) {
        let says_something = segment.syn || !segment.payload.is_empty() || segment.cut > 0;
        if !says_something || (segment.rst && !segment.syn) {
            return;
        }
        if self.flows.len() >= FLOWS_MAX {
            self.evict(segment.at, teller);
        }
        let mut flow = Flow::new(self.count, segment);
        flow.takes(segment);
        self.by_age.push_back((key, self.count));
        self.count += 1;
        self.flows.insert(key, flow);
        // What is gone is dropped once it is the larger part.
        if self.by_age.len() > 2 * self.flows.len() + 64 {
            let flows = &self.flows;
            self.by_age
                .retain(|(key, number)| flows.get(key).is_some_and(|flow| flow.number == *number));
        }
    }

    /// Makes room: the one that ended first, else the one that is known longest.
    fn evict(&mut self, now: u64, teller: &mut Teller) {
        while let Some((_, key, number)) = self.closed.pop_front() {
            if self.forget(key, number) {
                return;
            }
        }
        while let Some((key, number)) = self.by_age.pop_front() {
            if self.flows.get(&key).is_some_and(|flow| flow.number == number) {
                teller.counters.evicted_connections += 1;
                self.end(key, now, teller);
                return;
            }
        }
    }

    /// Lets something happen to a connection.
    fn change(&mut self, key: Key, teller: &mut Teller, change: impl FnOnce(&mut Flow, &mut Teller)) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let (before, was_closed) = (flow.early_bytes(), flow.closed);
        change(flow, teller);
        self.early_bytes = self.early_bytes.saturating_sub(before) + flow.early_bytes();
        if flow.is_waiting() {
            self.waiting.insert(key);
        } else {
            self.waiting.remove(&key);
        }
        if let (None, Some(at)) = (was_closed, flow.closed) {
            self.closed.push_back((at, key, flow.number));
        }
    }

    /// Ends a connection and forgets it.
    fn end(&mut self, key: Key, now: u64, teller: &mut Teller) {
        self.change(key, teller, |flow, teller| flow.finish(now, teller));
        self.flows.remove(&key);
    }

    fn forget(&mut self, key: Key, number: u64) -> bool {
        let is_it = self.flows.get(&key).is_some_and(|flow| flow.number == number);
        if is_it {
            self.flows.remove(&key);
        }
        is_it
    }
}

fn key(segment: &Segment<'_>) -> Key {
    (segment.from.min(segment.to), segment.from.max(segment.to))
}
