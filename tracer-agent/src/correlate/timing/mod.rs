//! The `timing` rung: which request a call was made for, where nothing but times tells.
//!
//! A process is watched as a whole: the requests that come to it, the calls it makes, and when each is answered. Learned
//! from requests that leave no doubt, `model` tells how likely each next step of the work on a request is and how soon it
//! comes; `search` keeps several ways of giving the calls to the requests in mind, until what comes later tells them
//! apart. The confidence of an answer is its share among them.
//!
//! Only processes are watched in which a call was made that no other rung could give to a request, while there were
//! requests.

mod delay;
mod hypotheses;
mod kinds;
mod model;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use model::Kind;
pub use search::{Answer, Hint, Search, Thread, What};

use super::{Counters, Settings, table::Table};
use crate::{
    ids::{BootNanos, Pid},
    protocols::{Exchange, ExchangeId},
};
use kinds::Kinds;

/// What is told this much later is told in time: events of several threads come in order only about.
const ORDER_NS: u64 = 10_000_000;

/// Every process that is watched.
#[derive(Debug)]
pub(super) struct Timing {
    /// How many requests are in flight, in each process where there are any.
    serving: HashMap<Pid, u32, foldhash::fast::RandomState>,
    watched: Table<Pid, Watched>,
    /// When the next of them is to be looked at.
    due: Option<BootNanos>,
    wait_ns: u64,
    /// The second that it is, and what was looked at in it.
    second: u64,
    looks: u64,
    max_looks: u64,
    max_watched: usize,
    /// Nothing is asked.
    is_shed: bool,
}

#[derive(Debug, Default)]
struct Watched {
    kinds: Kinds,
    search: Search,
}

impl Timing {
    pub fn new(settings: &Settings) -> Self {
        Self {
            serving: HashMap::default(),
            watched: Table::new(settings.max_watched),
            due: None,
            wait_ns: settings.wait_timing_ns.saturating_sub(ORDER_NS),
            second: 0,
            looks: 0,
            max_looks: settings.max_looks,
            max_watched: settings.max_watched,
            is_shed: false,
        }
    }

    /// A request came.
    pub fn came(&mut self, inbound: &Exchange) {
        *self.serving.entry(inbound.pid()).or_default() += 1;
        if let Some(watched) = self.watched.get_mut(inbound.pid()) {
            watched.came(inbound);
            self.look_at(inbound.start);
        }
    }

    /// A request was answered, or will not be heard of again.
    pub fn left(&mut self, inbound: &Exchange, end: Option<BootNanos>) {
        if let Some(serving) = self.serving.get_mut(&inbound.pid()) {
            *serving = serving.saturating_sub(1);
            if *serving == 0 {
                self.serving.remove(&inbound.pid());
            }
        }
        let Some(watched) = self.watched.get_mut(inbound.pid()) else {
            return;
        };
        match end {
            Some(end) => {
                watched.search.tell(end, inbound.id, What::Responded);
                self.look_at(end);
            }
            None => watched.search.drop_request(inbound.id),
        }
    }

    /// Whether any request is in flight in a process.
    pub fn serves(&self, pid: Pid) -> bool {
        self.serving.contains_key(&pid)
    }

    /// Whether several requests are in flight in a process.
    pub fn serves_several(&self, pid: Pid) -> bool {
        self.serving.get(&pid).is_some_and(|serving| *serving > 1)
    }

