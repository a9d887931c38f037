//! Beside the way: what keeps the agent from being a burden, or half dead. In: what it takes of the host, and whether its loop turns. Out: how
//! much detail is left out ([`steps`]), the end of a core that panics ([`panics`]), the end of an agent that hangs ([`watchdog`]).
//!
//! Kept true: detail is left out in the order that is declared, a step at a time, said when it begins and when it ends, and counted; what
//! is left out makes fewer spans, never wrong ones.

pub mod ladder;
pub mod limits;
pub mod panics;
pub mod steps;
pub mod watchdog;

use std::time::Duration;

use crate::{capture::input::Shed, ids::BootNanos, observe::Event};
use ladder::Ladder;
use limits::{Limits, Reading};

/// How often it is looked at what is taken.
pub const EVERY_NS: u64 = 2_000_000_000;
/// The core begins anew at most so often for want of memory: if that does not help, nothing here does.
const ANEW_EVERY_NS: u64 = 60_000_000_000;
/// Part of the memory limit from which detail is left out: what has been taken is given back late.
const ALARM: f64 = 0.85;
/// The longest that the loop waits at a time, so that it turns.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Holds the agent within its limits.
pub struct Guard<'a> {
    limits: Limits,
    read: Box<dyn FnMut() -> Reading + 'a>,
    /// Gives memory that is free back to the kernel.
    give_back: fn(),
    cpu: Ladder,
    memory: Ladder,
    /// When it was looked last, and the processor time by then.
    looked: Option<(BootNanos, Duration)>,
    /// From when on it is held to the limit, and the processor time by then.
    paced: Option<(BootNanos, Duration)>,
    anew: Option<BootNanos>,
    tally: Tally,
}

/// What the guard has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps that were entered or left for processor time.
    pub cpu_changes: u64,
    /// For memory.
    pub memory_changes: u64,
    /// How often the core has begun anew for want of memory.
    pub begun_anew: u64,
    /// How long the loop has waited, in milliseconds.
    pub waited_ms: u64,
}

impl Tally {
    /// Every counter, as the stages have theirs.
    pub fn named(self) -> [(&'static str, &'static str, u64); 4] {
        [
            ("guard", "cpu_changes", self.cpu_changes),
            ("guard", "memory_changes", self.memory_changes),
            ("guard", "begun_anew", self.begun_anew),
            ("guard", "waited_ms", self.waited_ms),
        ]
    }
}

/// What is to be done now.
#[derive(Debug, Default)]
pub struct Look {
    /// So much is left out from now on, where that is to be told.
    pub shed: Option<Shed>,
    /// The core begins anew.
    pub begins_anew: bool,
    /// What people are to know.
    pub events: Vec<Event>,
}

impl<'a> Guard<'a> {
    /// Looks at what `read` says every now and then; none without limits.
    pub fn new(limits: Limits, read: impl FnMut() -> Reading + 'a, give_back: fn()) -> Option<Self> {
        (limits != Limits::default()).then(|| Self {
            limits,
            read: Box::new(read),
            give_back,
            cpu: Ladder::default(),
            memory: Ladder::default(),
            looked: None,
            paced: None,
            anew: None,
            tally: Tally::default(),
        })
    }

    /// How much is left out.
    pub const fn shed(&self) -> Shed {
        Shed {
            cpu: self.cpu.step(),
            memory: self.memory.step(),
        }
    }

    /// What it has done.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// When it is to look again, whatever happens: only while something is left out.
    pub fn due(&self) -> Option<BootNanos> {
        let (looked, _) = self.looked.filter(|_| self.shed() != Shed::default())?;
        Some(looked.plus(EVERY_NS))
    }

    /// Looks, if it is time to.
    pub fn look(&mut self, now: BootNanos) -> Option<Look> {
        let before = self.looked;
        if before.is_some_and(|(looked, _)| now.since(looked) < EVERY_NS) {
            return None;
        }
        let reading = (self.read)();
        self.looked = Some((now, reading.cpu));
        let mut look = Look::default();
        if let (Some(limit), Some((looked, cpu))) = (self.limits.cpu, before) {
            let elapsed = Duration::from_nanos(now.since(looked));
            let used = reading.cpu.saturating_sub(cpu).as_secs_f64() / elapsed.as_secs_f64();
            self.look_at_cpu(now, (used, limit), reading.cpu, &mut look);
        }
        if let (Some(limit), Some(memory)) = (self.limits.memory, reading.memory) {
            self.look_at_memory(now, (memory, limit), &mut look);
        }
        Some(look)
    }

    /// How long the loop has to wait for the limit to be met.
    pub fn pause(&mut self, now: BootNanos) -> Option<Duration> {
        let ((from, before), limit) = self.paced.zip(self.limits.cpu)?;
        let used = (self.read)().cpu.saturating_sub(before).as_secs_f64();
        let elapsed = Duration::from_nanos(now.since(from)).as_secs_f64();
        let wait = used / limit - elapsed;
        if wait <= 0.0 {
            return None;
        }
        let wait = Duration::from_secs_f64(wait.min(LONGEST_WAIT.as_secs_f64()));
        self.tally.waited_ms += u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Some(wait)
    }

    fn look_at_cpu(&mut self, now: BootNanos, (used, limit): (f64, f64), cpu: Duration, look: &mut Look) {
        if let Some(from) = self.cpu.look(now, used / limit) {
            self.tally.cpu_changes += 1;
            look.shed = Some(self.shed());
            look.events.push(Event::Shedding {
                limit: "processor time",
                taken: format!("{:.1} % of a processor, of {:.1} %", 100.0 * used, 100.0 * limit),
                from,
                to: self.cpu.step(),
                now: steps::of_cpu(self.cpu.step()),
            });
        }
        self.paced = match self.paced {
            _ if self.cpu.step() < steps::PACED => None,
            // What was not taken up to now is not saved up.
            Some(paced) if used >= limit => Some(paced),
            _ => Some((now, cpu)),
        };
    }

    #[expect(clippy::cast_precision_loss, reason = "no memory has 2^53 bytes")]
    fn look_at_memory(&mut self, now: BootNanos, (taken, limit): (u64, u64), look: &mut Look) {
        let part = taken as f64 / (limit as f64 * ALARM);
        if let Some(from) = self.memory.look(now, part) {
            self.tally.memory_changes += 1;
            look.shed = Some(self.shed());
            look.events.push(Event::Shedding {
                limit: "memory",
                taken: format!("{:.1} MiB of {:.1} MiB", mib(taken), mib(limit)),
                from,
                to: self.memory.step(),
                now: steps::of_memory(self.memory.step()),
            });
        }
        let step = self.memory.step();
        if step > 0 {
            (self.give_back)();
        }
        let is_over = part >= 1.0;
        if is_over && step >= steps::IDLE {
            // What has become idle since.
            look.shed = Some(self.shed());
        }
        let is_recent = self.anew.is_some_and(|anew| now.since(anew) < ANEW_EVERY_NS);
        if is_over && step >= steps::ANEW && !is_recent {
            self.anew = Some(now);
            self.tally.begun_anew += 1;
            look.begins_anew = true;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests;
