//! What coroutines tell: the rung `task` in event loops where each request is worked on by a coroutine of its own, as in asyncio.
//!
//! The kernel side names the coroutine that sends. So who answers a request is who has worked on it, and what that one has sent since the
//! request came was sent for it:
//!
//! ```text
//!  request comes ──── call ──── call ──── response       coroutine 1: both calls are made for the request
//!        request comes ──── call ──── response           coroutine 2
//! ```
//!
//! It is known when the response is sent; calls wait for that. A process is believed once a thread of it has answered requests that were in flight at once
//! in different coroutines. One coroutine that answers two such, of different connections, speaks for the whole process: it does all its work in
//! one, or what was read is none.
//!
//! A coroutine has others work for it (`asyncio.gather`, `asyncio.create_task`, functions that run in a pool of threads): what those send which were made since the
//! request came was sent for it too. Who made whom is known where a breakpoint tells.
//!
//! In some processes one coroutine answers all requests of a connection, and may go on after it has answered. What it sends before the next request
//! comes was sent for the former; if that is not answered when the next comes, the work on the former reaches into that on the latter, and what
//! is sent meanwhile may be for either: nothing is told. In other processes there is one for each request, and what was sent before that came was
//! sent by another that had the same number: nothing is known of it.

use std::{collections::BTreeMap, iter};

use crate::{
    capture::record::CoroutineMade,
    ids::{BootNanos, ConnectionId, Coroutine, Pid, Task},
    protocols::{Exchange, ExchangeId},
    recent::Recent,
};

use super::{Counters, Settings, lags::Made, table::Table, tally::Tally};

/// So many requests that were in flight at once must be answered in different coroutines.
const PROOF: u32 = 16;
/// Calls of a process of which none was told what it was made for, until it is taken for one that never tells.
const HOPELESS: u32 = 1024;
/// Coroutines, and connections, of a process that are kept in mind after they were last heard of, while as many others are heard of.
const MAX_COROUTINES: usize = 2048;
/// The same of coroutines by who made them: many are made that send nothing.
const MAX_MADE: usize = 8192;
/// Makers that are looked at one after the other, from the one that sends.
const GENERATIONS: usize = 4;
/// Calls for one coroutine that wait, and for all of a process; past it all of them are forgotten. One that never answers has more and more.
const MAX_CALLS: usize = 64;
const MAX_CALLS_OF_ALL: usize = 16_384;
/// Calls that wait for their process to be believed.
const MAX_UNPROVEN: usize = 4096;

/// The processes that run coroutines.
#[derive(Debug)]
pub struct Coroutines {
    processes: Table<Pid, Process>,
}

#[derive(Debug)]
struct Process {
    works: Recent<Coroutine, Work>,
    /// Calls in all of them.
    waiting: usize,
    /// Who made each, and when.
    makers: Recent<Coroutine, (Coroutine, BootNanos)>,
    /// The last answer of each thread.
    last: BTreeMap<u32, (Coroutine, Answer)>,
    /// Who has answered last on each connection.
    connections: Recent<ConnectionId, Coroutine>,
    /// The last request on each connection, and the one before.
    requests: Recent<ConnectionId, (ExchangeId, Option<ExchangeId>)>,
    /// Requests that were answered by who had answered the former on their connection, or by another.
    stays: Tally,
    /// Requests in flight at once that one thread answered in different coroutines, or in the same.
    apart: Tally,
    /// What is known of calls, until the process is believed.
    unproven: Vec<Made>,
    /// Calls since one was told what it was made for.
    untold: u32,
}

/// What was done for a coroutine since it answered last.
#[derive(Debug, Default)]
struct Work {
    answered: Option<Answer>,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    request: ExchangeId,
    connection: ConnectionId,
    /// When the request came.
    came: BootNanos,
    at: BootNanos,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    id: ExchangeId,
    start: BootNanos,
    end: Option<BootNanos>,
    /// It was sent by another, that this one has made then, or has had made, or has handed something.
    made: Option<BootNanos>,
    /// The last: it waits for the answer.
    is_handed: bool,
}

impl Answer {
    /// Whether a request was in flight together with the one that this answers. Those of one connection follow each other.
    fn overlaps(self, request: &Exchange) -> bool {
        request.start < self.at && request.connection != self.connection
    }
}

