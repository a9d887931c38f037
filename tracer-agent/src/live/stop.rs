//! The word to end: asked for from any thread, waited for together with the records.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// Asks a live run to end; every clone asks the same run.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

impl Stop {
    /// Not asked for yet.
    ///
    /// # Errors
    /// When the agent may open no more files.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            asked: Arc::default(),
            wake: Arc::new(wake),
        })
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.asked.store(true, SeqCst);
        // The counter is never read, so it is readable for good after the first word; a full one is readable too.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// The end was asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.load(SeqCst)
    }

    /// Readable once the end was asked for.
    pub fn asked(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
