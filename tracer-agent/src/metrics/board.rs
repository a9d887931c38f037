//! Where the core's side leaves what it has counted, and others read it: the one place that both touch.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Family, own, process};
use crate::{export::Report, ids::BootNanos};

/// A turn of the core's loop takes at most 5 s, even where nothing comes (`live`).
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Says what became of the spans so far.
pub type Reporter = Box<dyn Fn() -> Report + Send + Sync>;

/// What the core's loop tells, and those who answer for the agent read.
pub struct Board {
    clock: fn() -> BootNanos,
    started: BootNanos,
    /// Since when counters count, where they do not say themselves.
    started_unix_ns: u64,
    turned_ns: AtomicU64,
    is_ready: AtomicBool,
    families: Mutex<Arc<Vec<Family>>>,
    reporter: OnceLock<Reporter>,
}

/// What is told to who asks.
pub struct Told {
    /// What the core's loop has told last.
    pub published: Arc<Vec<Family>>,
    /// What is read in this moment.
    pub own: Vec<Family>,
}

impl Told {
    /// All of it.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.published.iter().chain(&self.own)
    }
}

impl Board {
    /// An agent that has just started and traces nothing yet. `clock` is that of the core's loop.
    pub fn new(clock: fn() -> BootNanos, started_unix_ns: u64) -> Self {
        let started = clock();
        Self {
            clock,
            started,
            started_unix_ns,
            turned_ns: AtomicU64::new(started.0),
            is_ready: AtomicBool::new(false),
            families: Mutex::default(),
            reporter: OnceLock::new(),
        }
    }

    /// The core's loop has turned.
    pub fn turned(&self, now: BootNanos) {
        self.turned_ns.store(now.0, Relaxed);
    }

    /// The probes are attached: from here on nothing is missed.
    pub fn ready(&self) {
        self.turned((self.clock)());
        self.is_ready.store(true, Relaxed);
    }

    /// Who can say what became of the spans; the first that is named.
    pub fn ask_for_exports(&self, reporter: Reporter) {
        let _ = self.reporter.set(reporter);
    }

    /// Puts what was counted in the place of what was told before.
    pub fn publish(&self, families: Vec<Family>) {
        let families = Arc::new(families);
        let before = std::mem::replace(
            &mut *self.families.lock().unwrap_or_else(PoisonError::into_inner),
            families,
        );
        // Freed without the lock, if nobody reads it.
        drop(before);
    }

    /// Everything that can be told now.
    pub fn told(&self) -> Told {
        let published = Arc::clone(&self.families.lock().unwrap_or_else(PoisonError::into_inner));
        let up = Duration::from_nanos((self.clock)().since(self.started));
        let mut own = own::of_process(process::usage(), up);
        if let Some(reporter) = self.reporter.get() {
            own.extend(own::of_exporters(&reporter()));
        }
        Told { published, own }
    }

    /// Since when counters count that do not say themselves.
    pub fn started_unix_ns(&self) -> u64 {
        self.started_unix_ns
    }

    /// The process works: its loop has turned lately, or it is still on its way to the first turn.
    ///
    /// # Errors
    /// How long it has not.
    pub fn health(&self) -> Result<(), Duration> {
        let still = Duration::from_nanos((self.clock)().since(BootNanos(self.turned_ns.load(Relaxed))));
        // To attach takes what it takes.
        if self.is_ready() && still > STUCK_AFTER {
            Err(still)
        } else {
            Ok(())
        }
    }

    /// The probes are attached.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Relaxed)
    }
}
