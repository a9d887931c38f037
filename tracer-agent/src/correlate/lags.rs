//! What was read a few turns before something was sent: the rung `turn`, for event loops that read all that there is and act on it
//! later, as asyncio does.
//!
//! Such a loop has a queue. What it reads is put into it, and comes out of it a fixed number of turns later, in order: the *lag*, one
//! for requests and one for answers to calls. So with the right two lags, as many things are due in a turn as are done in it, and the
//! first that is done is done for the first that is due:
//!
//! ```text
//! turn 7   reads r1, r2, and the answer to c0
//! turn 8   sends c3          for the answer to c0 (lag 1)
//! turn 9   sends c1, c2      for r1 and r2 (lag 2)
//! ```
//!
//! Which lags are right is counted: with wrong ones the numbers seldom agree. A turn in which they do not tells nothing: something was done
//! for a timer, twice for one request, or not at all.
//!
//! A call is given to a request only if both ends of the chain hold: it was sent for that request, or for the answer to one of its calls, and the
//! response to that request was written for the answer to the last. Where the two contradict each other, many more must agree.

use std::collections::BTreeMap;

use crate::{
    ids::{BootNanos, Moment, Pid, Task},
    protocols::ExchangeId,
};

use super::{
    Counters, Settings,
    known::ById,
    table::Table,
    tally::Tally,
    turns::{Act, CONFIRMED},
};

/// Lags that are thought of, from none on.
const MAX_LAG: u32 = 5;
const LAGS: usize = MAX_LAG as usize + 1;
/// Turns after which a turn is looked at: the first request on a connection is told of when that is established.
const SETTLED: u32 = 16;
/// Turns in which the numbers must have agreed before lags are believed; and of all, how many at least.
const AGREED: u32 = 16;
const SHARE: f64 = 0.8;
/// Turns that are kept until lags are known.
const MAX_TURNS: u32 = 256;
/// Turns in which anything was done that are kept if nothing is read any more.
const MAX_KEPT: usize = 512;
/// Calls and requests of a thread that are kept in mind; past it all are forgotten.
const MAX_CALLS: usize = 4096;

/// The loops that act later.
#[derive(Debug)]
pub struct Lags {
    threads: Table<Task, Thread>,
}

/// A call and the request that it was made for.
pub type Made = (ExchangeId, ExchangeId);

#[derive(Debug, Default)]
struct Thread {
    turns: BTreeMap<u32, Turn>,
    /// The last turn that was counted, and the last of which what was done in it was given to what was due.
    counted: u32,
    aligned: u32,
    /// How often the numbers agreed, by the lag of requests and of answers.
    agreed: [[Tally; LAGS]; LAGS],
    /// The request of each call that is not answered for long.
    requests: ById<ExchangeId>,
    /// The calls of each request that is not answered.
    calls: ById<Vec<ExchangeId>>,
    /// Responses that were written for the answer to a call of their own requests.
    held: Tally,
    /// Calls whose chains hold, until the thread is trusted.
    unproven: Vec<Made>,
}

#[derive(Debug, Default)]
struct Turn {
    came: Vec<(BootNanos, ExchangeId)>,
    answered: Vec<(BootNanos, ExchangeId)>,
    acts: Vec<(BootNanos, Act)>,
}

/// What is read that something is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This request.
    Came(ExchangeId),
    /// The answer to this call.
    Answered(ExchangeId),
}

impl Lags {
    pub fn new(settings: &Settings) -> Self {
        Self {
            threads: Table::new(settings.max_loops),
        }
    }

    /// A thread read something; the calls that are known by that.
    pub fn read(&mut self, task: Task, at: Moment, cause: Cause, counters: &mut Counters) -> Vec<Made> {
        let thread = self.threads.entry(task, &mut counters.evicted_loops);
        let turn = thread.turns.entry(at.turn).or_default();
        match cause {
            Cause::Came(request) => turn.came.push((at.at, request)),
            Cause::Answered(call) => turn.answered.push((at.at, call)),
        }
        thread.settle(at.turn, counters)
    }

    /// A thread did something.
    pub fn acted(&mut self, task: Task, at: Moment, act: Act) {
        if let Some(thread) = self.threads.get_mut(task) {
            thread.turns.entry(at.turn).or_default().acts.push((at.at, act));
            if thread.turns.len() > MAX_KEPT {
                thread.turns.pop_first();
            }
        }
    }

    /// Nothing more is asked of a thread.
    pub fn drop_thread(&mut self, task: Task) {
        self.threads.remove(task);
    }

    /// Nothing more will be told of what a thread has done so far; the calls that are known by that.
    pub fn flush(&mut self, task: Task, counters: &mut Counters) -> Vec<Made> {
        let Some(thread) = self.threads.get_mut(task) else {
            return Vec::new();
        };
        let last = thread.turns.last_key_value().map(|(turn, _)| *turn);
        last.map_or_else(Vec::new, |last| {
            thread.settle(last.saturating_add(SETTLED), counters)
        })
    }

    /// Whether it may yet be known what a thread makes its calls for.
    pub fn may_tell(&self, task: Task) -> bool {
        self.threads.get(task).is_some_and(Thread::may_tell)
    }

    /// The program of this process ended: its threads are gone.
    pub fn forget(&mut self, pid: Pid) {
        self.threads.remove_range(Task::all_of(pid));
    }
}

