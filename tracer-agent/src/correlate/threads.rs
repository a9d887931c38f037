//! Which task is working on which request: the rungs `task` and `handoff`.
//!
//! A thread, which here is a goroutine too, *holds* an inbound request from the moment it has read its head until the response is
//! written. What it
//! sends meanwhile is sent for that request, provided that the thread serves one request at a time and to its
//! end. Two observations disprove that:
//! - it *interleaves*: it read a request of another connection before it answered the one it held (an event loop);
//! - it *hands on*: another thread answered what it read. If it also answers requests itself, work
//!   migrates between the threads of that process (goroutines, async runtimes), and no thread of it is trusted.
//!
//! A request that was overtaken is no evidence even before its ending proves the interleaving.
//!
//! A goroutine that holds none was *made for* the request that its maker holds, if it was made since that was read. When it was made
//! nobody tells: it is taken to be so until a goroutine of that process is seen to call when its maker holds nothing, or holds what
//! came later than its first call. From then on only makers are trusted that have served one request, the first on a connection.

use crate::{
    ids::{BootNanos, ConnectionId, Pid, Task},
    protocols::{
        Exchange, ExchangeId,
        exchange::{Ending, Worker},
    },
};

use super::{Counters, Settings, table::Table};

/// Tasks that are looked at to find one that holds nothing, where there is no room: most are such, since each stream may have its own.
const LOOKS: usize = 8;
/// More than any thread serves that is not an event loop, pipelined requests included.
const MAX_HELD: usize = 64;

/// What each thread holds, and whether that is evidence.
#[derive(Debug)]
pub struct Threads {
    threads: Table<Task, Thread>,
    /// Goroutines that hold nothing, with when each called first.
    callers: Table<Task, BootNanos>,
    /// Goroutines that have others made to send for them, with who made them.
    makers: Table<Task, Option<Task>>,
    after_response_ns: u64,
}

/// What is known of the request that a goroutine was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeFor {
    /// This one; certain only where the maker has served no other.
    Held {
        /// The request.
        inbound: ExchangeId,
        /// The maker has served no other.
        is_first: bool,
    },
    /// One that was answered before it sent anything, the maker's last.
    Answered(ExchangeId),
    /// One that the maker served before those it serves now.
    Earlier,
    /// Nothing is known.
    Unknown,
}

/// What a request that a thread sent was sent for, as far as threads tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The one request that the thread holds.
    One(ExchangeId),
    /// It holds several.
    Several,
    /// It holds none, and this one it answered last, a moment ago.
    After(ExchangeId),
    /// Nothing is known.
    Unknown,
}

#[derive(Debug, Default)]
struct Thread {
    held: Vec<Held>,
    last: Option<(ExchangeId, BootNanos)>,
    /// Requests that it has read.
    requests: u32,
    answers: bool,
    hands_on: bool,
    interleaves: bool,
}

#[derive(Debug)]
struct Held {
    exchange: ExchangeId,
    connection: ConnectionId,
    ready: BootNanos,
    /// When the thread read a request of another connection while it held this one.
    overtaken: Option<BootNanos>,
}

impl Thread {
    const fn is_trusted(&self) -> bool {
        !self.interleaves && !self.hands_on
    }

    fn hold(&mut self, inbound: &Exchange) {
        self.last = None;
        self.requests = self.requests.saturating_add(1);
        self.held.push(Held {
            exchange: inbound.id,
            connection: inbound.connection,
            ready: inbound.head_end,
            overtaken: None,
        });
    }

    fn distrust(&mut self) {
        self.held = Vec::new();
        self.last = None;
    }
}

impl Threads {
    pub fn new(settings: &Settings) -> Self {
        Self {
            threads: Table::new(settings.max_tasks),
            callers: Table::new(settings.max_tasks),
            makers: Table::new(settings.max_tasks),
            after_response_ns: settings.after_response_ns,
        }
    }

    fn entry(&mut self, task: Task, counters: &mut Counters) -> &mut Thread {
        // What was found against one is kept too.
        let is_used = |thread: &Thread| !thread.held.is_empty() || !thread.is_trusted();
        self.threads
            .entry_sparing(task, LOOKS, is_used, &mut counters.evicted_tasks)
    }

    /// A thread has read the head of this inbound request.
    pub fn hold(&mut self, inbound: &Exchange, counters: &mut Counters) {
        let thread = self.entry(inbound.task, counters);
        if !thread.is_trusted() {
            return;
        }
        for held in &mut thread.held {
            if held.connection != inbound.connection && held.overtaken.is_none() {
                held.overtaken = Some(inbound.start);
            }
        }
        thread.hold(inbound);
        if thread.held.len() > MAX_HELD {
            thread.interleaves = true;
            counters.interleaving_threads += 1;
            thread.distrust();
        }
    }

