//! What the kernel side cannot judge by itself: it knows control groups, network namespaces and files by number, but no
//! paths. It asks when a process runs a program that nobody has judged, and knows the program from then on.

use std::{io, os::fd::BorrowedFd};

use tracer_common::layout::Exe;

use super::Probes;
use crate::{
    capture::record::{Ask, Verdict},
    discovery::{Containers, Group},
    observe::{Event, Log},
};

/// The processes there are, and what they run.
pub trait Programs {
    /// What the program of a process says about it.
    fn verdict(&self, pid: u32) -> Verdict;
    /// What the place of a process says about it, if that can be told from outside.
    fn place(&self, pid: u32) -> Option<Verdict>;
    /// Inode number of the file that a process runs.
    fn inode(&self, pid: u32) -> Option<u64>;
    /// Every process.
    fn everyone(&self) -> Vec<u32>;
}

/// Control groups that are judged as they come and go.
pub trait Groups {
    /// Readable when some came or went.
    fn changed(&self) -> BorrowedFd<'_>;
    /// Those that were judged since that was asked for.
    fn judged(&mut self) -> Vec<Group>;
    /// The processes in one of them.
    fn members(&self, group: &Group) -> Vec<u32>;
}

impl Groups for Containers<'_> {
    fn changed(&self) -> BorrowedFd<'_> {
        self.changed()
    }

    fn judged(&mut self) -> Vec<Group> {
        self.judged()
    }

    fn members(&self, group: &Group) -> Vec<u32> {
        self.members(group)
    }
}

/// Hands verdicts about groups to the kernel side, and judges who is in them already.
pub(super) fn place(groups: &mut (impl Groups + ?Sized), probes: &mut impl Probes, log: &Log) {
    for group in groups.judged() {
        // First, so that whoever enters from here on is judged by the kernel side.
        if let Err(error) = probes.place(group.id, group.verdict) {
            log.say(&Event::Remark(format!(
                "a container is not judged as asked: {error}"
            )));
        }
        if group.verdict != Verdict::Passed {
            for pid in groups.members(&group) {
                tell(pid, group.verdict, probes.judge(pid, group.verdict), log);
            }
        }
    }
}

/// Judges processes by what they run and where they are.
pub struct Judge<'a> {
    programs: Box<dyn Programs + 'a>,
}

impl<'a> Judge<'a> {
    /// Judges these.
    pub fn new(programs: impl Programs + 'a) -> Self {
        Self {
            programs: Box::new(programs),
        }
    }

    /// Judges every process: those that were there before the probes, or whose question was lost.
    pub fn look(&self, probes: &mut impl Probes, log: &Log) {
        for pid in self.programs.everyone() {
            let program = self.programs.verdict(pid);
            let verdict = match (self.programs.place(pid), program) {
                (Some(place), _) => place.and(program),
                (None, Verdict::Excluded) => Verdict::Excluded,
                // Its place may exclude it.
                (None, _) => Verdict::Passed,
            };
            let outcome = match verdict {
                // The kernel side looks when the process is seen next, and may ask.
                Verdict::Passed => probes.forget(pid).map(|()| false),
                decided => probes.judge(pid, decided),
            };
            tell(pid, program, outcome, log);
        }
    }

    /// Answers the kernel side.
    pub(super) fn answer(&self, ask: &Ask, probes: &mut impl Probes, log: &Log) {
        let pid = ask.pid.0;
        let program = self.programs.verdict(pid);
        tell(pid, program, probes.answer(pid, ask.place.and(program)), log);
        // It may run another program by now.
        if ask.exe != Exe::NONE
            && self.programs.inode(pid) == Some(ask.exe.inode)
            && let Err(error) = probes.learn(ask.exe, program)
        {
            log.say(&Event::Remark(format!("a program is asked about again: {error}")));
        }
    }
}

/// Says of a process that its program selects it, if that is new.
fn tell(pid: u32, program: Verdict, outcome: io::Result<bool>, log: &Log) {
    match outcome {
        Ok(true) if program == Verdict::Selected => log.say(&Event::Selected { pid }),
        Ok(_) => {}
        Err(error) => log.say(&Event::NotSelected { pid, error }),
    }
}