impl Thread {
    /// Looks at the turns that are over for long enough.
    fn settle(&mut self, now: u32, counters: &mut Counters) -> Vec<Made> {
        if now < self.counted {
            // The numbers of turns have wrapped around.
            *self = Self::default();
        }
        let until = now.saturating_sub(SETTLED);
        if until == self.counted {
            // As when it was last looked at: much may be read in one turn.
            return Vec::new();
        }
        for turn in self.turns_between(self.counted, until) {
            self.count(turn);
        }
        self.counted = self.counted.max(until);
        let mut made = Vec::new();
        // Until lags are known turns are kept for them.
        self.aligned = self.aligned.max(until.saturating_sub(MAX_TURNS));
        if let Some(lags) = self.lags() {
            for turn in self.turns_between(self.aligned, until) {
                self.align(turn, lags, &mut made, counters);
            }
            self.aligned = self.aligned.max(until);
        }
        let kept = self.aligned.saturating_sub(MAX_LAG);
        while self.turns.first_key_value().is_some_and(|(turn, _)| *turn < kept) {
            self.turns.pop_first();
        }
        if self.requests.len() > MAX_CALLS || self.calls.len() > MAX_CALLS {
            self.requests.clear();
            self.calls.clear();
        }
        if self.unproven.len() > MAX_CALLS {
            self.unproven.clear();
        }
        made
    }

    /// The turns after one, up to another, in which anything was done or can have been due.
    fn turns_between(&self, after: u32, until: u32) -> Vec<u32> {
        if after >= until {
            return Vec::new();
        }
        let near = self.turns.range(after.saturating_sub(MAX_LAG)..=until);
        let near = near.flat_map(|(turn, _)| *turn..=turn.saturating_add(MAX_LAG));
        let mut turns: Vec<_> = near.filter(|turn| (after + 1..=until).contains(turn)).collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// Takes note of the lags with which as much was due in a turn as was done.
    fn count(&mut self, number: u32) {
        let acts = self.turns.get(&number).map_or(0, |turn| turn.acts.len());
        let due = |lag: usize, of: fn(&Turn) -> usize| {
            let before = u32::try_from(lag).ok().and_then(|lag| number.checked_sub(lag));
            before.and_then(|before| self.turns.get(&before)).map_or(0, of)
        };
        let came: [usize; LAGS] = std::array::from_fn(|lag| due(lag, |turn| turn.came.len()));
        let answered: [usize; LAGS] = std::array::from_fn(|lag| due(lag, |turn| turn.answered.len()));
        for (tallies, came) in self.agreed.iter_mut().zip(came) {
            for (tally, answered) in tallies.iter_mut().zip(answered) {
                if acts + came + answered > 0 {
                    tally.add(acts == came + answered);
                }
            }
        }
    }

    /// Gives what was done in a turn to what was due, in order.
    fn align(
        &mut self,
        number: u32,
        (of_requests, of_answers): (u32, u32),
        made: &mut Vec<Made>,
        counters: &mut Counters,
    ) {
        let mut due = Vec::new();
        if let Some(turn) = number
            .checked_sub(of_requests)
            .and_then(|turn| self.turns.get(&turn))
        {
            due.extend(turn.came.iter().map(|(at, request)| (*at, Cause::Came(*request))));
        }
        if let Some(turn) = number
            .checked_sub(of_answers)
            .and_then(|turn| self.turns.get(&turn))
        {
            due.extend(
                turn.answered
                    .iter()
                    .map(|(at, call)| (*at, Cause::Answered(*call))),
            );
        }
        let mut acts = self
            .turns
            .get(&number)
            .map(|turn| turn.acts.clone())
            .unwrap_or_default();
        if acts.len() != due.len() {
            for (_, act) in acts {
                if let Act::Answer(request) = act {
                    self.drop_request(request);
                }
            }
            return;
        }
        due.sort_by_key(|(at, _)| *at);
        acts.sort_by_key(|(at, _)| *at);
        for ((_, cause), (_, act)) in due.into_iter().zip(acts) {
            self.was_done_for(cause, act, made, counters);
        }
    }

    fn was_done_for(&mut self, cause: Cause, act: Act, made: &mut Vec<Made>, counters: &mut Counters) {
        let request = match cause {
            Cause::Came(request) => Some(request),
            Cause::Answered(call) => self.requests.remove(&call),
        };
        let Some(request) = request else {
            return;
        };
        match act {
            Act::Call(call) => {
                self.requests.insert(call, request);
                self.calls.entry(request).or_default().push(call);
            }
            Act::Answer(answered) => {
                self.held.add(answered == request);
                let calls = self.drop_request(answered);
                if answered == request {
                    self.unproven
                        .extend(calls.into_iter().map(|call| (call, request)));
                } else {
                    counters.turns_refuted += 1;
                }
                if self.held.is_convincing(CONFIRMED) {
                    made.append(&mut self.unproven);
                }
            }
        }
    }

    /// A request is answered: gives its calls.
    fn drop_request(&mut self, request: ExchangeId) -> Vec<ExchangeId> {
        let calls = self.calls.remove(&request).unwrap_or_default();
        for call in &calls {
            self.requests.remove(call);
        }
        calls
    }

    /// The lags with which the numbers agree most often, if they do often enough.
    fn lags(&self) -> Option<(u32, u32)> {
        let (number, best) = self
            .agreed
            .as_flattened()
            .iter()
            .enumerate()
            .max_by(|(_, one), (_, other)| one.share().total_cmp(&other.share()))?;
        let (of_requests, of_answers) = (number / LAGS, number % LAGS);
        let lags = u32::try_from(of_requests)
            .ok()
            .zip(u32::try_from(of_answers).ok());
        lags.filter(|_| best.confirmed >= AGREED && best.share() >= SHARE)
    }

    /// Whether lags may be found, or were.
    fn may_tell(&self) -> bool {
        let looked = self.agreed.as_flattened().first();
        let is_new = looked.is_none_or(|tally| tally.confirmed + tally.refuted < 4 * AGREED);
        is_new || self.lags().is_some()
    }
}