impl Call {
    /// Whether it was sent, and who sent it was made, since this.
    fn is_since(&self, came: BootNanos) -> bool {
        self.start >= came && self.made.is_none_or(|made| made >= came)
    }

    /// Whether who has handed it on may answer then.
    fn is_over(&self, at: BootNanos) -> bool {
        !self.is_handed || self.end.is_some_and(|end| end <= at)
    }

    /// It was sent for a former request, by the coroutine itself, which goes on with that when another comes.
    fn reaches_into(&self, came: BootNanos) -> bool {
        self.made.is_none() && self.start < came && self.end.is_none_or(|end| end > came)
    }
}

impl Coroutines {
    pub fn new(settings: &Settings) -> Self {
        Self {
            processes: Table::new(settings.max_loops),
        }
    }

    /// A request has come.
    pub fn came(&mut self, request: &Exchange) {
        if let Some(process) = self.processes.get_mut(request.pid()) {
            let former = process.requests.get(request.connection).map(|(last, _)| *last);
            process.requests.insert(request.connection, (request.id, former));
        }
    }

    /// A coroutine has made another.
    pub fn made(&mut self, made: &CoroutineMade, counters: &mut Counters) {
        let process = self.processes.entry(made.thread.pid, &mut counters.evicted_loops);
        process.makers.insert(made.coroutine, (made.maker, made.at));
    }

    /// A call is made, while requests are in flight in its process or not; whether it may be told later what for.
    pub fn called(&mut self, call: &Exchange, is_serving: bool, counters: &mut Counters) -> bool {
        let Some(coroutine) = call.coroutine else {
            return false;
        };
        let process = self.processes.entry(call.pid(), &mut counters.evicted_loops);
        process.untold = process.untold.saturating_add(1);
        let own = Call {
            id: call.id,
            start: call.start,
            end: None,
            made: None,
            is_handed: false,
        };
        let handed = call.handed_by();
        let makers: Vec<_> = process.makers_of(coroutine, handed).collect();
        let mut has_answered = process.work(coroutine).answered.is_some();
        process.add(coroutine, own);
        for maker in makers {
            let made = Call {
                made: Some(maker.1),
                is_handed: Some(maker) == handed,
                ..own
            };
            has_answered |= process.work(maker.0).answered.is_some();
            process.add(maker.0, made);
        }
        (is_serving || has_answered) && process.untold <= HOPELESS
    }

    /// A call is answered, or will not be.
    pub fn ended(&mut self, call: &Exchange, end: BootNanos) {
        let Some(process) = self.processes.get_mut(call.pid()) else {
            return;
        };
        let waker = call.handed_by().map(|(waker, _)| waker);
        for coroutine in call.coroutine.into_iter().chain(waker) {
            let work = process.works.get_mut(coroutine);
            let calls = work.into_iter().flat_map(|work| &mut work.calls);
            for known in calls.filter(|known| known.id == call.id) {
                known.end = Some(end);
            }
        }
    }

    /// A request is answered, by this coroutine of this thread from then to then; the calls that are known by that to be made for it, or for the one before.
    pub fn answered(
        &mut self,
        request: &Exchange,
        coroutine: Coroutine,
        (task, at, end): (Task, BootNanos, BootNanos),
        counters: &mut Counters,
    ) -> Vec<Made> {
        let process = self.processes.entry(task.pid, &mut counters.evicted_loops);
        let answer = Answer {
            request: request.id,
            connection: request.connection,
            came: request.start,
            at,
        };
        let last = process.last.insert(task.tid, (coroutine, answer));
        process.note_connection(request.connection, coroutine);
        let work = process.work(coroutine);
        let former = work.answered.replace(answer);
        let mut calls: Vec<_> = work.calls.extract_if(.., |call| call.start <= end).collect();
        process.waiting = process.waiting.saturating_sub(calls.len());
        calls.retain(|call| call.is_over(end));
        let was_believed = process.is_believed();
        if former.is_some_and(|former| former.overlaps(request)) {
            process.apart.add(false);
            counters.coroutines_refuted += 1;
        } else {
            if last.is_some_and(|(other, former)| other != coroutine && former.overlaps(request)) {
                process.apart.add(true);
            }
            let former = former.filter(|former| process.follows(request, former.request));
            let before = process.unproven.len();
            process.unproven.extend(made_for(request, former, &calls));
            if process.unproven.len() > before {
                process.untold = 0;
            }
        }
        if process.is_believed() {
            counters.coroutine_processes += u64::from(!was_believed);
            return std::mem::take(&mut process.unproven);
        }
        if process.unproven.len() > MAX_UNPROVEN {
            process.unproven.clear();
        }
        Vec::new()
    }

