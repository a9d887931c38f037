//! What is known of pods and containers from outside of `/proc`: one table, shared by those who ask runtimes and APIs and those
//! who look processes up.
//!
//! In: pods and containers as their sources tell of them. Out: what is known of one place, and a word to whoever waits when there is
//! more. Kept true: each source is bounded, and what it has told last stays when it goes away.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

use super::{cgroup::Membership, docker::Described, kubernetes::Pod};

/// Pods of one node that are known; a kubelet runs 110 by default.
pub(super) const PODS_MAX: usize = 4096;
/// Containers of one runtime that are known.
pub(super) const CONTAINERS_MAX: usize = 8192;

/// The table.
#[derive(Debug)]
pub(super) struct Catalog {
    known: RwLock<Known>,
    /// How often something was learnt.
    version: AtomicU64,
    /// Readable when something was learnt.
    learnt: OwnedFd,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Known {
    pods: HashMap<String, Arc<Pod>>,
    /// Container id to the uid of its pod.
    pod_of: HashMap<String, String>,
    /// By the socket that told of them.
    containers: HashMap<&'static str, HashMap<String, Arc<Described>>>,
}

/// What could not be known, by cause.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Pods or containers past the bound.
    pub refused: AtomicU64,
    /// Objects that were too long, or not what they should be.
    pub malformed: AtomicU64,
    /// Requests that failed.
    pub failed: AtomicU64,
    /// Processes past the bound of those that more is waited for.
    pub unawaited: AtomicU64,
}

/// What is known of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its pod.
    pub pod: Option<Arc<Pod>>,
    /// Its container, as the runtime knows it.
    pub container: Option<Arc<Described>>,
}

