//! Whether the loop of the core turns, looked at by a thread that does nothing else.
//!
//! ```text
//! turns ── not for 10 s ──▶ said, with where it is ── it turns ──▶ said
//!                             └─ not for as long as was asked for ──▶ the agent is aborted, so that whoever started it starts it again
//! ```
//! It counts its own looks at a loop that stands still, not the time: where the whole process, or the whole machine, was stopped for an
//! hour, it was stopped too. It begins when the loop does, and ends with it.

use std::{
    fs, io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::gettid;

use crate::observe::{Event, Log};

/// From when on it is said; a turn takes at most 5 s, even where nothing comes (`live`).
const SAID_AFTER: Duration = Duration::from_secs(10);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

macro_rules! places {
    ($($(#[$doc:meta])+ $place:ident = $words:literal,)+) => {
        /// What the loop does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Place { $($(#[$doc])+ $place,)+ }

        const PLACES: &[&str] = &[$($words),+];
    };
}

places! {
    /// It waits for records or the time.
    Waiting = "waiting for records",
    /// It does what it was asked for meanwhile.
    Changing = "changing what is traced",
    /// It takes records, makes spans of them and hands them over.
    Taking = "taking records",
    /// It tells the core the time.
    Telling = "telling the time",
    /// It tells losses, and puts on the board what was counted.
    Counting = "telling what was lost and counted",
}

/// What the loop says of itself.
#[derive(Debug, Default)]
pub struct Pulse {
    turns: AtomicU64,
    place: AtomicU8,
    thread: AtomicU32,
    is_over: AtomicBool,
}

impl Pulse {
    /// The loop begins, in this thread.
    pub fn begin(&self) {
        let thread = gettid().as_raw_nonzero().get().unsigned_abs();
        self.thread.store(thread, Relaxed);
    }

    /// The loop is there now.
    pub fn at(&self, place: Place) {
        self.place.store(place as u8, Relaxed);
        if place == Place::Waiting {
            self.turns.fetch_add(1, Relaxed);
        }
    }

    /// The loop has ended.
    pub fn end(&self) {
        self.is_over.store(true, Relaxed);
    }
}

/// What is done about a loop that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// The agent is aborted after so long; never where there is none.
    pub aborts_after: Option<Duration>,
    /// Somebody is told this often that it turns.
    pub tells_every: Option<Duration>,
}

/// What the watchdog does now.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    SaysItHangs,
    SaysItTurns,
    Aborts,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    turns: u64,
    still: Duration,
    is_said: bool,
}

impl Seen {
    /// A look after so long, at which the loop had turned so often.
    fn look(&mut self, turns: u64, elapsed: Duration, aborts_after: Option<Duration>) -> Act {
        if turns != self.turns {
            (self.turns, self.still) = (turns, Duration::ZERO);
            return if std::mem::take(&mut self.is_said) {
                Act::SaysItTurns
            } else {
                Act::Nothing
            };
        }
        // A longer while than it asked for it was not there either.
        self.still += elapsed.min(2 * EVERY);
        if aborts_after.is_some_and(|after| self.still >= after) {
            return Act::Aborts;
        }
        if self.still >= SAID_AFTER && !self.is_said {
            self.is_said = true;
            return Act::SaysItHangs;
        }
        Act::Nothing
    }
}

impl Watchdog {
    /// Watches the loop until it ends. `begin` is the first that its thread does; `alive` tells whoever wants to know that it turns.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn watch(
        self,
        pulse: &Arc<Pulse>,
        log: &Arc<Log>,
        begin: fn(),
        alive: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let (pulse, log) = (Arc::clone(pulse), Arc::clone(log));
        let every = self.tells_every.map_or(EVERY, |tells| EVERY.min(tells / 2));
        let body = move || {
            begin();
            let mut seen = Seen::default();
            let (mut looked, mut told) = (now(), None::<Instant>);
            while !pulse.is_over.load(Relaxed) {
                thread::sleep(every);
                let elapsed = looked.elapsed();
                looked = now();
                let turns = pulse.turns.load(Relaxed);
                let act = seen.look(turns, elapsed, self.aborts_after);
                let where_it_is = |seen: &Seen| Event::Hangs {
                    still: seen.still,
                    place: PLACES
                        .get(usize::from(pulse.place.load(Relaxed)))
                        .copied()
                        .unwrap_or_default(),
                    thread: describe(pulse.thread.load(Relaxed)),
                    is_end: act == Act::Aborts,
                };
                match act {
                    _ if pulse.is_over.load(Relaxed) => return,
                    Act::Nothing => {}
                    Act::SaysItHangs => log.say(&where_it_is(&seen)),
                    Act::SaysItTurns => log.say(&Event::TurnsAgain),
                    Act::Aborts => {
                        log.say_at_last(&where_it_is(&seen));
                        process::abort();
                    }
                }
                if let Some(tells) = self.tells_every
                    && seen.still < SAID_AFTER
                    && told.is_none_or(|told| told.elapsed() >= tells)
                {
                    told = Some(now());
                    alive();
                }
            }
        };
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(body)
            .map(drop)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it measures how long it slept itself; nothing in the core sees it"
)]
fn now() -> Instant {
    Instant::now()
}

