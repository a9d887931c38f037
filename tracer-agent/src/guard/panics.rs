//! What a panic costs. One in the core costs the core what it holds: it is caught, said and counted, and the core begins anew. Any other
//! ends the agent, with a word and a status that a supervisor sees: of a task that is not there any more nobody would know.
//!
//! ```text
//! panic ── within `caught` ──▶ unwinds, given back as `Panic`
//!     └── anywhere else ── an agent runs (`end_agent_at_others`) ──▶ said, and aborted: the kernel takes the probes away
//!                       └── a test, or a tool ──▶ as it was before
//! ```
//!
//! Kept true: nothing that came from outside is said. A text that the program was written with is said whole; one that was made when it
//! panicked may quote what was being read, and is said up to its first quotation mark.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    process,
    sync::{Arc, Once, OnceLock},
    thread,
};

use crate::{
    ids::BootNanos,
    observe::{Event, Log},
};

/// Panics of the core within [`WITHIN_NS`] that are borne; one more ends the agent.
pub const BORNE: usize = 5;
/// See [`BORNE`].
pub const WITHIN_NS: u64 = 60_000_000_000;

/// A panic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panic {
    /// What it says, as far as that can hold nothing from outside.
    pub message: String,
    /// File and line.
    pub place: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {}", self.message, self.place)
    }
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        Self {
            message: message(info.payload()),
            place: info.location().map_or_else(
                || "an unknown place".to_owned(),
                |place| format!("{}:{}", place.file(), place.line()),
            ),
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(written) = payload.downcast_ref::<&'static str>() {
        return (*written).to_owned();
    }
    let made = payload.downcast_ref::<String>().map_or("", String::as_str);
    let end = made.find(['`', '"', '\'', '\n']).unwrap_or(made.len());
    let (safe, rest) = made.split_at(end);
    format!("{safe}{}", if rest.is_empty() { "" } else { "…" })
}

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();
static LOG: OnceLock<Arc<Log>> = OnceLock::new();

/// Runs something that is thrown away if it panics; does not nest.
///
/// # Errors
/// The panic.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    HOOK.call_once(hook);
    IS_CAUGHT.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(false);
    outcome.map_err(|payload| {
        let known = LAST.with_borrow_mut(Option::take);
        known.unwrap_or_else(|| Panic {
            message: message(&*payload),
            ..Panic::default()
        })
    })
}

/// From here on a panic that nobody catches ends the agent; it is said there.
pub fn end_agent_at_others(log: &Arc<Log>) {
    // The first agent of a process is its only one.
    let _ = LOG.set(Arc::clone(log));
    HOOK.call_once(hook);
}

/// The log of the agent, once one runs.
pub fn log() -> Option<&'static Log> {
    LOG.get().map(Arc::as_ref)
}

fn hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if IS_CAUGHT.get() {
            LAST.set(Some(Panic::of(info)));
        } else if let Some(log) = LOG.get() {
            let thread = thread::current().name().unwrap_or("without a name").to_owned();
            log.say_at_last(&Event::Panicked {
                thread,
                panic: Panic::of(info),
            });
            process::abort();
        } else {
            before(info);
        }
    }));
}

/// How often the core has panicked.
#[derive(Debug, Default)]
pub struct Borne {
    recent: Vec<BootNanos>,
    total: u64,
}

impl Borne {
    /// One more; whether it is borne.
    pub fn bears(&mut self, now: BootNanos) -> bool {
        self.total += 1;
        self.recent.retain(|at| now.since(*at) < WITHIN_NS);
        self.recent.push(now);
        self.recent.len() <= BORNE
    }

    /// All there were.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{env, os::unix::process::ExitStatusExt as _, process::Command};

    use super::*;
    use crate::config::values::{Level, LogFormat};

    const ALONE: &str = "TRACER_TEST_ALONE";

    /// Whether this test was started by [`alone`].
    pub fn is_alone() -> bool {
        env::var_os(ALONE).is_some()
    }

    /// Runs a test in a process of its own: how that ends, and what it says.
    pub fn alone(test: &str) -> (process::ExitStatus, String) {
        let output = Command::new("sh")
            .args(["-c", "ulimit -c 0; exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        (
            output.status,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    #[test]
    fn a_panic_that_is_caught_says_what_and_where() {
        let panic = caught(|| panic!("a text that is written here")).unwrap_err();
        assert_eq!(panic.message, "a text that is written here");
        assert!(panic.place.contains("panics.rs:"), "{panic}");
        assert_eq!(caught(|| 3), Ok(3));
    }

    #[test]
    fn what_came_from_outside_is_not_said() {
        let came = String::from("sécret=hunter2");
        let panic = caught(|| came.split_at(2).1.len()).unwrap_err();
        assert!(!panic.to_string().contains("hunter2"), "{panic}");
        let panic = caught(|| came.parse::<u32>().unwrap()).unwrap_err();
        assert!(!panic.to_string().contains("hunter2"), "{panic}");
        let panic = caught(|| assert_eq!(came, "other")).unwrap_err();
        assert!(!panic.to_string().contains("hunter2"), "{panic}");
        let (numbers, place) = (vec![1, 2], came.len());
        let panic = caught(|| numbers[place]).unwrap_err();
        assert!(
            panic.message.contains("the len is 2 but the index is 15"),
            "{panic}"
        );
    }

    /// In a process of its own, which has another end.
    #[test]
    fn a_panic_that_nobody_catches_is_said_and_ends_the_agent() {
        let (status, said) = alone("guard::panics::tests::ends_alone");
        assert_eq!(status.signal(), Some(6), "{said}");
        let line = said.lines().find(|line| line.starts_with("tracer-agent: "));
        let expected = "tracer-agent: error: thread a-task has panicked, so the agent ends: called …";
        assert!(line.is_some_and(|line| line.starts_with(expected)), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn ends_alone() {
        if is_alone() {
            end_agent_at_others(&Arc::new(Log::to_stderr(Level::Error, LogFormat::Text)));
            let task = || {
                String::from("hunter2")
                    .parse::<std::net::IpAddr>()
                    .map_err(|_| "hunter2")
                    .unwrap()
            };
            let task = thread::Builder::new().name("a-task".into()).spawn(task);
            let _ = task.unwrap().join();
        }
    }

    #[test]
    fn so_many_in_a_minute_are_borne_and_no_more() {
        let second = |second: u64| BootNanos(second * 1_000_000_000);
        let mut borne = Borne::default();
        assert!((0..5).all(|at| borne.bears(second(at))));
        assert!(!borne.bears(second(59)));
        assert!(borne.bears(second(100)) && borne.bears(second(101)));
        assert_eq!(borne.total(), 8);
    }
}
