//! What the kernel side cannot judge by itself: it knows ids of processes, control groups and files, but no paths. It asks
//! when a process runs a program that nobody has judged, and knows the program from then on.

use tracer_common::{layout::Exe, record::AskRecord};

use super::Probes;
use crate::observe::{Event, Log};

/// Whether a process is traced, as far as its program decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Selected,
    /// It is not, whatever else speaks for it.
    Excluded,
    /// Its program says nothing.
    Passed,
}

/// Judges processes by what they are.
pub struct Judge<'a> {
    verdict: Box<dyn FnMut(u32) -> Verdict + 'a>,
    everyone: Box<dyn FnMut() -> Vec<u32> + 'a>,
    /// What becomes of a process whose program says nothing.
    otherwise: Verdict,
}

impl<'a> Judge<'a> {
    /// Judges by `verdict`; `everyone` names the processes there are, `all` says that who is not excluded is selected.
    pub fn new(
        verdict: impl FnMut(u32) -> Verdict + 'a,
        everyone: impl FnMut() -> Vec<u32> + 'a,
        all: bool,
    ) -> Self {
        Self {
            verdict: Box::new(verdict),
            everyone: Box::new(everyone),
            otherwise: if all { Verdict::Selected } else { Verdict::Passed },
        }
    }

    /// Judges every process: those that were there before the probes, or whose question was lost.
    pub fn look(&mut self, probes: &mut impl Probes, log: &Log) {
        for pid in (self.everyone)() {
            self.judge(pid, probes, log);
        }
    }

    /// Answers the kernel side.
    pub(super) fn answer(&mut self, ask: &AskRecord, probes: &mut impl Probes, log: &Log) {
        let verdict = self.judge(ask.tgid, probes, log);
        // Without a file there is nothing to know it by.
        if ask.exe != Exe::default()
            && let Err(error) = probes.learn(ask.exe, verdict)
        {
            log.say(&Event::NotSelected { pid: ask.tgid, error });
        }
    }

    fn judge(&mut self, pid: u32, probes: &mut impl Probes, log: &Log) -> Verdict {
        let verdict = (self.verdict)(pid);
        let applied = match verdict {
            Verdict::Passed => self.otherwise,
            decided => decided,
        };
        match probes.judge(pid, applied) {
            Ok(true) if verdict == Verdict::Selected => log.say(&Event::Selected { pid }),
            Ok(_) => {}
            Err(error) => log.say(&Event::NotSelected { pid, error }),
        }
        verdict
    }
}
