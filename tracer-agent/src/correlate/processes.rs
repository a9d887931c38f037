//! What is known of each process from its traffic: whether it exports spans of its own, and whether its
//! threads keep to their requests.

use std::mem;

use crate::{
    ids::{Pid, Task},
    protocols::{Exchange, exchange::Side},
};

use super::{Counters, Settings, table::Table, tally::Tally};

/// The path that every OTLP/HTTP trace exporter posts to, whatever stands before it.
const OTLP_TRACES: &str = "/v1/traces";

/// The method that every OTLP/gRPC trace exporter calls, as its request names it.
const OTLP_TRACES_BY_GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// So many requests must be answered by the threads that read them.
const PROOF: u32 = 16;

/// The verdicts on processes; forgotten when their program ends.
#[derive(Debug)]
pub struct Processes {
    processes: Table<Pid, Process>,
}

#[derive(Debug, Default)]
struct Process {
    /// Requests sent with the context of a request that came in.
    contexts_passed: u32,
    /// Requests sent with a context that did not come in.
    contexts_made: u32,
    receives_otlp: bool,
    exports_otlp: bool,
    tasks_migrate: bool,
    has_goroutines: bool,
    goroutines_outlive: bool,
    /// Requests that were answered while others were in flight: by the thread that had read them, or by another.
    kept: Tally,
}

impl Process {
    const fn is_proven(&self) -> bool {
        self.kept.is_convincing(PROOF)
    }

    /// A process makes contexts or passes them on. One that seems to do both lost a request here and there to
    /// the agent's own loss, so the majority counts.
    const fn is_instrumented(&self) -> bool {
        self.exports_otlp || self.contexts_made > self.contexts_passed
    }
}

impl Processes {
    pub fn new(settings: &Settings) -> Self {
        Self {
            processes: Table::new(settings.max_processes),
        }
    }

    /// Takes note of OTLP that comes in or goes out. What forwards OTLP is no exporter of its own.
    pub fn saw(&mut self, exchange: &Exchange, counters: &mut Counters) {
        if !is_otlp_export(exchange) {
            return;
        }
        self.change(exchange.pid(), counters, |process| match exchange.side {
            Side::Inbound => process.receives_otlp = true,
            Side::Outbound => process.exports_otlp |= !process.receives_otlp,
        });
    }

    /// The process sent a context that had come in.
    pub fn passed_context(&mut self, pid: Pid, counters: &mut Counters) {
        self.change(pid, counters, |process| {
            process.contexts_passed = process.contexts_passed.saturating_add(1);
        });
    }

    /// The process sent a context that had not come in.
    pub fn made_context(&mut self, pid: Pid, counters: &mut Counters) {
        self.change(pid, counters, |process| {
            process.contexts_made = process.contexts_made.saturating_add(1);
        });
    }

    /// The process answers requests on other threads than those that read them.
    pub fn migrates(&mut self, pid: Pid, counters: &mut Counters) {
        let found = self.finds(pid, counters, |process| &mut process.tasks_migrate);
        counters.migrating_processes += u64::from(found);
    }

    /// A request was answered while others were in flight, by the thread that had read it or by another; whether the process has
    /// proven now that its threads keep to their requests.
    #[must_use]
    pub fn answered(&mut self, pid: Pid, is_kept: bool, counters: &mut Counters) -> bool {
        let mut is_new = false;
        self.change(pid, counters, |process| {
            let was_proven = process.is_proven();
            process.kept.add(is_kept);
            is_new = !was_proven && process.is_proven();
        });
        is_new
    }

    /// Whether its threads have proven to keep to their requests where several are in flight. In a pool that moves work between
    /// threads a thread seems to do so, until it answers another's.
    pub fn is_proven(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_some_and(Process::is_proven)
    }

    /// Whether the process exports spans of its own.
    pub fn is_instrumented(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_some_and(Process::is_instrumented)
    }

    /// The process is written in Go.
    pub fn has_goroutines(&mut self, pid: Pid, counters: &mut Counters) {
        self.change(pid, counters, |process| process.has_goroutines = true);
    }

    /// A goroutine of the process was made by one that has answered a request since: what goroutines do may be for requests
    /// that are over.
    pub fn goroutines_outlive(&mut self, pid: Pid, counters: &mut Counters) {
        let found = self.finds(pid, counters, |process| &mut process.goroutines_outlive);
        counters.outliving_processes += u64::from(found);
    }

    /// Whether goroutines of the process may go on after the requests they were made for.
    pub fn have_goroutines_outlived(&self, pid: Pid) -> bool {
        self.processes
            .get(pid)
            .is_some_and(|process| process.goroutines_outlive)
    }

    /// Whether a task keeps to the request it has read: a goroutine does, a thread where work does not migrate between threads.
    pub fn keeps_to_request(&self, task: Task) -> bool {
        let threads_tell = |process: &Process| !process.tasks_migrate && !process.has_goroutines;
        task.is_goroutine() || self.processes.get(task.pid).is_none_or(threads_tell)
    }

    /// The program of this process ended.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(pid);
    }

    /// Whether that was not known of the process.
    fn finds(
        &mut self,
        pid: Pid,
        counters: &mut Counters,
        finding: impl FnOnce(&mut Process) -> &mut bool,
    ) -> bool {
        let mut was_known = true;
        self.change(pid, counters, |process| {
            was_known = mem::replace(finding(process), true)
        });
        !was_known
    }

    fn change(&mut self, pid: Pid, counters: &mut Counters, change: impl FnOnce(&mut Process)) {
        let process = self.processes.entry(pid, &mut counters.evicted_processes);
        let before = process.is_instrumented();
        change(process);
        counters.instrumented_processes += u64::from(!before && process.is_instrumented());
    }
}

fn is_otlp_export(exchange: &Exchange) -> bool {
    let target = exchange.request.target.as_str();
    let path = target.split(['?', '#']).next().unwrap_or(target);
    exchange.request.method == "POST" && (path.ends_with(OTLP_TRACES) || path == OTLP_TRACES_BY_GRPC)
}
