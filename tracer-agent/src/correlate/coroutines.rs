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
//! It is known when the response is sent; calls wait for that. A thread is believed once it has answered requests that were in flight at once,
//! in different coroutines each. One coroutine that answers two such, of different connections, speaks for the whole thread: it runs all its work in
//! one, or what was read is none.
//!
//! In some threads one coroutine answers all requests of a connection, and may go on after it has answered. What it sends before the next request comes was
//! sent for the former; if that is not answered when the next comes, the work on the former reaches into that on the latter, and what is sent
//! meanwhile may be for either: nothing is told. In other threads there is one for each request, and what was sent before that came was sent by
//! another that had the same number: nothing is known of it.

use std::collections::BTreeMap;

use crate::{
    ids::{BootNanos, ConnectionId, Coroutine, Moment, Pid, Task},
    protocols::{Exchange, ExchangeId},
};

use super::{Counters, Settings, lags::Made, table::Table, tally::Tally};

/// So many requests that were in flight at once must be answered in different coroutines.
const PROOF: u32 = 16;
/// Calls of a thread of which none was told what it was made for, until it is taken for one that never tells.
const HOPELESS: u32 = 1024;
/// Coroutines, and connections, of a thread that are kept in mind; past it all are forgotten.
const MAX_COROUTINES: usize = 4096;
/// Calls of one coroutine that wait; past it all are forgotten. One that never answers makes more and more.
const MAX_CALLS: usize = 256;
/// Calls that wait for their thread to be believed.
const MAX_UNPROVEN: usize = 4096;

/// The threads that run coroutines.
#[derive(Debug)]
pub struct Coroutines {
    threads: Table<Task, Thread>,
}

#[derive(Debug, Default)]
struct Thread {
    coroutines: BTreeMap<Coroutine, Work>,
    /// The last answer of any of them.
    last: Option<(Coroutine, Answer)>,
    /// Who has answered last on each connection.
    connections: BTreeMap<ConnectionId, Coroutine>,
    /// Requests that were answered by who had answered the former on their connection, or by another.
    stays: Tally,
    /// Requests in flight at once that were answered in different coroutines, or in the same.
    apart: Tally,
    /// What is known of calls, until the thread is believed.
    unproven: Vec<Made>,
    /// Calls since one was told what it was made for.
    untold: u32,
}

/// What a coroutine has done since it answered last.
#[derive(Debug, Default)]
struct Work {
    answered: Option<Answer>,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    request: ExchangeId,
    connection: ConnectionId,
    at: BootNanos,
}

#[derive(Debug)]
struct Call {
    id: ExchangeId,
    start: BootNanos,
    end: Option<BootNanos>,
}

impl Answer {
    /// Whether a request was in flight together with the one that this answers. Those of one connection follow each other.
    fn overlaps(self, request: &Exchange) -> bool {
        request.start < self.at && request.connection != self.connection
    }
}

impl Coroutines {
    pub fn new(settings: &Settings) -> Self {
        Self {
            threads: Table::new(settings.max_loops),
        }
    }

    /// A call is made, while requests are in flight in its process or not; whether it may be told later what for.
    pub fn called(&mut self, call: &Exchange, is_serving: bool, counters: &mut Counters) -> bool {
        let Some(coroutine) = call.moment.and_then(|moment| moment.coroutine) else {
            return false;
        };
        let thread = self.threads.entry(call.task, &mut counters.evicted_loops);
        thread.untold = thread.untold.saturating_add(1);
        if thread.untold > HOPELESS {
            return false;
        }
        let work = thread.work(coroutine);
        if work.calls.len() >= MAX_CALLS {
            work.calls.clear();
        }
        work.calls.push(Call {
            id: call.id,
            start: call.start,
            end: None,
        });
        is_serving || work.answered.is_some()
    }

    /// A call is answered, or will not be.
    pub fn ended(&mut self, call: &Exchange, end: BootNanos) {
        let coroutine = call.moment.and_then(|moment| moment.coroutine);
        let thread = self.threads.get_mut(call.task);
        if let Some((coroutine, thread)) = coroutine.zip(thread)
            && let Some(work) = thread.coroutines.get_mut(&coroutine)
            && let Some(known) = work.calls.iter_mut().find(|known| known.id == call.id)
        {
            known.end = Some(end);
        }
    }

    /// A request is answered at this moment; the calls that are known by that to be made for it, or for others before.
    pub fn answered(
        &mut self,
        request: &Exchange,
        (task, moment, end): (Task, Moment, BootNanos),
        counters: &mut Counters,
    ) -> Vec<Made> {
        let Some(coroutine) = moment.coroutine else {
            return Vec::new();
        };
        let thread = self.threads.entry(task, &mut counters.evicted_loops);
        let last = thread.last;
        let answer = Answer {
            request: request.id,
            connection: request.connection,
            at: moment.at,
        };
        thread.last = Some((coroutine, answer));
        thread.note_connection(request.connection, coroutine);
        let work = thread.work(coroutine);
        let former = work.answered.replace(answer);
        let is_alone = !former.is_some_and(|former| former.overlaps(request));
        let (calls, later) = std::mem::take(&mut work.calls)
            .into_iter()
            .partition(|call: &Call| call.start <= end);
        work.calls = later;
        let was_believed = thread.is_believed();
        if !is_alone {
            thread.apart.add(false);
            counters.coroutines_refuted += 1;
        } else if last.is_some_and(|(other, former)| other != coroutine && former.overlaps(request)) {
            thread.apart.add(true);
        }
        if is_alone {
            let former = former.filter(|_| thread.stays.is_convincing(PROOF));
            let made = made_for(request, former, calls);
            if !made.is_empty() {
                thread.untold = 0;
            }
            thread.unproven.extend(made);
        }
        if thread.is_believed() {
            counters.coroutine_threads += u64::from(!was_believed);
            return std::mem::take(&mut thread.unproven);
        }
        if thread.unproven.len() > MAX_UNPROVEN {
            thread.unproven.clear();
        }
        Vec::new()
    }

    /// The program of this process ended: its threads are gone.
    pub fn forget(&mut self, pid: Pid) {
        self.threads.remove_range(Task::all_of(pid));
    }
}

impl Thread {
    const fn is_believed(&self) -> bool {
        self.apart.is_convincing(PROOF)
    }

    fn note_connection(&mut self, connection: ConnectionId, coroutine: Coroutine) {
        if self.connections.len() >= MAX_COROUTINES {
            self.connections.clear();
        }
        if let Some(former) = self.connections.insert(connection, coroutine) {
            self.stays.add(former == coroutine);
        }
    }

    fn work(&mut self, coroutine: Coroutine) -> &mut Work {
        if self.coroutines.len() >= MAX_COROUTINES && !self.coroutines.contains_key(&coroutine) {
            self.coroutines.clear();
        }
        self.coroutines.entry(coroutine).or_default()
    }
}

/// What the calls were made for that a coroutine has made since its former answer, now that it answers this request.
fn made_for(request: &Exchange, former: Option<Answer>, calls: Vec<Call>) -> Vec<Made> {
    let (before, since): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.start < request.start);
    let reaches = |call: &Call| call.end.is_none_or(|end| end > request.start);
    let own = Some(request.id).filter(|_| !before.iter().any(reaches));
    let former = former.filter(|former| former.connection == request.connection);
    let of = |calls: Vec<Call>, request: Option<ExchangeId>| {
        let made = request.map(|request| calls.into_iter().map(move |call| (call.id, request)));
        made.into_iter().flatten()
    };
    of(before, former.map(|former| former.request))
        .chain(of(since, own))
        .collect()
}