    /// A call was made that no other rung can give to a request; whether it will be answered.
    pub fn called<'a>(
        &mut self,
        outbound: &Exchange,
        hint: Option<Hint>,
        in_flight: impl Fn() -> Vec<&'a Exchange>,
        counters: &mut Counters,
    ) -> bool {
        let pid = outbound.pid();
        if self.wait_ns == 0 {
            return false;
        }
        if !self.serving.contains_key(&pid) {
            // It is for none, which shows how often the process calls on its own account.
            if let Some(watched) = self.watched.get_mut(pid) {
                watched.called(outbound, None, None);
                self.look_at(outbound.start);
            }
            return false;
        }
        if self.is_shed {
            counters.shed_timing += 1;
            return false;
        }
        let is_new = self.watched.get(pid).is_none();
        let watched = self.watched.entry(pid, &mut counters.evicted_watched);
        if is_new {
            watched.search = Search::new(self.wait_ns);
            in_flight().into_iter().for_each(|inbound| watched.came(inbound));
        }
        let second = outbound.start.0 / 1_000_000_000;
        if self.second != second {
            (self.second, self.looks) = (second, 0);
        }
        self.looks = self.looks.saturating_add(watched.search.looks());
        if self.looks > self.max_looks {
            watched.search.miss();
            counters.shed_timing += 1;
            return false;
        }
        watched.called(outbound, None, hint);
        self.look_at(outbound.start);
        true
    }

    /// A call was made that another rung gave to a request.
    pub fn knows(&mut self, outbound: &Exchange, request: ExchangeId) {
        if let Some(watched) = self.watched.get_mut(outbound.pid()) {
            watched.called(outbound, Some(request), None);
            self.look_at(outbound.start);
        }
    }

    /// Another rung has given a call to a request since it was made.
    pub fn knows_now(&mut self, pid: Pid, call: ExchangeId, request: ExchangeId) {
        if let Some(watched) = self.watched.get_mut(pid) {
            watched.search.know(call, request);
        }
    }

    /// A call was answered.
    pub fn answered(&mut self, outbound: &Exchange, end: BootNanos) {
        if let Some(watched) = self.watched.get_mut(outbound.pid()) {
            watched.search.tell(end, outbound.id, What::Answered);
            self.look_at(end);
        }
    }

    /// What can be answered by now.
    pub fn answers(&mut self, now: BootNanos) -> Vec<Answer> {
        let mut answers = Vec::new();
        if self.due.is_none_or(|due| due > now) {
            return answers;
        }
        let until = BootNanos(now.0.saturating_sub(ORDER_NS));
        self.due = None;
        for watched in self.watched.values_mut() {
            watched.search.advance(until, &mut answers);
            let next = watched.search.next_deadline().map(|next| next.plus(ORDER_NS));
            self.due = [self.due, next].into_iter().flatten().min();
        }
        answers
    }

    /// What can be answered if nothing more happens.
    pub fn finish(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for watched in self.watched.values_mut() {
            watched.search.finish(&mut answers);
        }
        answers
    }

    /// See [`Self::answers`].
    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.due
    }

    /// Whether nothing is asked from now on. Then what was learned is forgotten, and what waits is answered by nobody: it is given to
    /// none when its wait is over.
    pub fn shed(&mut self, is_shed: bool) {
        if is_shed && !self.is_shed {
            self.watched = Table::new(self.max_watched);
            self.due = None;
        }
        self.is_shed = is_shed;
    }

    /// The program of this process ended: what was learned is of no use. What is asked is answered when the wait is over.
    pub fn forget(&mut self, pid: Pid) {
        self.watched.remove(pid);
    }

    /// Something happened then that is to be looked at.
    fn look_at(&mut self, at: BootNanos) {
        let due = at.plus(ORDER_NS);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }
}

/// The thread, where it may tell something: of event loops any may send what another has read, and to take it for the same where that is not
/// known would teach itself.
fn thread_of(exchange: &Exchange) -> Option<u64> {
    (!exchange.task.is_goroutine() && exchange.moment.is_none()).then(|| u64::from(exchange.task.tid))
}

impl Watched {
    fn came(&mut self, inbound: &Exchange) {
        let asks = self.kinds.of(&inbound.request, None);
        let thread = thread_of(inbound);
        self.search
            .tell(inbound.start, inbound.id, What::Came { asks, thread });
    }

    fn called(&mut self, outbound: &Exchange, known: Option<ExchangeId>, hint: Option<Hint>) {
        let whom = self.kinds.of(&outbound.request, Some(outbound.peer));
        let thread = thread_of(outbound);
        let what = What::Called {
            whom,
            thread,
            known,
            hint,
        };
        self.search.tell(outbound.start, outbound.id, what);
    }
}
