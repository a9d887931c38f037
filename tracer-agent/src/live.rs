//! The live agent: what turns a kernel into the inputs of the core.
//!
//! In: probes, `/proc`, the clock. Out: the same [`Input`]s to the core and to the recording, spans to the exporters.
//! Kept true: the host comes first and the end last; a process is told before the first record that needs it;
//! every loss in the kernel is told before the end; the core cannot tell a live run from its recording.

mod changes;
mod feed;
mod selection;
mod stop;

use std::{collections::HashMap, io, os::fd::BorrowedFd, sync::Arc, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_common::{Loss, layout::Exe};

pub use changes::{Changing, Inbox};
pub use feed::{Core, Feed, Processes, Recorder, Tally};
pub use selection::{Groups, Judge, Programs};
pub use stop::Stop;

use crate::{
    capture::record::{Ask, Verdict},
    guard::{
        Guard, panics,
        watchdog::{Place, Pulse},
    },
    ids::BootNanos,
    metrics::Board,
    observe::{Event, Log},
    symbols::{Go, Runtime},
};

/// The kernel side, attached.
pub trait Probes {
    /// Readable when there are records.
    fn ring(&self) -> BorrowedFd<'_>;
    /// How many bytes of records there is room for.
    fn ring_bytes(&self) -> u32;
    /// Hands over at most `most` records; how many there were.
    fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize;
    /// What the kernel side has said of itself since that was asked for.
    fn said(&mut self) -> Vec<String>;
    /// Losses since the probes were attached, by cause.
    fn losses(&self) -> Vec<(Loss, u64)>;
    /// Those who waited when the probes were attached are no longer looked for.
    fn settle(&mut self);
    /// A process was judged; whether that changes anything. Who is selected by something else stays so unless excluded.
    ///
    /// # Errors
    /// When it cannot be remembered.
    fn judge(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool>;
    /// The same about a process of which the kernel side has asked; nothing if it has ended since.
    ///
    /// # Errors
    /// When it cannot be remembered.
    fn answer(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool>;
    /// A control group was judged: whoever is seen in it from now on is judged by it. Passed over, it is forgotten.
    ///
    /// # Errors
    /// When it cannot be remembered.
    fn place(&mut self, group: u64, verdict: Verdict) -> io::Result<()>;
    /// A program was judged: who runs it next is not asked about.
    ///
    /// # Errors
    /// When it cannot be remembered.
    fn learn(&mut self, exe: Exe, verdict: Verdict) -> io::Result<()>;
    /// A process that was passed over is to be judged anew when it is next seen.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    fn forget(&mut self, pid: u32) -> io::Result<()>;
    /// The processes that are known to be selected.
    fn selected(&self) -> Vec<u32>;
    /// The goroutines of a process are told apart from now on, and what its HTTP client hands on is followed.
    ///
    /// # Errors
    /// When they cannot be.
    fn follow(&mut self, pid: u32, go: &Go) -> io::Result<()>;
    /// What works in a process is told apart from now on, and which has what done by which.
    ///
    /// # Errors
    /// When it cannot be.
    fn tell_apart(&mut self, pid: u32, runtime: &Runtime) -> io::Result<()>;
    /// A process has ended, or runs another program.
    fn unfollow(&mut self, pid: u32);
    /// A process runs a new program, or is seen for the first time: what libraries of TLS it has is to be looked at.
    fn look(&mut self, pid: u32);
}

/// Records that are taken before time and losses are looked at again.
const BATCH: usize = 4096;
/// How long records are left to gather once some came. The kernel wakes the agent for a record that follows one that was taken
/// only, so that under load it wakes it once for so long and not once for each.
const GATHERED_NS: u64 = 1_000_000;
/// The ring that has room for what comes in that time; in a smaller one less is left to gather.
const GATHERED_BYTES: u64 = 256 << 10;
/// How often losses are told while there is something going on.
const LOSSES_EVERY_NS: u64 = 1_000_000_000;
/// How often where nothing is: a loss can come without a record.
const IDLE_LOSSES_EVERY_NS: u64 = 5_000_000_000;
/// How long a call may have been waiting when the probes were attached, and still be seen when it returns. Idle connections are
/// kept for a minute or so by most servers.
const SETTLED_AFTER_NS: u64 = 120_000_000_000;
/// Records that are still taken after the end was asked for: more than a ring holds, so that traffic that goes on
/// cannot keep the agent from ending.
const LAST_RECORDS: usize = 1 << 20;

/// A live run.
pub struct Live<'a, P, C, D> {
    probes: P,
    feed: Feed<'a, C, D>,
    /// Answers what the kernel side asks about processes.
    judge: Option<Judge<'a>>,
    /// Where what was counted is put, if anybody reads it.
    board: Option<&'a Board>,
    /// Control groups that come and go, and select or exclude.
    groups: Option<Box<dyn Groups + 'a>>,
    log: &'a Log,
    /// Takes what was asked for while it runs.
    changing: Option<Changing<'a, P, C>>,
    /// The clock of the records.
    clock: fn() -> BootNanos,
    /// When nobody is left who waited before; none after it has come.
    settles_at: Option<BootNanos>,
    /// Keeps within limits, if there are any.
    guard: Option<Guard<'a>>,
    pulse: Arc<Pulse>,
}

impl<'a, P: Probes, C: Core, D: Processes> Live<'a, P, C, D> {
    /// A run of these probes, on the clock of their records; `judge` answers what they ask.
    pub fn new(
        probes: P,
        feed: Feed<'a, C, D>,
        judge: Option<Judge<'a>>,
        log: &'a Log,
        clock: fn() -> BootNanos,
    ) -> Self {
        Self {
            probes,
            feed,
            judge,
            board: None,
            groups: None,
            log,
            changing: None,
            clock,
            settles_at: Some(clock().plus(SETTLED_AFTER_NS)),
            guard: None,
            pulse: Arc::default(),
        }
    }

    /// The same, which keeps within limits.
    #[must_use]
    pub fn guarded(self, guard: Option<Guard<'a>>) -> Self {
        Self { guard, ..self }
    }

    /// What tells a watchdog that it turns.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// The same, which is changed while it runs.
    pub fn changing(mut self, changing: Option<Changing<'a, P, C>>) -> Self {
        self.changing = changing;
        self
    }

    /// The same, which tells there what it counts, and that it goes on.
    #[must_use]
    pub fn told_on(self, board: Option<&'a Board>) -> Self {
        Self { board, ..self }
    }

    /// The same, with control groups that decide about processes.
    #[must_use]
    pub fn with_groups(mut self, groups: Option<impl Groups + 'a>) -> Self {
        self.groups = groups.map(|groups| Box::new(groups) as Box<dyn Groups>);
        self
    }

    /// Runs until `stop` says so, then flushes; what came of it, and whether it had to end early because the kernel
    /// side could no longer be asked. What was read until then is delivered in any case.
    pub fn run(mut self, stop: &Stop) -> (Tally, io::Result<()>) {
        let mut reported = LossReport::default();
        self.pulse.begin();
        self.follow_selected();
        let outcome = self.until(stop, &mut reported);
        self.pulse.end();
        let mut left = LAST_RECORDS;
        while left > 0 && self.take(BATCH) > 0 {
            left = left.saturating_sub(BATCH);
        }
        self.tell_losses(&mut reported);
        if let Some(guard) = &self.guard {
            self.feed.guarded(guard.tally());
        }
        (self.feed.end((self.clock)(), self.board), outcome)
    }

    fn until(&mut self, stop: &Stop, reported: &mut LossReport) -> io::Result<()> {
        let room = u64::from(self.probes.ring_bytes()).min(GATHERED_BYTES);
        let gathered = Duration::from_nanos(GATHERED_NS * room / GATHERED_BYTES);
        while !stop.is_asked() {
            let files = [
                Some(self.probes.ring()),
                Some(stop.asked()),
                self.feed.learnt(),
                self.groups.as_ref().map(|groups| groups.changed()),
                self.changing.as_ref().map(Changing::asked),
            ];
            self.pulse.at(Place::Waiting);
            wait(files.into_iter().flatten(), self.pause(reported))?;
            self.pulse.at(Place::Changing);
            if let Some(changing) = &mut self.changing {
                changing.take(&mut self.probes, self.feed.core(), &mut self.judge);
            }
            if let Some(groups) = &mut self.groups {
                selection::place(groups.as_mut(), &mut self.probes, self.log);
            }
            // Before the records that it is about.
            self.feed.learn();
            self.pulse.at(Place::Taking);
            let taken = self.take(BATCH);
            self.pulse.at(Place::Telling);
            let now = (self.clock)();
            self.feed.tick(now);
            self.keep_within_limits(now);
            if let Some(board) = self.board {
                board.turned(now);
            }
            if self.settles_at.is_some_and(|at| at <= now) {
                self.settles_at = None;
                self.probes.settle();
            }
            reported.pending |= taken > 0;
            if reported.due() <= now {
                self.pulse.at(Place::Counting);
                self.tell_losses(reported);
                self.log.catch_up();
            }
            if let Some(panic) = self.feed.broken() {
                return Err(io::Error::other(format!(
                    "the core has panicked {} times within a minute, at last: {panic}",
                    panics::BORNE + 1
                )));
            }
            let held_back = self.guard.as_mut().and_then(|guard| guard.pause((self.clock)()));
            match held_back {
                Some(held_back) => wait([stop.asked()], held_back)?,
                None if (1..BATCH).contains(&taken) => wait([stop.asked()], gathered)?,
                None => {}
            }
        }
        Ok(())
    }

    fn keep_within_limits(&mut self, now: BootNanos) {
        let Some(guard) = &mut self.guard else { return };
        let Some(look) = guard.look(now) else { return };
        self.feed.guarded(guard.tally());
        look.events.iter().for_each(|event| self.log.say(event));
        if let Some(shed) = look.shed {
            self.feed.shed(shed);
        }
        if look.begins_anew {
            self.log.say(&Event::DroppedForMemory);
            self.feed.begin_anew();
        }
        self.feed.deliver();
    }

    fn take(&mut self, most: usize) -> usize {
        let feed = &mut self.feed;
        let mut asked = Vec::new();
        let taken = self.probes.drain(most, &mut |record| match Ask::decode(record) {
            Some(ask) => asked.push(ask),
            None => feed.record(record),
        });
        if let Some(judge) = &self.judge {
            for ask in asked {
                judge.answer(&ask, &mut self.probes, self.log);
            }
        }
        for pid in self.feed.begun() {
            self.probes.look(pid);
        }
        for (pid, go) in self.feed.turned() {
            match go {
                Some(go) => self.follow(pid, &go),
                None => self.probes.unfollow(pid),
            }
        }
        for (pid, runtime) in self.feed.runtimes() {
            self.tell_apart(pid, &runtime);
        }
        self.feed.deliver();
        for line in self.probes.said() {
            self.log.say(&Event::Kernel(line));
        }
        taken
    }

    /// Those that were selected before the probes were attached: nothing tells of them before they do something.
    fn follow_selected(&mut self) {
        for pid in self.probes.selected() {
            self.probes.look(pid);
            if let Some(go) = self.feed.go(pid) {
                self.follow(pid, &go);
            }
            if let Some(runtime) = self.feed.runtime(pid) {
                self.tell_apart(pid, &runtime);
            }
        }
    }

    fn tell_apart(&mut self, pid: u32, runtime: &Runtime) {
        if let Err(error) = self.probes.tell_apart(pid, runtime) {
            let version = runtime.version();
            self.log.say(&Event::NotFollowed { pid, version, error });
        }
    }

    fn follow(&mut self, pid: u32, go: &Go) {
        if let Err(error) = self.probes.follow(pid, go) {
            let version = go.program.version.clone();
            self.log.say(&Event::NotFollowed { pid, version, error });
        }
    }

    fn look(&mut self) {
        if let Some(judge) = &self.judge {
            judge.look(&mut self.probes, self.log);
        }
    }

    /// How long nothing needs to be done if no record comes.
    fn pause(&self, reported: &LossReport) -> Duration {
        let now = (self.clock)();
        let deadline = self.feed.next_deadline().map(|deadline| deadline.since(now));
        let settles = self.settles_at.map(|at| at.since(now));
        let guarded = self.guard.as_ref().and_then(Guard::due).map(|due| due.since(now));
        let deadlines = [deadline, settles, guarded].into_iter().flatten();
        Duration::from_nanos(deadlines.fold(reported.due().since(now), u64::min))
    }

    fn tell_losses(&mut self, reported: &mut LossReport) {
        for (cause, total) in self.probes.losses() {
            let told = reported.told.entry(cause).or_default();
            let count = total.saturating_sub(*told);
            if count > 0 {
                *told = total;
                self.log.say(&Event::KernelLost { cause, count });
                self.feed.lost(cause, count);
                if cause == Loss::RingFull {
                    // A question may be among what was lost.
                    self.look();
                }
            }
        }
        self.feed.deliver();
        reported.pending = false;
        reported.last = (self.clock)();
        if let Some(board) = self.board {
            self.feed.publish(board, reported.last);
        }
    }
}

/// What of the kernel's loss counters the core was told.
#[derive(Default)]
struct LossReport {
    told: HashMap<Loss, u64>,
    /// When they were looked at last.
    last: BootNanos,
    /// Records came since.
    pending: bool,
}

impl LossReport {
    /// When they are to be looked at again.
    fn due(&self) -> BootNanos {
        self.last.plus(if self.pending {
            LOSSES_EVERY_NS
        } else {
            IDLE_LOSSES_EVERY_NS
        })
    }
}

/// Waits until one of these is readable, at most this long.
fn wait<'a>(files: impl IntoIterator<Item = BorrowedFd<'a>>, pause: Duration) -> io::Result<()> {
    let files = files.into_iter();
    let mut waited: Vec<_> = files
        .map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN))
        .collect();
    let pause = Timespec {
        tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: pause.subsec_nanos().into(),
    };
    match poll(&mut waited, Some(&pause)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
