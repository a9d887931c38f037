//! What changes while a run goes on: asked for from any thread, done by the one that runs, between two records.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::event::{EventfdFlags, eventfd};

use super::Judge;

/// The newest of what was asked for and not taken yet: it is whole, so what came before does not matter any more.
#[derive(Debug)]
pub struct Inbox<T> {
    newest: Arc<Mutex<Option<T>>>,
    wake: Arc<OwnedFd>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self {
            newest: Arc::clone(&self.newest),
            wake: Arc::clone(&self.wake),
        }
    }
}

impl<T> Inbox<T> {
    /// Nothing is asked for.
    ///
    /// # Errors
    /// When the agent may open no more files.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            newest: Arc::default(),
            wake: Arc::new(wake),
        })
    }

    /// Asks for this, and no more for what was asked for before.
    pub fn ask(&self, asked: T) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        // A counter that is full is readable too.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// What is asked for.
    pub fn take(&self) -> Option<T> {
        // Nothing to read is what there mostly is.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Readable when something is.
    pub fn asked(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What is done by the thread that runs.
type Apply<'a, P, C> = Box<dyn FnMut(&mut P, &mut C, &mut Option<Judge<'a>>) + 'a>;

/// How a run is changed.
pub struct Changing<'a, P, C> {
    wake: Arc<OwnedFd>,
    apply: Apply<'a, P, C>,
}

impl<'a, P, C> Changing<'a, P, C> {
    /// What is asked for in `inbox` is done by `apply`.
    pub fn new<T: 'a>(
        inbox: Inbox<T>,
        mut apply: impl FnMut(T, &mut P, &mut C, &mut Option<Judge<'a>>) + 'a,
    ) -> Self {
        Self {
            wake: Arc::clone(&inbox.wake),
            apply: Box::new(move |probes, core, judge| {
                if let Some(asked) = inbox.take() {
                    apply(asked, probes, core, judge);
                }
            }),
        }
    }

    /// Readable when something is asked for.
    pub(super) fn asked(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Does what is asked for, if anything is.
    pub(super) fn take(&mut self, probes: &mut P, core: &mut C, judge: &mut Option<Judge<'a>>) {
        (self.apply)(probes, core, judge);
    }
}
