//! Who answers what others have read: the rung `task` where one thread reads requests and gives each to a thread of a pool, as puma's reactor and
//! servers with threads for input and output do. A thread of such a pool works on a request from when it takes it to when it has answered it, so
//! what it has sent since it answered last, and since the request came, was sent for that:
//!
//! ```text
//!  reader:  request 1 ── request 2
//!  worker:      └────────── call ──── call ──── response 1: both calls are made for request 1
//!                                                  └── call ──── response 2: that one for request 2
//! ```
//!
//! It is known when the response is written; calls wait for that. A process is believed once its threads have read the answers to their calls
//! themselves: who leaves that to others goes on to other work meanwhile. It is not where a thread has been seen to call after its answer.

use std::{collections::BTreeMap, mem};

use crate::{
    ids::{BootNanos, Pid, Task},
    protocols::{Exchange, ExchangeId, exchange::Ending},
};

use super::{Counters, Settings, lags::Made, table::Table, tally::Tally};

/// So many calls must be answered to the threads that made them.
const PROOF: u32 = 16;
/// Threads of a process that are kept in mind, and calls of each; past it all are forgotten.
const MAX_THREADS: usize = 4096;
const MAX_CALLS: usize = 64;
/// Calls that wait for their process to be believed.
const MAX_UNPROVEN: usize = 4096;

/// The processes whose threads answer what others have read.
#[derive(Debug)]
pub struct Workers {
    processes: Table<Pid, Process>,
}

#[derive(Debug, Default)]
struct Process {
    /// A thread has answered what another had read.
    hands_on: bool,
    /// A thread has called after its answer, before there was anything else to do.
    calls_late: bool,
    threads: BTreeMap<u32, Worker>,
    /// Answers to calls that were read by who had made them, or by others.
    reads: Tally,
    /// What is known of calls, until the process is believed.
    unproven: Vec<Made>,
}

/// What a thread has done since it answered last.
#[derive(Debug, Default)]
struct Worker {
    answered: Option<BootNanos>,
    /// When each call was made, and whether it is answered.
    calls: Vec<(ExchangeId, BootNanos, bool)>,
}

impl Process {
    const fn is_believed(&self) -> bool {
        self.reads.is_convincing(PROOF) && !self.calls_late
    }

    fn worker(&mut self, tid: u32) -> &mut Worker {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&tid) {
            self.threads.clear();
        }
        self.threads.entry(tid).or_default()
    }
}

impl Workers {
    pub fn new(settings: &Settings) -> Self {
        Self {
            processes: Table::new(settings.max_processes),
        }
    }

    /// Whether threads of this process answer what others have read.
    pub fn hands_on(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_some_and(|process| process.hands_on)
    }

    /// A call is made, while requests are in flight in its process or not; whether it may be told later what for.
    pub fn called(&mut self, call: &Exchange, is_serving: bool) -> bool {
        let process = self.processes.get_mut(call.pid());
        let Some(process) = process.filter(|process| process.hands_on && is_thread(call.task)) else {
            return false;
        };
        let worker = process.worker(call.task.tid);
        if !is_serving {
            process.calls_late |= worker.answered.is_some();
            return false;
        }
        if worker.calls.len() >= MAX_CALLS {
            worker.calls.clear();
        }
        worker.calls.push((call.id, call.start, false));
        !process.calls_late
    }

    /// A call is answered, or will not be.
    pub fn ended(&mut self, call: &Exchange, ending: &Ending) {
        let process = self.processes.get_mut(call.pid());
        if let Some(process) = process.filter(|_| is_thread(call.task))
            && let Some(worker) = process.threads.get_mut(&call.task.tid)
            && let Some((.., is_answered)) = worker.calls.iter_mut().find(|(id, ..)| *id == call.id)
        {
            *is_answered = true;
            if let Some(reader) = ending.response_task {
                process.reads.add(reader == call.task);
            }
        }
    }

    /// A request is answered by this thread; the calls that are known by that to be made for it.
    pub fn answered(
        &mut self,
        request: &Exchange,
        (by, end): (Task, BootNanos),
        counters: &mut Counters,
    ) -> Vec<Made> {
        if !is_thread(by) || request.task.is_goroutine() {
            return Vec::new();
        }
        let is_handed = request.task != by;
        let process = match self.processes.get_mut(request.pid()) {
            Some(process) => process,
            None if is_handed => self
                .processes
                .entry(request.pid(), &mut counters.evicted_processes),
            None => return Vec::new(),
        };
        process.hands_on |= is_handed;
        let worker = process.worker(by.tid);
        let calls = mem::take(&mut worker.calls);
        let since = worker.answered.replace(end).max(Some(request.start));
        // Before this came it had nothing to call for but what was over.
        process.calls_late |= is_handed && calls.iter().any(|(_, start, _)| *start < request.start);
        if !is_handed || calls.iter().any(|(.., is_answered)| !is_answered) {
            // What it has read itself it holds (`threads`); who goes on before an answer comes may have gone on to anything.
            return Vec::new();
        }
        let made = calls.into_iter().filter(|(_, start, _)| Some(*start) >= since);
        let made = made.map(|(call, ..)| (call, request.id));
        if process.is_believed() {
            mem::take(&mut process.unproven).into_iter().chain(made).collect()
        } else {
            let room = MAX_UNPROVEN.saturating_sub(process.unproven.len());
            process.unproven.extend(made.take(room));
            Vec::new()
        }
    }

    /// The program of this process ended.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(pid);
    }
}

/// Whether it is a thread that works on one thing at a time: what has a number of its own tells more by that.
const fn is_thread(task: Task) -> bool {
    !task.is_goroutine() && task.tid != 0
}