    /// The program of this process ended.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(pid);
    }
}

impl Default for Process {
    fn default() -> Self {
        Self {
            works: Recent::new(MAX_COROUTINES),
            waiting: 0,
            makers: Recent::new(MAX_MADE),
            last: BTreeMap::new(),
            connections: Recent::new(MAX_COROUTINES),
            requests: Recent::new(MAX_COROUTINES),
            stays: Tally::default(),
            apart: Tally::default(),
            unproven: Vec::new(),
            untold: 0,
        }
    }
}

impl Process {
    const fn is_believed(&self) -> bool {
        self.apart.is_convincing(PROOF)
    }

    /// Whether a coroutine may have gone on with a former request until this one came: the answer to one between them may have been missed.
    fn follows(&self, request: &Exchange, former: ExchangeId) -> bool {
        let requests = self.requests.get(request.connection);
        self.stays.is_convincing(PROOF) && requests == Some(&(request.id, Some(former)))
    }

    /// Who made a coroutine or handed it something, who made that one, and so on, each with when it did so. A number that was given out anew since
    /// is another's. What was handed on before an answer is over with it.
    fn makers_of(
        &self,
        coroutine: Coroutine,
        handed: Option<(Coroutine, BootNanos)>,
    ) -> impl Iterator<Item = (Coroutine, BootNanos)> {
        let maker = |coroutine| self.makers.get(coroutine).copied();
        let first = match handed {
            Some((waker, at)) => {
                let answer = self.works.get(waker).and_then(|work| work.answered);
                handed.filter(|_| answer.is_none_or(|answer| answer.at <= at))
            }
            None => maker(coroutine),
        };
        let older =
            move |(younger, at): &(Coroutine, BootNanos)| maker(*younger).filter(|(_, made)| made < at);
        iter::successors(first, older).take(GENERATIONS)
    }

    fn note_connection(&mut self, connection: ConnectionId, coroutine: Coroutine) {
        if let Some(former) = self.connections.insert(connection, coroutine) {
            self.stays.add(former == coroutine);
        }
    }

    fn work(&mut self, coroutine: Coroutine) -> &mut Work {
        let waiting = &mut self.waiting;
        self.works.entry(coroutine, |forgotten| {
            *waiting = waiting.saturating_sub(forgotten.calls.len());
        })
    }

    fn add(&mut self, coroutine: Coroutine, call: Call) {
        if self.waiting >= MAX_CALLS_OF_ALL {
            self.works.values_mut().for_each(|work| work.calls.clear());
            self.waiting = 0;
        }
        let work = self.work(coroutine);
        let forgotten = if work.calls.len() >= MAX_CALLS {
            work.calls.drain(..).len()
        } else {
            0
        };
        work.calls.push(call);
        self.waiting = self.waiting.saturating_sub(forgotten) + 1;
    }
}

/// What the calls were made for that were made for a coroutine since its former answer, now that it answers this request.
fn made_for(request: &Exchange, former: Option<Answer>, calls: &[Call]) -> Vec<Made> {
    let is_open = calls.iter().any(|call| call.reaches_into(request.start));
    let request_of = |call: &Call| {
        if call.is_since(request.start) {
            return Some(request.id).filter(|_| !is_open || call.made.is_some());
        }
        // Who hands something on after an answer is another, which was made for that.
        let former = former.filter(|former| former.connection == request.connection && !call.is_handed);
        former
            .filter(|former| call.is_since(former.came))
            .map(|former| former.request)
    };
    calls
        .iter()
        .filter_map(|call| Some((call.id, request_of(call)?)))
        .collect()
}
