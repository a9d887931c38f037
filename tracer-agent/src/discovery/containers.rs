//! Which control groups are those of containers that a selection names, now and as they come and go.
//!
//! In: a hierarchy of control groups, watched from its root (inotify tells of every group as it is made, before anything runs in it), and
//! the catalogue, where names are. Out: a verdict for each such group, once. Kept true: a group whose name nobody knows yet is
//! judged when it is known; the watch is bounded, and what is beyond it counted.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    mem::{self, MaybeUninit},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::{Discovery, Glob, Hierarchy, catalog::Place, cgroup::Membership};
use crate::capture::record::Verdict;

/// Control groups that are watched.
const WATCHED_MAX: usize = 16_384;
/// Groups in each other.
const DEPTH_MAX: usize = 32;
/// What begins like an id is one from this length on; a name may be `cafe`.
const ID_MIN: usize = 6;

/// Which containers a selection is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patterns<'a> {
    /// By name, or by the beginning of an id.
    pub selected: &'a [Glob],
    /// These not.
    pub excluded: &'a [Glob],
}

impl Patterns<'_> {
    /// No container is meant.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty() && self.excluded.is_empty()
    }

    fn verdict(&self, membership: &Membership, place: &Place) -> Verdict {
        let is_one = |patterns: &[Glob]| patterns.iter().any(|pattern| is(pattern, membership, place));
        if is_one(self.excluded) {
            Verdict::Excluded
        } else if is_one(self.selected) {
            Verdict::Selected
        } else {
            Verdict::Passed
        }
    }
}

/// Whether a container is what a pattern says: its id begins so, or it has such a name. In a pod it is called `container`,
/// `pod/container` and `namespace/pod/container`.
fn is(pattern: &Glob, membership: &Membership, place: &Place) -> bool {
    let text = pattern.pattern();
    let is_id = text.len() >= ID_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = membership.container_id.as_deref();
    if is_id && id.is_some_and(|id| id.starts_with(&text.to_ascii_lowercase())) {
        return true;
    }
    let described = place.container.as_deref();
    let named = described.and_then(|described| described.name.as_deref());
    let named = named.or(membership.container_name.as_deref());
    if named.is_some_and(|name| pattern.matches(name)) {
        return true;
    }
    let Some(pod) = place.pod.as_deref() else {
        return false;
    };
    pod.container(id).is_some_and(|container| {
        let name = &container.name;
        // As many parts as the pattern has: its stars stand for slashes too.
        match text.matches('/').count() {
            0 => pattern.matches(name),
            1 => pattern.matches(&format!("{}/{name}", pod.name)),
            _ => pattern.matches(&format!("{}/{}/{name}", pod.namespace, pod.name)),
        }
    })
}

/// A group that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: u64,
    /// What becomes of processes in it; passed over once it is gone.
    pub verdict: Verdict,
    path: String,
}

impl Group {
    /// A group with this id, at a path below the root of its hierarchy.
    pub fn new(id: u64, verdict: Verdict, path: impl Into<String>) -> Self {
        Self {
            id,
            verdict,
            path: path.into(),
        }
    }
}

/// The groups of containers.
#[derive(Debug)]
pub struct Containers<'a> {
    discovery: &'a Discovery,
    patterns: Patterns<'a>,
    hierarchy: Hierarchy,
    watch: OwnedFd,
    /// Watch to the path that it is of, below the root.
    watched: HashMap<i32, String>,
    /// The container that a path is of.
    known: BTreeMap<String, Known>,
    judged: Vec<Group>,
    version: u64,
    unwatched: u64,
}

#[derive(Debug)]
struct Known {
    id: u64,
    membership: Membership,
    is_judged: bool,
}