    /// A task works on this request from now on, and on no other.
    pub fn take(&mut self, inbound: &Exchange, counters: &mut Counters) {
        let thread = self.entry(inbound.task, counters);
        thread.held.clear();
        thread.hold(inbound);
    }

    /// A goroutine is about to make another that sends for it.
    pub fn made(&mut self, worker: Worker, counters: &mut Counters) {
        if worker.maker.is_some() {
            *self.makers.entry(worker.task, &mut counters.evicted_tasks) = worker.maker;
        }
    }

    /// Who made a goroutine that has told so.
    pub fn maker(&self, task: Task) -> Option<Task> {
        *self.makers.get(task)?
    }

    /// An inbound request is over: no thread holds it any more. True if that proves that work migrates
    /// between the threads of the process.
    #[must_use]
    pub fn answered(&mut self, inbound: &Exchange, ending: &Ending, counters: &mut Counters) -> bool {
        let mut migrates = false;
        let answered_here = ending.response_task == Some(inbound.task);
        if let Some(other) = ending.response_task.filter(|other| *other != inbound.task) {
            let writer = self.entry(other, counters);
            writer.answers = true;
            migrates |= writer.hands_on && other.pid == inbound.pid() && !other.is_goroutine();
        }
        let Some(thread) = self.threads.get_mut(inbound.task) else {
            return migrates;
        };
        if answered_here {
            thread.answers = true;
        } else if ending.response_task.is_some() {
            thread.hands_on = true;
            thread.distrust();
        }
        migrates |= thread.answers && thread.hands_on && !inbound.task.is_goroutine();
        let place = thread.held.iter().position(|held| held.exchange == inbound.id);
        if let Some(held) = place.map(|place| thread.held.remove(place)) {
            // An ending that a failure brought may be later than the work it ended.
            let overtaken = held.overtaken.is_some_and(|at| at < ending.end) && ending.failure.is_none();
            if overtaken {
                thread.interleaves = true;
                counters.interleaving_threads += 1;
                thread.distrust();
            } else if thread.held.is_empty() && (answered_here || inbound.multiplexed) {
                thread.last = Some((inbound.id, ending.end));
            }
        }
        migrates
    }

    /// An inbound request is given up before its end is known.
    pub fn abandon(&mut self, inbound: &Exchange) {
        if let Some(thread) = self.threads.get_mut(inbound.task) {
            thread.held.retain(|held| held.exchange != inbound.id);
        }
    }

    /// Whether nothing speaks against it that a thread serves one request at a time, and answers what it has read.
    pub fn trusts(&self, task: Task) -> bool {
        self.threads.get(task).is_some_and(Thread::is_trusted)
    }

    /// What a request was sent for that `task` began to send at `start`.
    pub fn holder(&self, task: Task, start: BootNanos) -> Holder {
        let Some(thread) = self.threads.get(task).filter(|thread| thread.is_trusted()) else {
            return Holder::Unknown;
        };
        let Some(first) = thread.held.first() else {
            return match thread.last {
                Some((last, end)) if start >= end && start.since(end) <= self.after_response_ns => {
                    Holder::After(last)
                }
                _ => Holder::Unknown,
            };
        };
        // Pipelined requests are answered in order: the oldest is the one being worked on.
        let one_connection = thread.held.iter().all(|held| held.connection == first.connection);
        if !one_connection || first.overtaken.is_some() {
            Holder::Several
        } else if first.ready <= start {
            Holder::One(first.exchange)
        } else {
            Holder::Unknown
        }
    }

    /// What a goroutine was made for that began to send a request at `start`.
    pub fn made_for(
        &mut self,
        maker: Task,
        made: Task,
        start: BootNanos,
        counters: &mut Counters,
    ) -> MadeFor {
        let first_call = self.callers.entry(made, &mut counters.evicted_tasks);
        if *first_call == BootNanos::default() {
            *first_call = start;
        }
        let first_call = *first_call;
        let Some(thread) = self.threads.get(maker).filter(|thread| thread.is_trusted()) else {
            return MadeFor::Unknown;
        };
        match self.holder(maker, start) {
            Holder::One(inbound) => {
                let is_since = thread.held.first().is_some_and(|held| held.ready <= first_call);
                if is_since {
                    let is_first = thread.requests == 1;
                    MadeFor::Held { inbound, is_first }
                } else {
                    MadeFor::Earlier
                }
            }
            Holder::After(inbound) => MadeFor::Answered(inbound),
            Holder::Unknown if thread.held.is_empty() && thread.requests > 0 => MadeFor::Earlier,
            Holder::Several | Holder::Unknown => MadeFor::Unknown,
        }
    }

    /// The program of this process ended: its threads are gone.
    pub fn forget(&mut self, pid: Pid) {
        self.threads.remove_range(Task::all_of(pid));
        self.callers.remove_range(Task::all_of(pid));
        self.makers.remove_range(Task::all_of(pid));
    }
}
