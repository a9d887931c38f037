//! Stage 4. In: exchange events and process events. Out: exchanges with trace, id, parent and the evidence for
//! it. Kept true: no parent without evidence, one parent at most, nothing decided twice; a parent that is named
//! was read from the wire or is given out too.
//!
//! Events of one thread, and of one direction of a connection, come in order; across them the order is only
//! about right, so a decision that needs an event which may still come is put off, with a bound:
//!
//! ```text
//! Begun ──► edge (Root | Remote | Local parent) ──► context (trace, sampled) ──► given out
//!   └─ waits for its client end ─┘  └─ waits for its parent's context ─┘  └─ waits for Ended ─┘
//! ```
//!
//! An edge never changes once set; a context is inherited along edges. `parents` sets edges, `fate` decides what
//! is given out.

mod blocks;
mod by_relay;
mod by_turn;
mod contexts;
mod coroutines;
mod counters;
mod fate;
mod guess;
mod identity;
mod known;
mod lags;
mod linked;
mod loops;
mod pairs;
mod parents;
mod processes;
mod relays;
mod request_ids;
mod sampler;
mod settings;
mod streams;
mod table;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod threads;
pub mod timing;
mod turns;
mod workers;

use std::collections::BTreeSet;

pub use counters::Counters;
pub use linked::{Candidate, Evidence, Linked, Observed, Parent};
pub use sampler::{Caller, Decided, RootSampler, Sampler, SamplerError};
pub use settings::{Instrumented, Settings};

use crate::{
    capture::{
        ProcessInfo,
        record::{Change, ProcessEvent},
    },
    ids::{BootNanos, Pid},
    protocols::{
        ExchangeId,
        exchange::{Ending, ExchangeEvent, Side},
    },
};
use contexts::Contexts;
use coroutines::Coroutines;
use identity::Identity;
use known::{Begun, Known, Live};
use lags::Lags;
use loops::Loops;
use pairs::Pairs;
use processes::Processes;
use relays::Relays;
use request_ids::RequestIds;
use threads::Threads;
use timing::Timing;
use turns::Turns;
use workers::Workers;

/// Finds the trace and the parent of every exchange.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    identity: Identity,
    known: Known,
    deadlines: BTreeSet<(BootNanos, ExchangeId)>,
    pairs: Pairs,
    contexts: Contexts,
    request_ids: RequestIds,
    threads: Threads,
    turns: Turns,
    lags: Lags,
    loops: Loops,
    relays: Relays,
    workers: Workers,
    coroutines: Coroutines,
    timing: Timing,
    processes: Processes,
    counters: Counters,
    now: BootNanos,
    /// Of what would be sampled, one trace in so many is.
    one_in: u64,
}

impl Correlator {
    /// A correlator that knows nothing yet; the seed makes its trace and span ids.
    pub fn new(settings: Settings, id_seed: [u64; 2]) -> Self {
        Self {
            identity: Identity::new(id_seed),
            known: Known::default(),
            deadlines: BTreeSet::new(),
            pairs: Pairs::default(),
            contexts: Contexts::default(),
            request_ids: RequestIds::new(&settings),
            threads: Threads::new(&settings),
            turns: Turns::new(&settings),
            lags: Lags::new(&settings),
            loops: Loops::new(&settings),
            relays: Relays::new(&settings),
            workers: Workers::new(&settings),
            coroutines: Coroutines::new(&settings),
            timing: Timing::new(&settings),
            processes: Processes::new(&settings),
            counters: Counters::default(),
            now: BootNanos::default(),
            one_in: 1,
            settings,
        }
    }

    /// Decides otherwise from now on; what was decided stays, and so do the bounds of tables.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Leaves out detail from now on: calls are linked by their times or not, and of the traces that would be sampled one in so many is.
    pub fn shed(&mut self, is_without_timing: bool, one_in: u64) {
        self.timing.shed(is_without_timing);
        self.one_in = one_in;
    }

    /// Exchanges that were taken in and not given out yet.
    pub fn in_flight(&self) -> usize {
        self.known.in_flight()
    }

    /// Takes one event; what can be given out by it is appended to `out`.
    pub fn on_event(&mut self, event: ExchangeEvent, out: &mut Vec<Linked>) {
        match event {
            ExchangeEvent::Ended(id, ending) => {
                self.now = self.now.max(ending.end);
                self.end(id, ending, out);
            }
            ExchangeEvent::Begun(exchange) => {
                self.now = self.now.max(exchange.head_end);
                if !self.admit(exchange.id, out) {
                    return;
                }
                self.counters.malformed_context += u64::from(exchange.context.malformed);
                self.processes.saw(&exchange, &mut self.counters);
                match exchange.side {
                    Side::Inbound => self.begin_inbound(exchange, out),
                    Side::Outbound => self.begin_outbound(exchange, out),
                }
            }
            ExchangeEvent::Taken(id, worker) => self.taken(id, worker, out),
            ExchangeEvent::Calls(worker) => self.threads.made(worker, &mut self.counters),
            ExchangeEvent::Made(made) => self.coroutines.made(&made, &mut self.counters),
            ExchangeEvent::Read(id, task, moment) => self.note_read(id, task, moment, out),
            ExchangeEvent::ConnectFailed(failure) => {
                self.now = self.now.max(failure.end);
                if self.admit(failure.id, out) {
                    self.fail_connect(failure, out);
                }
            }
        }
    }