impl<'a> Containers<'a> {
    /// Watches a hierarchy.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn new(discovery: &'a Discovery, hierarchy: &Hierarchy, patterns: Patterns<'a>) -> io::Result<Self> {
        let mut containers = Self {
            discovery,
            patterns,
            hierarchy: hierarchy.clone(),
            watch: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            watched: HashMap::new(),
            known: BTreeMap::new(),
            judged: Vec::new(),
            version: discovery.version(),
            unwatched: 0,
        };
        containers.add(String::new());
        Ok(containers)
    }

    /// Readable when groups came or went.
    pub fn changed(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Groups that were judged since that was asked for.
    pub fn judged(&mut self) -> Vec<Group> {
        self.read();
        let version = self.discovery.version();
        if mem::replace(&mut self.version, version) != version {
            let open: Vec<_> = self.known.iter().filter(|(_, known)| !known.is_judged).collect();
            let paths: Vec<_> = open.into_iter().map(|(path, _)| path.clone()).collect();
            paths.iter().for_each(|path| self.judge(path));
        }
        mem::take(&mut self.judged)
    }

    /// The processes that are in a group, or below it.
    pub fn members(&self, group: &Group) -> Vec<u32> {
        let events = fs::read_to_string(self.hierarchy.path().join(&group.path).join("cgroup.events"));
        if events.is_ok_and(|events| events.lines().any(|line| line == "populated 0")) {
            return Vec::new();
        }
        let is_in = |pid: &u32| {
            let path = self.discovery.cgroup(*pid, self.hierarchy.controller());
            path.is_some_and(|path| Path::new(path.trim_start_matches('/')).starts_with(&group.path))
        };
        self.discovery.pids().into_iter().filter(is_in).collect()
    }

    /// Groups that are not watched, for there are too many.
    pub fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// Takes in a group and all below it.
    fn add(&mut self, path: String) {
        let mut left = vec![path];
        while let Some(path) = left.pop() {
            let place = self.hierarchy.path().join(&path);
            if self.watched.len() >= WATCHED_MAX || path.split('/').count() > DEPTH_MAX {
                self.unwatched += 1;
                continue;
            }
            // Watched before it is looked at, so that nothing comes about in between.
            let events = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.watch, &place, events) {
                Ok(watch) => self.watched.insert(watch, path.clone()),
                // Gone again.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(_) => {
                    self.unwatched += 1;
                    continue;
                }
            };
            if let (Some(membership), Ok(about)) = (container(&path), fs::metadata(&place)) {
                let known = Known {
                    id: about.ino(),
                    membership,
                    is_judged: false,
                };
                self.known.insert(path.clone(), known);
                self.judge(&path);
            }
            let below = fs::read_dir(&place).into_iter().flatten().flatten();
            let groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(groups.filter_map(|entry| Some(joined(&path, entry.file_name().to_str()?))));
        }
    }

    fn judge(&mut self, path: &str) {
        let Some(known) = self.known.get_mut(path) else {
            return;
        };
        let place = self.discovery.place(&known.membership);
        let verdict = self.patterns.verdict(&known.membership, &place);
        if verdict != Verdict::Passed && !known.is_judged {
            known.is_judged = true;
            self.judged.push(Group::new(known.id, verdict, path));
        }
    }

    /// Takes in what was told of the hierarchy.
    fn read(&mut self) {
        let mut room = [MaybeUninit::uninit(); 8192];
        let mut told = Vec::new();
        let mut is_overrun = false;
        let mut reader = inotify::Reader::new(&self.watch, &mut room);
        while let Ok(event) = reader.next() {
            is_overrun |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event
                .file_name()
                .and_then(|name| name.to_str().ok())
                .map(str::to_owned);
            told.push((event.wd(), event.events(), name));
            // The rest is taken the next time.
            if told.len() >= WATCHED_MAX {
                break;
            }
        }
        for (watch, events, name) in told {
            if events.contains(ReadFlags::IGNORED) {
                self.watched.remove(&watch);
                continue;
            }
            let (Some(above), Some(name)) = (self.watched.get(&watch), name) else {
                continue;
            };
            let path = joined(above, &name);
            if events.contains(ReadFlags::CREATE | ReadFlags::ISDIR) {
                self.add(path);
            } else if events.contains(ReadFlags::DELETE) {
                self.remove(&path);
            }
        }
        if is_overrun {
            let gone = |path: &&String| !self.hierarchy.path().join(path).exists();
            let gone: Vec<_> = self.known.keys().filter(gone).cloned().collect();
            gone.iter().for_each(|path| self.remove(path));
            self.add(String::new());
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some(known) = self.known.remove(path)
            && known.is_judged
        {
            self.judged.push(Group::new(known.id, Verdict::Passed, path));
        }
    }
}

/// What the selection says of a process by the containers that it is in; containers may be in each other.
pub(super) fn verdict(discovery: &Discovery, path: &str, patterns: Patterns<'_>) -> Verdict {
    let path = path.trim_start_matches('/');
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let paths = ends.filter_map(|end| path.get(..end));
    paths
        .filter_map(container)
        .map(|membership| patterns.verdict(&membership, &discovery.place(&membership)))
        .fold(Verdict::Passed, Verdict::and)
}

/// The container that this group is of: not one that merely contains it.
fn container(path: &str) -> Option<Membership> {
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let (membership, around) = (Membership::of_path(path), Membership::of_path(above));
    let is_new =
        membership.container_id != around.container_id || membership.container_name != around.container_name;
    (membership.is_contained() && is_new).then_some(membership)
}

