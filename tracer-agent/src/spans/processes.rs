//! Which program a process ran at a given time: the resource of its spans.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    capture::{
        ProcessInfo,
        input::AttributeValue,
        record::{Change, ProcessEvent},
    },
    ids::{BootNanos, Pid},
};

/// Programs that one process ran one after the other and that spans may still belong to.
const MAX_PROGRAMS: usize = 4;

/// What is known of every process, at most a given number of them: past it those that ended go first.
#[derive(Debug)]
pub struct Processes {
    processes: BTreeMap<Pid, Process>,
    // Both in order; may name processes that were forgotten or, in `ended`, whose id is in use again.
    made: VecDeque<Pid>,
    ended: VecDeque<Pid>,
    bound: usize,
    evicted: u64,
}

#[derive(Debug, Default)]
struct Process {
    programs: Vec<Program>,
    has_ended: bool,
}

#[derive(Debug)]
struct Program {
    since: BootNanos,
    info: Arc<ProcessInfo>,
}

impl Processes {
    pub fn new(bound: usize) -> Self {
        Self {
            processes: BTreeMap::new(),
            made: VecDeque::new(),
            ended: VecDeque::new(),
            bound: bound.max(1),
            evicted: 0,
        }
    }

    /// What was found out of the program that a process runs now.
    pub fn learn(&mut self, info: Arc<ProcessInfo>) {
        let process = self.process(info.pid());
        match process.programs.last_mut() {
            Some(program) => program.info = info,
            None => process.programs.push(Program {
                since: BootNanos::default(),
                info,
            }),
        }
    }

    /// A process was born, changed its program or ended: a child is what its parent is until more is known.
    pub fn on_event(&mut self, event: &ProcessEvent) {
        let info = match event.change {
            Change::Selected => return,
            Change::Exited => {
                if let Some(process) = self.processes.get_mut(&event.pid) {
                    process.has_ended = true;
                    self.ended.push_back(event.pid);
                }
                return;
            }
            Change::Executed => unknown(event.pid, &event.comm.name()),
            Change::Forked(parent) => match self.processes.get(&parent).and_then(|it| it.programs.last()) {
                Some(program) => of_child(&program.info, event.pid),
                None => unknown(event.pid, &event.comm.name()),
            },
        };
        let process = self.process(event.pid);
        process.has_ended = false;
        process.programs.push(Program {
            since: event.at,
            info: Arc::new(info),
        });
        if process.programs.len() > MAX_PROGRAMS {
            process.programs.remove(0);
        }
    }

    /// The program that a process ran at a time.
    pub fn at(&self, pid: Pid, time: BootNanos) -> Arc<ProcessInfo> {
        let programs = self
            .processes
            .get(&pid)
            .map(|process| process.programs.as_slice());
        let programs = programs.unwrap_or_default();
        let program = programs.iter().rev().find(|program| program.since <= time);
        match program.or(programs.first()) {
            Some(program) => Arc::clone(&program.info),
            None => Arc::new(unknown(pid, "")),
        }
    }

    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn process(&mut self, pid: Pid) -> &mut Process {
        if !self.processes.contains_key(&pid) {
            while self.processes.len() >= self.bound && self.evict() {}
            self.made.push_back(pid);
        }
        self.processes.entry(pid).or_default()
    }

    /// Forgets one process that ended, or else the one known longest; false if there is none.
    fn evict(&mut self) -> bool {
        while let Some(pid) = self.ended.pop_front() {
            if self.processes.get(&pid).is_some_and(|process| process.has_ended) {
                self.processes.remove(&pid);
                // An ended process is expected to be forgotten: nothing is lost.
                self.made.retain(|made| *made != pid);
                return true;
            }
        }
        let Some(oldest) = self.made.pop_front() else {
            return false;
        };
        self.evicted += u64::from(self.processes.remove(&oldest).is_some());
        true
    }
}

/// The service name that the SDKs fall back to.
fn unknown(pid: Pid, comm: &str) -> ProcessInfo {
    let service_name = match comm {
        "" => "unknown_service".to_owned(),
        comm => format!("unknown_service:{comm}"),
    };
    ProcessInfo {
        pid: pid.0,
        comm: comm.to_owned(),
        service_name,
        ..ProcessInfo::default()
    }
}

fn of_child(parent: &ProcessInfo, pid: Pid) -> ProcessInfo {
    let mut info = ProcessInfo {
        pid: pid.0,
        ..parent.clone()
    };
    for (key, value) in &mut info.resource {
        if key == "process.pid" {
            *value = AttributeValue::Int(i64::from(pid.0));
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::Comm;

    fn info(pid: u32, name: &str) -> Arc<ProcessInfo> {
        Arc::new(ProcessInfo {
            pid,
            service_name: name.to_owned(),
            resource: vec![("process.pid".to_owned(), AttributeValue::Int(i64::from(pid)))],
            ..ProcessInfo::default()
        })
    }

    fn event(pid: u32, at: u64, change: Change) -> ProcessEvent {
        let mut comm = [0; 16];
        comm[..3].copy_from_slice(b"new");
        ProcessEvent {
            at: BootNanos(at),
            pid: Pid(pid),
            change,
            comm: Comm(comm),
        }
    }

    fn name(processes: &Processes, pid: u32, at: u64) -> String {
        processes.at(Pid(pid), BootNanos(at)).service_name.clone()
    }

    #[test]
    fn a_span_belongs_to_the_program_that_ran_when_it_began() {
        let mut processes = Processes::new(8);
        processes.learn(info(1, "shell"));
        processes.on_event(&event(1, 100, Change::Executed));
        assert_eq!(name(&processes, 1, 150), "unknown_service:new");
        processes.learn(info(1, "shop"));
        assert_eq!(name(&processes, 1, 99), "shell");
        assert_eq!(name(&processes, 1, 100), "shop");
    }

    #[test]
    fn a_child_is_its_parent_under_its_own_pid_until_more_is_known() {
        let mut processes = Processes::new(8);
        processes.learn(info(1, "shop"));
        processes.on_event(&event(2, 50, Change::Forked(Pid(1))));
        let child = processes.at(Pid(2), BootNanos(60));
        assert_eq!(child.service_name, "shop");
        assert_eq!(
            child.resource,
            [("process.pid".to_owned(), AttributeValue::Int(2))]
        );
        assert_eq!(name(&processes, 3, 60), "unknown_service");
    }

    #[test]
    fn past_the_bound_a_process_that_ended_goes_before_one_that_runs() {
        let mut processes = Processes::new(2);
        processes.learn(info(1, "server"));
        processes.learn(info(2, "job"));
        processes.on_event(&event(2, 10, Change::Exited));
        assert_eq!(name(&processes, 2, 5), "job", "its last spans still belong to it");
        processes.learn(info(3, "job"));
        assert_eq!(name(&processes, 1, 5), "server");
        assert_eq!(
            (name(&processes, 2, 5).as_str(), processes.evicted()),
            ("unknown_service", 0)
        );
        processes.learn(info(4, "job"));
        assert_eq!(
            (name(&processes, 1, 5).as_str(), processes.evicted()),
            ("unknown_service", 1)
        );
    }
}
