//! What a thread had read last before it had another do something: the rung `turn`, from thread to thread.
//!
//! An asynchronous client has one thread that reads for all, and wakes another for what is to be done about it, which may wake a third; and a
//! server that answers so has one read a request, and whichever is free send its calls ([`Maker::Thread`]). So what is sent is sent for what was
//! read last by the thread at the head of such a row: a request, or the response to a call that was made for one. A response is written so too,
//! and it is known to which request:
//!
//! ```text
//!  request read ──▶ call 1      response to 1 read ──▶ call 2      response to 2 read ──▶ response
//!       ▲                              │   ▲                              │   ▲             │ what was read for its own request: both calls were
//!       └── made for what was read ────┘   └──────────────────────────────┘   └─────────────┘ made for it; for another's: one is wrong, none is told
//! ```
//!
//! Calls wait for that, or for the end of their wait if they are in no such row, as all but the last of those are that are made at once. A process is
//! believed once enough rows have led to their own requests where others were in flight.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use crate::{
    ids::{BootNanos, Maker, Pid, Task},
    protocols::{Exchange, ExchangeId},
};

use super::{Counters, Settings, lags::Made, table::Table, tally::Tally};

/// So many rows must have led to their own requests,
const PROOF: u32 = 32;
/// and so many more for each that led to another's: in Java up to 20 a thread may be woken by another than who has work for it. What stands
/// in a row is told by both its ends,
const FOR_REFUTED: u32 = 16;
/// and what does not by one.
const FOR_REFUTED_ALONE: u32 = 64;
/// Reads that are remembered of a thread: those between a wake-up and what the woken thread sends.
const MAX_READS: usize = 256;
/// Calls of a process that wait to be found in a row; past it the oldest is forgotten.
const MAX_CALLS: usize = 4096;
/// The same of those in rows, that wait for the process to be believed.
const MAX_UNPROVEN: usize = 4096;

/// Threads that have others act on what they read, and whether that is evidence.
#[derive(Debug)]
pub struct Relays {
    threads: Table<Task, VecDeque<(BootNanos, Option<Origin>)>>,
    /// Only those of which it is known who wakes whom.
    processes: Table<Pid, Process>,
}

/// What something was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The request that was read, or the call whose response was.
    pub read: ExchangeId,
    /// That request, or the one that the call was made for.
    pub request: ExchangeId,
}

#[derive(Debug, Default)]
struct Process {
    rows: Tally,
    /// What was read for what each of them was made.
    calls: BTreeMap<ExchangeId, ExchangeId>,
    /// What is known of calls, until the process is believed.
    unproven: Vec<Made>,
}

impl Process {
    const fn is_believed(&self) -> bool {
        self.rows.is_convincing_at(PROOF, FOR_REFUTED)
    }

    /// Takes the calls of the row that ends with this read, the last first.
    fn row(&mut self, mut read: ExchangeId) -> Vec<ExchangeId> {
        let mut row = Vec::new();
        while let Some(before) = self.calls.remove(&read) {
            row.push(mem::replace(&mut read, before));
        }
        row
    }
}

impl Relays {
    pub fn new(settings: &Settings) -> Self {
        Self {
            threads: Table::new(settings.max_loops),
            processes: Table::new(settings.max_processes),
        }
    }

    /// A thread read something of an exchange at this time, for this request if that is known.
    pub fn read(
        &mut self,
        (task, at): (Task, BootNanos),
        read: ExchangeId,
        request: Option<ExchangeId>,
        counters: &mut Counters,
    ) {
        if task.is_goroutine() || self.processes.get(task.pid).is_none() {
            return;
        }
        let origin = request.map(|request| Origin { read, request });
        let reads = self.threads.entry(task, &mut counters.evicted_loops);
        match reads.back_mut() {
            // One read may end one message and begin the next: then it is for neither.
            Some((last, known)) if *last == at => *known = known.filter(|known| Some(*known) == origin),
            _ => {
                if reads.len() >= MAX_READS {
                    reads.pop_front();
                }
                reads.push_back((at, origin));
            }
        }
    }

    /// A request came, whose reader may wake others.
    pub fn came(&mut self, request: &Exchange, counters: &mut Counters) {
        if matches!(request.maker, Some(Maker::Thread { .. })) {
            self.processes
                .entry(request.pid(), &mut counters.evicted_processes);
            let read = (request.task, request.head_end);
            self.read(read, request.id, Some(request.id), counters);
        }
    }

    /// What had been read last by the thread that had this sent.
    pub fn origin(&self, pid: Pid, maker: Option<Maker>) -> Option<Origin> {
        let Some(Maker::Thread { waker, at, .. }) = maker.filter(Maker::was_woken) else {
            return None;
        };
        let reads = self.threads.get(Task::thread(pid, waker))?;
        let last = reads.iter().rev().find(|(read, _)| *read <= at);
        last.and_then(|(_, origin)| *origin)
    }

    /// A call was made for what was read.
    pub fn called(&mut self, pid: Pid, call: ExchangeId, read: ExchangeId) {
        if let Some(process) = self.processes.get_mut(pid) {
            if process.calls.len() >= MAX_CALLS {
                process.calls.pop_first();
            }
            process.calls.insert(call, read);
        }
    }

    /// A response was written for what was read for its request; the calls that are known by that to be made for it, and for others.
    pub fn confirmed(&mut self, pid: Pid, origin: Origin, counters: &mut Counters) -> Vec<Made> {
        let Some(process) = self.processes.get_mut(pid) else {
            return Vec::new();
        };
        let was_believed = process.is_believed();
        process.rows.add(true);
        let row = process.row(origin.read);
        let made = row.into_iter().map(|call| (call, origin.request));
        if !process.is_believed() {
            let room = MAX_UNPROVEN.saturating_sub(process.unproven.len());
            process.unproven.extend(made.take(room));
            return Vec::new();
        }
        counters.relaying_processes += u64::from(!was_believed);
        mem::take(&mut process.unproven).into_iter().chain(made).collect()
    }

    /// A response was written for what was read for another request; the calls of which nothing is known by that.
    pub fn refuted(&mut self, pid: Pid, origin: Origin, counters: &mut Counters) -> Vec<ExchangeId> {
        counters.relays_refuted += 1;
        self.processes.get_mut(pid).map_or_else(Vec::new, |process| {
            process.rows.add(false);
            process.row(origin.read)
        })
    }

    /// Whether the threads of a process have others act at once on what they read, so that it tells also for what is in no row.
    pub fn believes(&self, pid: Pid) -> bool {
        let process = self.processes.get(pid);
        process.is_some_and(|process| process.rows.is_convincing_at(PROOF, FOR_REFUTED_ALONE))
    }

    /// The program of this process ended: its threads are gone.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(pid);
        self.threads.remove_range(Task::all_of(pid));
    }
}