fn joined(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_owned()
    } else {
        format!("{above}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::discovery::{
        catalog::Catalog,
        docker::Described,
        kubernetes::{Container, Pod},
    };

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob::new(*pattern)).collect()
    }

    /// A discovery that knows of containers.
    fn discovery() -> (Discovery, Arc<Catalog>) {
        let catalog = Arc::new(Catalog::new().unwrap());
        let mut discovery = Discovery::new("/proc".into());
        discovery.catalog = Some(Arc::clone(&catalog));
        (discovery, catalog)
    }

    fn described(name: &str) -> Described {
        let json = format!(r#"{{"Id":"{ID}","Names":["/{name}"]}}"#);
        Described::parse(json.as_bytes(), "docker").unwrap()
    }

    fn told(containers: &mut Containers<'_>) -> Vec<(Verdict, String)> {
        let judged = containers.judged().into_iter();
        judged.map(|group| (group.verdict, group.path)).collect()
    }

    #[test]
    fn groups_are_judged_as_they_come_by_id_and_forgotten_as_they_go() {
        let root = TempDir::new().unwrap();
        let (discovery, _) = discovery();
        let (selected, excluded) = (globs(&["0123456789AB"]), globs(&["fff*", "ffffff"]));
        let before = format!("docker/{ID}");
        fs::create_dir_all(root.path().join(&before)).unwrap();
        let patterns = Patterns {
            selected: &selected,
            excluded: &excluded,
        };
        let mut containers = Containers::new(&discovery, &Hierarchy::at(root.path()), patterns).unwrap();
        assert_eq!(told(&mut containers), [(Verdict::Selected, before.clone())]);
        assert_eq!(told(&mut containers), []);
        let scope = format!("system.slice/docker-{ID}.scope");
        fs::create_dir_all(root.path().join(&scope).join("init")).unwrap();
        let other = format!("system.slice/docker-{}.scope", "f".repeat(64));
        fs::create_dir_all(root.path().join(&other)).unwrap();
        let nobody = format!("system.slice/docker-{}.scope", "1".repeat(64));
        fs::create_dir_all(root.path().join(&nobody)).unwrap();
        let mut judged = told(&mut containers);
        judged.sort_by_key(|(_, path)| path.clone());
        assert_eq!(judged, [(Verdict::Selected, scope), (Verdict::Excluded, other)]);
        fs::remove_dir(root.path().join(&before)).unwrap();
        assert_eq!(told(&mut containers), [(Verdict::Passed, before)]);
    }

    #[test]
    fn a_group_whose_name_comes_later_is_judged_then_and_once() {
        let root = TempDir::new().unwrap();
        let (discovery, catalog) = discovery();
        let selected = globs(&["shop-*"]);
        let patterns = Patterns {
            selected: &selected,
            excluded: &[],
        };
        let mut containers = Containers::new(&discovery, &Hierarchy::at(root.path()), patterns).unwrap();
        let path = format!("docker/{ID}");
        fs::create_dir_all(root.path().join(&path)).unwrap();
        assert_eq!(told(&mut containers), []);
        catalog.replace_containers("docker", vec![described("shop-api")]);
        assert_eq!(told(&mut containers), [(Verdict::Selected, path)]);
        catalog.replace_containers("docker", vec![described("shop-api")]);
        assert_eq!(told(&mut containers), []);
    }

    #[test]
    fn a_container_of_a_pod_has_three_names() {
        let membership =
            Membership::of_path(&format!("/kubepods/poda1b2c3d4-0000-1111-2222-333344445555/{ID}"));
        let container = |name: &str, id: &str| Container {
            name: name.to_owned(),
            id: Some((id.to_owned(), None)),
            ..Container::default()
        };
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: "api-x7k2p".to_owned(),
            containers: vec![container("app", ID), container("proxy", "00")],
            ..Pod::default()
        };
        let place = Place {
            pod: Some(Arc::new(pod)),
            container: None,
        };
        for (pattern, matches) in [
            ("app", true),
            ("api-*/app", true),
            ("shop/*/app", true),
            ("shop/*/*", true),
            ("shop/*", false),
            ("0123456", true),
            ("proxy", false),
            ("api-*", false),
            ("01234", false),
            ("1234567", false),
        ] {
            assert_eq!(is(&Glob::new(pattern), &membership, &place), matches, "{pattern}");
        }
    }

    #[test]
    fn a_process_is_judged_by_every_container_around_it() {
        let (discovery, _) = discovery();
        let inner = "f".repeat(64);
        let path = format!("/docker/{ID}/docker/{inner}/x");
        let (outer_glob, inner_glob) = (globs(&[ID]), globs(&[&inner]));
        let of = |selected, excluded| verdict(&discovery, &path, Patterns { selected, excluded });
        assert_eq!(of(&outer_glob, &[]), Verdict::Selected);
        assert_eq!(of(&inner_glob, &[]), Verdict::Selected);
        assert_eq!(of(&inner_glob, &outer_glob), Verdict::Excluded);
        assert_eq!(of(&globs(&["abcdef"]), &[]), Verdict::Passed);
    }
}
