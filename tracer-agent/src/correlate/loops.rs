//! Whether event loops of one process keep what they have read to themselves. A process with one loop has no choice. With several, as in Netty, a
//! call may be sent by another loop than the one that has read its request, where connections are shared: then what a loop has read last says
//! nothing, though each answers what it reads. That shows in how it comes to answer:
//!
//! ```text
//! a response is written, others are in flight; what its loop sent after it had read the request is taken to be for that
//!   it sent something, all of it is answered, and the last read was for this request ──► confirmed ──► often enough ──► loops are trusted
//!   not all is answered, or it has read last for another, or what another loop has told it ──► refuted: many more must be confirmed now
//! ```

use std::collections::BTreeMap;

use crate::{
    ids::Pid,
    protocols::{Exchange, ExchangeId},
};

use super::{Counters, Settings, table::Table, tally::Tally};

/// So many requests must be answered after their calls.
const PROOF: u32 = 32;
/// Requests, and calls, of a process that are kept in mind; past it the oldest is forgotten.
const MAX_KNOWN: usize = 4096;

/// The processes whose requests are read by event loops.
#[derive(Debug)]
pub struct Loops {
    processes: Table<Pid, Process>,
}

#[derive(Debug, Default)]
struct Process {
    /// The loop that was seen first.
    first: Option<u32>,
    /// There are others.
    has_several: bool,
    /// The requests that calls in flight are taken to be made for.
    calls: BTreeMap<ExchangeId, ExchangeId>,
    /// How many calls of each request are in flight; it is there if there were any.
    requests: BTreeMap<ExchangeId, u32>,
    kept: Tally,
}

impl Process {
    const fn is_trusted(&self) -> bool {
        !self.has_several || self.kept.is_convincing(PROOF)
    }
}

impl Loops {
    pub fn new(settings: &Settings) -> Self {
        Self {
            processes: Table::new(settings.max_processes),
        }
    }

    /// A request was read, by an event loop or not.
    pub fn came(&mut self, request: &Exchange, counters: &mut Counters) {
        if request.moment.is_none() || request.task.is_goroutine() {
            return;
        }
        let tid = request.task.tid;
        let process = self
            .processes
            .entry(request.pid(), &mut counters.evicted_processes);
        process.has_several |= *process.first.get_or_insert(tid) != tid;
    }

    /// A loop that has read last for this request sent a call.
    pub fn called(&mut self, pid: Pid, call: ExchangeId, request: ExchangeId) {
        let Some(process) = self.processes.get_mut(pid).filter(|process| process.has_several) else {
            return;
        };
        if process.calls.len() >= MAX_KNOWN {
            process.calls.pop_first();
        }
        if process.requests.len() >= MAX_KNOWN {
            process.requests.pop_first();
        }
        process.calls.insert(call, request);
        *process.requests.entry(request).or_default() += 1;
    }

    /// A call is answered, or will not be.
    pub fn ended(&mut self, pid: Pid, call: ExchangeId) {
        if let Some(process) = self.processes.get_mut(pid)
            && let Some(request) = process.calls.remove(&call)
            && let Some(calls) = process.requests.get_mut(&request)
        {
            *calls = calls.saturating_sub(1);
        }
    }

    /// A request is answered, while others are in flight or not, after a read that was for it or not; whether loops are trusted since.
    #[must_use]
    pub fn answered(&mut self, pid: Pid, request: ExchangeId, has_others: bool, is_own: bool) -> bool {
        let Some(process) = self.processes.get_mut(pid) else {
            return false;
        };
        let was_trusted = process.is_trusted();
        let calls = process.requests.remove(&request);
        if has_others && (calls.is_some() || !is_own) {
            process.kept.add(is_own && calls == Some(0));
        }
        !was_trusted && process.is_trusted()
    }

    /// Whether what a loop of this process sends is for what it has read itself.
    pub fn trusts(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_none_or(Process::is_trusted)
    }

    /// The program of this process ended.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(pid);
    }
}