    /// Takes note of a new program or the end of one: what was learned of it is forgotten. Calls that waited to learn more are decided and
    /// appended to `out`.
    pub fn on_process(&mut self, event: &ProcessEvent, out: &mut Vec<Linked>) {
        match event.change {
            Change::Executed | Change::Exited => {
                self.decide_guesses(event.pid, out);
                self.forget(event.pid);
            }
            Change::Forked(_) | Change::Selected => {}
        }
    }

    /// Takes note of what a process is.
    pub fn on_process_info(&mut self, info: &ProcessInfo) {
        if info.has_goroutines {
            self.processes.has_goroutines(info.pid(), &mut self.counters);
        }
    }

    /// Takes note of the time: exchanges whose wait is over are decided, old ones are forgotten.
    pub fn tick(&mut self, now: BootNanos, out: &mut Vec<Linked>) {
        self.now = self.now.max(now);
        self.decide_timed(out);
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > self.now {
                break;
            }
            self.deadlines.remove(&(deadline, id));
            self.decide_alone(id, out);
        }
        self.forget_old();
    }

    /// When [`Self::tick`] has something to decide, if nothing else happens.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        let waiting = self.deadlines.first().map(|(deadline, _)| *deadline);
        [waiting, self.timing.next_deadline()].into_iter().flatten().min()
    }

    /// Gives out everything: no more events will come. What has no end is given out as incomplete.
    pub fn finish(&mut self, now: BootNanos, out: &mut Vec<Linked>) {
        self.now = self.now.max(now);
        for answer in self.timing.finish() {
            self.decide_by(&answer, out);
        }
        while let Some(oldest) = self.known.oldest() {
            let unended = self.give_up(oldest, out);
            self.counters.unended += u64::from(unended);
        }
    }

    /// What happened so far, by cause.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn admit(&mut self, id: ExchangeId, out: &mut Vec<Linked>) -> bool {
        if self.known.contains(id) {
            self.counters.reused_ids += 1;
            return false;
        }
        while self.known.in_flight() >= self.settings.max_in_flight.max(1) {
            let Some(oldest) = self.known.oldest() else {
                break;
            };
            self.counters.evicted_in_flight += 1;
            self.give_up(oldest, out);
        }
        self.counters.begun += 1;
        true
    }

    fn end(&mut self, id: ExchangeId, ending: Ending, out: &mut Vec<Linked>) {
        self.note_ending(id, &ending, out);
        self.note_row(id, &ending, out);
        self.note_answer(id, &ending, out);
        match self.known.live_mut(id).map(|live| &mut live.begun) {
            Some(Begun::Exchange(exchange, end @ None)) => {
                if exchange.side == Side::Inbound
                    && self.threads.answered(exchange, &ending, &mut self.counters)
                {
                    self.processes.migrates(exchange.pid(), &mut self.counters);
                }
                match exchange.side {
                    Side::Inbound => self.timing.left(exchange, Some(ending.end)),
                    Side::Outbound => {
                        self.coroutines.ended(exchange, ending.end);
                        self.loops.ended(exchange.pid(), id);
                        self.workers.ended(exchange, &ending);
                        self.timing.answered(exchange, ending.end);
                    }
                }
                *end = Some(Box::new(ending));
                self.give_out(id, out);
            }
            _ => self.counters.unknown_endings += 1,
        }
    }

    fn forget(&mut self, pid: Pid) {
        if self.is_withheld(pid) {
            // Its connections are closed only now: their exchanges still belong to the program that ended.
            let of_pid = |live: &&mut Live| live.exchange().is_some_and(|exchange| exchange.pid() == pid);
            for live in self.known.all_live_mut().filter(of_pid) {
                live.is_withheld = true;
            }
        }
        self.processes.forget(pid);
        self.threads.forget(pid);
        self.turns.forget(pid);
        self.lags.forget(pid);
        self.loops.forget(pid);
        self.relays.forget(pid);
        self.workers.forget(pid);
        self.coroutines.forget(pid);
        self.request_ids.forget(pid);
        self.timing.forget(pid);
    }

    fn is_withheld(&self, pid: Pid) -> bool {
        self.settings.instrumented == Instrumented::Skip && self.processes.is_instrumented(pid)
    }
}
