//! Processes of which more may be known later: a pod whose container the kubelet has not told of yet, or an API that is away.
//!
//! In: processes as they are looked up, born and gone. Out: those that the catalogue knows more of than when they were last looked up.
//! Kept true: bounded; a child waits for what its parent waits for, since to the core it is what its parent is.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    catalog::{Catalog, Place},
    cgroup::Membership,
};

/// Processes that are waited for; past it one that comes is not, and counted.
const AWAITED_MAX: usize = 4096;

/// Those that are waited for.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    processes: Mutex<HashMap<u32, Awaited>>,
    /// Of the catalogue when it was last asked.
    version: AtomicU64,
}

#[derive(Clone, Debug)]
struct Awaited {
    membership: Membership,
    /// What was known of its place.
    known: Place,
}

impl Awaiting {
    /// There may be more to know of this process.
    pub(super) fn begin(&self, pid: u32, membership: Membership, known: Place, catalog: &Catalog) {
        self.insert(pid, Awaited { membership, known }, catalog);
    }

    /// Everything is known of it, or it is gone.
    pub(super) fn end(&self, pid: u32) {
        self.lock().remove(&pid);
    }

    /// A process made another.
    pub(super) fn forked(&self, parent: u32, child: u32, catalog: &Catalog) {
        let awaited = self.lock().get(&parent).cloned();
        if let Some(awaited) = awaited {
            self.insert(child, awaited, catalog);
        }
    }

    /// Those of which more is known now than before, in ascending order.
    pub(super) fn known_better(&self, catalog: &Catalog) -> Vec<u32> {
        let version = catalog.version();
        if self.version.swap(version, Ordering::AcqRel) == version {
            return Vec::new();
        }
        let mut better = Vec::new();
        for (pid, awaited) in self.lock().iter_mut() {
            let known = catalog.find(&awaited.membership);
            if known != awaited.known {
                awaited.known = known;
                better.push(*pid);
            }
        }
        better.sort_unstable();
        better
    }

    fn insert(&self, pid: u32, awaited: Awaited, catalog: &Catalog) {
        let mut processes = self.lock();
        if processes.len() < AWAITED_MAX || processes.contains_key(&pid) {
            processes.insert(pid, awaited);
        } else {
            catalog.counters().unawaited.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Awaited>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