/// A thread of this process, as the kernel sees it: what it runs, or what it waits for.
fn describe(thread: u32) -> String {
    let read =
        |file: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let state = match state {
        Some("R") => "runs",
        Some("S") => "waits",
        Some("D") => "waits in the kernel and cannot be interrupted",
        Some("T" | "t") => "is stopped",
        _ => "is gone",
    };
    match read("wchan").trim() {
        "" | "0" => format!("thread {thread} {state}"),
        place => format!("thread {thread} {state} in {place}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::{
        config::values::{Level, LogFormat},
        guard::panics::tests::{alone, is_alone},
    };

    const AFTER: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn a_loop_that_stands_still_is_told_once_and_ends_the_agent_later() {
        let mut seen = Seen::default();
        let acts: Vec<_> = (0..60).map(|_| seen.look(0, EVERY, AFTER)).collect();
        assert_eq!(acts.iter().filter(|act| **act == Act::SaysItHangs).count(), 1);
        assert_eq!((&acts[9], &acts[59]), (&Act::SaysItHangs, &Act::Aborts));
        assert!(!acts[..59].contains(&Act::Aborts));
        let mut seen = Seen::default();
        assert!((0..10_000).all(|_| seen.look(0, EVERY, None) != Act::Aborts));
    }

    #[test]
    fn a_loop_that_turns_again_is_told_and_begins_with_nothing() {
        let mut seen = Seen::default();
        assert!((0..30).all(|_| seen.look(0, EVERY, AFTER) != Act::SaysItTurns));
        assert_eq!(seen.look(1, EVERY, AFTER), Act::SaysItTurns);
        assert_eq!(seen.look(2, EVERY, AFTER), Act::Nothing);
        assert!((0..9).all(|_| seen.look(2, EVERY, AFTER) == Act::Nothing));
    }

    /// As after SIGSTOP and SIGCONT, or where a machine was suspended.
    #[test]
    fn an_hour_in_which_everything_was_stopped_is_no_hour() {
        let mut seen = Seen::default();
        assert_eq!(seen.look(0, Duration::from_secs(3600), AFTER), Act::Nothing);
        assert_eq!(seen.look(1, EVERY, AFTER), Act::Nothing);
    }

    /// In a process of its own: its loop begins, and never turns.
    #[test]
    fn an_agent_that_hangs_says_where_and_is_aborted() {
        let (status, said) = alone("guard::watchdog::tests::hangs_alone");
        assert_eq!(status.signal(), Some(6), "{said}");
        let line = said.lines().find(|line| line.starts_with("tracer-agent: "));
        let line = line.unwrap_or_default();
        let expected = "tracer-agent: error: the agent is aborted: the core has stood still for 2 s, taking records: thread ";
        assert!(line.starts_with(expected) && line.contains(" waits"), "{said}");
    }

    #[test]
    fn hangs_alone() {
        if is_alone() {
            let pulse = Arc::new(Pulse::default());
            let log = Arc::new(Log::to_stderr(Level::Error, LogFormat::Text));
            let watchdog = Watchdog {
                aborts_after: Some(2 * EVERY),
                tells_every: None,
            };
            pulse.begin();
            pulse.at(Place::Taking);
            watchdog.watch(&pulse, &log, || (), || ()).unwrap();
            thread::sleep(Duration::from_secs(60));
        }
    }

    #[test]
    fn whoever_wants_to_know_is_told_that_it_turns_until_it_ends() {
        let (pulse, told) = (Arc::new(Pulse::default()), Arc::new(AtomicU64::new(0)));
        let log = Arc::new(Log::new(Level::Error, io::sink()));
        let watchdog = Watchdog {
            aborts_after: None,
            tells_every: Some(Duration::from_millis(20)),
        };
        let telling = Arc::clone(&told);
        let alive = move || {
            telling.fetch_add(1, Relaxed);
        };
        watchdog.watch(&pulse, &log, || (), alive).unwrap();
        while told.load(Relaxed) < 3 {
            thread::sleep(Duration::from_millis(5));
        }
        pulse.end();
        // The thread ends, and what it holds with it.
        while Arc::strong_count(&told) > 1 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_thread_is_described_by_what_the_kernel_knows() {
        let this = gettid().as_raw_nonzero().get().unsigned_abs();
        assert_eq!(describe(this), format!("thread {this} runs"));
        assert!(describe(0).ends_with("is gone"));
    }
}
