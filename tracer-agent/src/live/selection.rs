//! Processes that are selected by what they are, not by their id: looked for when the agent starts and every
//! second after, because the kernel side knows ids and ports but no paths.

use std::collections::HashSet;

use super::Probes;
use crate::{
    ids::BootNanos,
    observe::{Event, Log},
};

/// How long a new process may go unseen; its connections are traced from then on.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Finds processes, as they are right now.
pub type Matcher<'a> = Box<dyn FnMut() -> HashSet<u32> + 'a>;

/// Looks for processes and selects those that are new.
pub struct Watch<'a> {
    find: Matcher<'a>,
    selected: HashSet<u32>,
    next: BootNanos,
}

impl<'a> Watch<'a> {
    /// Selects what `find` finds.
    pub fn new(find: impl FnMut() -> HashSet<u32> + 'a) -> Self {
        Self {
            find: Box::new(find),
            selected: HashSet::new(),
            next: BootNanos(0),
        }
    }

    /// When it wants to look again.
    pub fn next(&self) -> BootNanos {
        self.next
    }

    /// Looks, if it is time.
    pub fn look(&mut self, now: BootNanos, probes: &mut impl Probes, log: &Log) {
        if now < self.next {
            return;
        }
        self.next = now.plus(LOOK_EVERY_NS);
        let found = (self.find)();
        // What is gone may come back under the same id as another program.
        self.selected.retain(|pid| found.contains(pid));
        for pid in found {
            if self.selected.contains(&pid) {
                continue;
            }
            match probes.select(pid) {
                Ok(()) => {
                    log.say(&Event::Selected { pid });
                    self.selected.insert(pid);
                }
                Err(error) => log.say(&Event::NotSelected { pid, error }),
            }
        }
    }
}