impl Catalog {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            known: RwLock::default(),
            version: AtomicU64::new(0),
            learnt: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            counters: Counters::default(),
        })
    }

    /// What is known of the place of a process.
    pub(super) fn find(&self, place: &Membership) -> Place {
        let known = self.read();
        let id = place.container_id.as_deref();
        let by_id = || known.pods.get(known.pod_of.get(id?)?);
        let by_uid = place.pod_uid.as_ref().and_then(|uid| known.pods.get(uid));
        let mut containers = known.containers.values();
        Place {
            pod: by_uid.or_else(by_id).cloned(),
            container: id.and_then(|id| containers.find_map(|of_one| of_one.get(id)).cloned()),
        }
    }

    /// A pod is there, or has changed.
    pub(super) fn put_pod(&self, pod: Pod) {
        if self.write().put(pod) {
            self.tell();
        } else {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A pod is gone.
    pub(super) fn remove_pod(&self, uid: &str) {
        self.write().remove(uid);
    }

    /// These are all the pods there are.
    pub(super) fn replace_pods(&self, pods: Vec<Pod>) {
        let mut known = self.write();
        known.pods.clear();
        known.pod_of.clear();
        let put = pods.into_iter().map(|pod| known.put(pod));
        let refused = put.filter(|is_put| !is_put).count();
        drop(known);
        self.counters.refused.fetch_add(refused as u64, Ordering::Relaxed);
        self.tell();
    }

    /// These are all the containers that this source knows.
    pub(super) fn replace_containers(&self, source: &'static str, containers: Vec<Described>) {
        let refused = containers.len().saturating_sub(CONTAINERS_MAX);
        self.counters.refused.fetch_add(refused as u64, Ordering::Relaxed);
        let by_id = containers.into_iter().take(CONTAINERS_MAX);
        let by_id = by_id.map(|container| (container.id.clone(), Arc::new(container)));
        self.write().containers.insert(source, by_id.collect());
        self.tell();
    }

    /// A container is there, or is described otherwise.
    pub(super) fn put_container(&self, source: &'static str, container: Described) {
        let mut known = self.write();
        let of_source = known.containers.entry(source).or_default();
        if of_source.len() >= CONTAINERS_MAX && !of_source.contains_key(&container.id) {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        of_source.insert(container.id.clone(), Arc::new(container));
        drop(known);
        self.tell();
    }

    /// A container is gone.
    pub(super) fn remove_container(&self, source: &'static str, id: &str) {
        if let Some(of_source) = self.write().containers.get_mut(source) {
            of_source.remove(id);
        }
    }

    /// Pods and containers that are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let known = self.read();
        known.pods.len() + known.containers.values().map(HashMap::len).sum::<usize>()
    }

    /// Changes whenever something was learnt.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Readable when something was learnt since it was [quiet](Self::quieten).
    pub(super) fn learnt(&self) -> BorrowedFd<'_> {
        self.learnt.as_fd()
    }

    /// Whoever waited has heard.
    pub(super) fn quieten(&self) {
        let _ = rustix::io::read(&self.learnt, &mut [0; 8]);
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn tell(&self) {
        self.version.fetch_add(1, Ordering::Release);
        // A counter that is full is readable already.
        let _ = rustix::io::write(&self.learnt, &1_u64.to_ne_bytes());
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// False if there is no room for it.
    fn put(&mut self, pod: Pod) -> bool {
        self.remove(&pod.uid);
        if self.pods.len() >= PODS_MAX {
            return false;
        }
        let ids = pod
            .containers
            .iter()
            .filter_map(|container| container.id.as_ref());
        for (id, _) in ids {
            self.pod_of.insert(id.clone(), pod.uid.clone());
        }
        self.pods.insert(pod.uid.clone(), Arc::new(pod));
        true
    }

    fn remove(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        let ids = pod
            .containers
            .iter()
            .filter_map(|container| container.id.as_ref());
        for (id, _) in ids {
            if self.pod_of.get(id).is_some_and(|of| of == uid) {
                self.pod_of.remove(id);
            }
        }
    }
}

impl Counters {
    /// Each with its name.
    pub(super) fn named(&self) -> [(&'static str, u64); 4] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("places_refused", read(&self.refused)),
            ("objects_malformed", read(&self.malformed)),
            ("requests_failed", read(&self.failed)),
            ("processes_unawaited", read(&self.unawaited)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::kubernetes::Container;

    fn pod(uid: &str, ids: &[&str]) -> Pod {
        let containers = ids.iter().map(|id| Container {
            id: Some(((*id).to_owned(), None)),
            ..Container::default()
        });
        Pod {
            uid: uid.to_owned(),
            containers: containers.collect(),
            ..Pod::default()
        }
    }

    fn place(uid: Option<&str>, id: Option<&str>) -> Membership {
        Membership {
            pod_uid: uid.map(str::to_owned),
            container_id: id.map(str::to_owned),
            ..Membership::default()
        }
    }

    fn found(catalog: &Catalog, uid: Option<&str>, id: Option<&str>) -> Option<String> {
        Some(catalog.find(&place(uid, id)).pod?.uid.clone())
    }

    #[test]
    fn a_pod_is_found_by_its_uid_and_by_each_of_its_containers_until_it_is_gone() {
        let catalog = Catalog::new().unwrap();
        catalog.put_pod(pod("a", &["1", "2"]));
        catalog.put_pod(pod("b", &["3"]));
        assert_eq!(found(&catalog, Some("a"), None).as_deref(), Some("a"));
        assert_eq!(found(&catalog, None, Some("2")).as_deref(), Some("a"));
        assert_eq!(found(&catalog, Some("x"), Some("3")).as_deref(), Some("b"));
        catalog.put_pod(pod("a", &["1"]));
        assert_eq!(found(&catalog, None, Some("2")), None, "that container is gone");
        catalog.remove_pod("a");
        assert_eq!(found(&catalog, Some("a"), Some("1")), None);
        catalog.replace_pods(vec![pod("c", &["4"])]);
        assert_eq!(found(&catalog, Some("b"), Some("3")), None);
        assert_eq!(found(&catalog, None, Some("4")).as_deref(), Some("c"));
    }

    #[test]
    fn past_the_bound_pods_are_refused_and_counted_and_known_ones_still_change() {
        let catalog = Catalog::new().unwrap();
        let all = (0..PODS_MAX + 3).map(|number| pod(&number.to_string(), &[]));
        catalog.replace_pods(all.collect());
        assert_eq!(catalog.len(), PODS_MAX);
        catalog.put_pod(pod("one more", &[]));
        catalog.put_pod(pod("0", &["1"]));
        assert_eq!(found(&catalog, None, Some("1")).as_deref(), Some("0"));
        assert_eq!(catalog.counters().named()[0], ("places_refused", 4));
    }

    #[test]
    fn whoever_waits_hears_of_what_is_learnt_once() {
        let catalog = Catalog::new().unwrap();
        let is_readable = || {
            let mut waited = [rustix::event::PollFd::from_borrowed_fd(
                catalog.learnt(),
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut waited, Some(&rustix::event::Timespec::default())).unwrap() == 1
        };
        assert!(!is_readable());
        let before = catalog.version();
        catalog.put_pod(pod("a", &[]));
        assert!(is_readable() && catalog.version() > before);
        catalog.quieten();
        assert!(!is_readable());
    }
}
