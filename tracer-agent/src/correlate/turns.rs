//! What was read last when something was sent: the rung `turn`, for threads that run an event loop.
//!
//! A loop that acts on what it reads as it comes, as Node and nginx do, sends for the request for which it has read last: the
//! request itself, or the answer to a call that was made for it. Many loops do not: they read all that there is and act on it
//! later. Nothing tells the two from each other but what they do, and responses tell, since it is known whose they are:
//!
//! ```text
//! a response is written, others are in flight, and what was read last was read for
//!   its own request     ──► confirmed ──► often enough ──► trusted: calls that wait are decided
//!   another's           ──► refuted: many more must be confirmed now
//!   nobody that is known ─► nothing
//! ```
//!
//! What a loop does for timers it does when it has read all that there was. So where a timer may have expired, an act counts only if
//! more is read in the same turn:
//!
//! ```text
//! act ──► certain
//!   └─ a timer may have expired ──► doubtful ── read in the same turn ──► certain
//!                                      └─ read in a later turn ──► nothing
//! ```

use std::{collections::VecDeque, mem};

use crate::{
    ids::{Moment, Pid, Task},
    protocols::ExchangeId,
};

use super::{Counters, Settings, table::Table, tally::Tally, timing::Hint};

/// So many responses must be confirmed before a thread is trusted.
pub const CONFIRMED: u32 = 32;
/// Reads that are remembered of a thread: far more than there are between `connect` and the first request on a connection.
const MAX_READS: usize = 1024;

/// What each event loop has read, and whether that is evidence.
#[derive(Debug)]
pub struct Turns {
    threads: Table<Task, Thread>,
}

#[derive(Debug, Default)]
struct Thread {
    /// For which request it read, where that is known, oldest first.
    reads: VecDeque<(Moment, Option<ExchangeId>)>,
    /// What may have been done for a timer, since the last read.
    doubtful: Vec<(Moment, Act)>,
    /// How often what was read last was read for the request that was answered next: where that was certain,
    certain: Tally,
    /// and where it was not, at first.
    doubted: Tally,
}

impl Thread {
    fn is_trusted(&self) -> bool {
        self.certain.is_convincing(CONFIRMED)
    }

    fn last_read(&self, moment: Moment) -> Option<ExchangeId> {
        let read = self.reads.iter().rev().find(|(read, _)| read.is_at(moment));
        read.and_then(|(_, request)| *request)
    }

    fn has_read_after(&self, moment: Moment) -> bool {
        let after = |read: &Moment| read.turn == moment.turn && read.reads > moment.reads;
        self.reads.iter().rev().any(|(read, _)| after(read))
    }
}

/// What a thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It asked for this request to be sent.
    Call(ExchangeId),
    /// It answered this one.
    Answer(ExchangeId),
}

impl Turns {
    pub fn new(settings: &Settings) -> Self {
        Self {
            threads: Table::new(settings.max_loops),
        }
    }

    /// A thread read, for this request if that is known. Gives what was doubtful before and is certain now.
    pub fn read(
        &mut self,
        task: Task,
        moment: Moment,
        request: Option<ExchangeId>,
        counters: &mut Counters,
    ) -> Vec<(Moment, Act)> {
        let thread = self.threads.entry(task, &mut counters.evicted_loops);
        let before = |act: &Moment| act.turn == moment.turn && act.reads < moment.reads;
        let mut certain = mem::take(&mut thread.doubtful);
        certain.retain(|(at, _)| before(at));
        match thread.reads.back_mut() {
            // One read may end one message and begin the next: then it is for neither.
            Some((last, known)) if last.is_at(moment) => {
                *known = known.filter(|known| Some(*known) == request)
            }
            _ => {
                if thread.reads.len() >= MAX_READS {
                    thread.reads.pop_front();
                }
                thread.reads.push_back((moment, request));
            }
        }
        certain
    }

    /// A thread did something; whether that is certain to be for what it read last. If it is not, it may be after the next read.
    #[must_use]
    pub fn is_certain(&mut self, task: Task, moment: Moment, act: Act) -> bool {
        if !moment.timer {
            return true;
        }
        let Some(thread) = self.threads.get_mut(task) else {
            return false;
        };
        let is_certain = thread.has_read_after(moment);
        if !is_certain && thread.doubtful.len() < MAX_READS {
            thread.doubtful.push((moment, act));
        }
        is_certain
    }

    /// For which request a thread had read last at this moment.
    pub fn last_read(&self, task: Task, moment: Moment) -> Option<ExchangeId> {
        self.threads.get(task)?.last_read(moment)
    }

    /// Whether a thread acts on what it reads as it comes.
    pub fn trusts(&self, task: Task) -> bool {
        self.threads.get(task).is_some_and(Thread::is_trusted)
    }

    /// A thread wrote the response to a request while others were in flight; whether it is trusted since.
    #[must_use]
    pub fn answered(
        &mut self,
        task: Task,
        moment: Moment,
        request: ExchangeId,
        counters: &mut Counters,
    ) -> bool {
        let Some(thread) = self.threads.get_mut(task) else {
            return false;
        };
        let was_trusted = thread.is_trusted();
        if let Some(read) = thread.last_read(moment) {
            thread.certain.add(read == request);
            counters.turns_refuted += u64::from(read != request);
        }
        let is_new = !was_trusted && thread.is_trusted();
        counters.turning_threads += u64::from(is_new);
        is_new
    }

    /// The same where that may be due to a timer.
    pub fn answered_doubtfully(&mut self, task: Task, moment: Moment, request: ExchangeId) {
        if let Some(thread) = self.threads.get_mut(task)
            && let Some(read) = thread.last_read(moment)
        {
            thread.doubted.add(read == request);
        }
    }

    /// For which request something may have been sent that is not certain, and how likely that is.
    pub fn hint(&self, task: Task, moment: Moment) -> Option<Hint> {
        let thread = self.threads.get(task)?;
        let tally = if moment.timer {
            thread.doubted
        } else {
            thread.certain
        };
        Some(Hint {
            request: thread.last_read(moment)?,
            share: tally.share(),
        })
    }

    /// The program of this process ended: its threads are gone.
    pub fn forget(&mut self, pid: Pid) {
        self.threads.remove_range(Task::all_of(pid));
    }
}
