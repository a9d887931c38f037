//! Where control groups are: the unified hierarchy (version 2), or those of version 1, of which there is one for each controller or for
//! a few together. A host may have both; the kernel side looks at one.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Controllers of version 1 below which every runtime puts its containers.
const OF_CONTAINERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The controllers there are in version 1: an option of the mount that is none says something else.
const CONTROLLERS: [&str; 13] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
];

/// A hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where the host has mounted it.
    mounted: PathBuf,
    /// Where the agent finds it.
    path: PathBuf,
    /// Of version 1: the first of its controllers; of the unified one `None`.
    controller: Option<String>,
}

impl Hierarchy {
    /// Those of the host whose root is here, the unified one first. Without a controller (`name=systemd`) the kernel side cannot
    /// follow one.
    pub fn all(root: &Path) -> Vec<Self> {
        // The mounts that the agent sees, or those that the host's first process sees.
        let process = if root == Path::new("/") { "self" } else { "1" };
        let mounts = fs::read_to_string(root.join("proc").join(process).join("mounts"));
        Self::read(root, &mounts.unwrap_or_default())
    }

    /// A unified one in this folder.
    #[cfg(test)]
    pub fn at(path: &Path) -> Self {
        Self {
            mounted: path.to_owned(),
            path: path.to_owned(),
            controller: None,
        }
    }

    /// One of version 1 in this folder.
    #[cfg(test)]
    pub fn of_version_1(path: &Path, controller: &str) -> Self {
        Self {
            controller: Some(controller.to_owned()),
            ..Self::at(path)
        }
    }

    /// The one that a selection is about: that which all of these groups are in, each a path below it or the folder itself, and
    /// containers too if those are asked for. Else the first.
    pub fn with<'n>(
        all: &[Self],
        names: impl Iterator<Item = &'n String> + Clone,
        of_containers: bool,
    ) -> Option<&Self> {
        let has_all = |hierarchy: &&Self| names.clone().all(|name| is_group(&hierarchy.group(name)));
        let usual = of_containers.then(|| Self::of_containers(all)).flatten();
        usual.into_iter().chain(all).find(has_all).or(all.first())
    }

    /// The one that containers are in: where controllers are still of version 1, the unified one has but systemd's units.
    fn of_containers(all: &[Self]) -> Option<&Self> {
        let of = |name| all.iter().find(|one| one.controller() == Some(name));
        OF_CONTAINERS.into_iter().find_map(of)
    }

    /// Where the agent finds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of version 1: a controller that is bound to it.
    pub fn controller(&self) -> Option<&str> {
        self.controller.as_deref()
    }

    /// Where the agent would find the group of this name.
    pub fn group(&self, name: &str) -> PathBuf {
        let group = Path::new(name);
        let group = group.strip_prefix(&self.mounted).unwrap_or(group);
        self.path.join(group.strip_prefix("/").unwrap_or(group))
    }

    fn read(root: &Path, mounts: &str) -> Vec<Self> {
        let mut all: Vec<_> = mounts
            .lines()
            .filter_map(|line| Self::of_mount(root, line))
            .collect();
        // Stable, so that those of version 1 stay in the order in which they were mounted.
        all.sort_by_key(|hierarchy| hierarchy.controller.is_some());
        all
    }

    fn of_mount(root: &Path, line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let controller = match kind {
            "cgroup2" => None,
            "cgroup" => {
                let controller = options.split(',').find(|option| CONTROLLERS.contains(option));
                Some(controller?.to_owned())
            }
            _ => return None,
        };
        let mounted = PathBuf::from(place);
        let path = root.join(mounted.strip_prefix("/").unwrap_or(&mounted));
        Some(Self {
            mounted,
            path,
            controller,
        })
    }
}

/// Whether a folder is a control group.
pub fn is_group(folder: &Path) -> bool {
    folder.join("cgroup.procs").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\n\
        cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn hierarchies_are_found_wherever_they_are_and_the_unified_one_comes_first() {
        let found = |root: &str, mounts| {
            let all = Hierarchy::read(Path::new(root), mounts).into_iter();
            all.map(|one| (one.path.display().to_string(), one.controller))
                .collect::<Vec<_>>()
        };
        let of = |path: &str, controller: Option<&str>| (path.to_owned(), controller.map(str::to_owned));
        assert_eq!(
            found("/", MOUNTS),
            [
                of("/sys/fs/cgroup/unified", None),
                of("/sys/fs/cgroup/cpu,cpuacct", Some("cpu")),
                of("/sys/fs/cgroup/pids", Some("pids")),
            ]
        );
        assert_eq!(found("/host", MOUNTS)[0].0, "/host/sys/fs/cgroup/unified");
        assert_eq!(found("/", "cgroup /x cgroup rw,name=systemd 0 0"), []);
    }

    #[test]
    fn a_group_is_looked_for_in_all_of_them_and_containers_where_runtimes_put_them() {
        let root = tempfile::tempdir().unwrap();
        let all = Hierarchy::read(root.path(), MOUNTS);
        let pids = root.path().join("sys/fs/cgroup/pids/docker/1");
        fs::create_dir_all(&pids).unwrap();
        fs::write(pids.join("cgroup.procs"), "").unwrap();
        let with = |names: &[&str], of_containers| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = Hierarchy::with(&all, names.iter(), of_containers);
            found.and_then(|one| one.controller().map(str::to_owned))
        };
        for name in ["docker/1", "/docker/1", "/sys/fs/cgroup/pids/docker/1"] {
            assert_eq!(with(&[name], false).as_deref(), Some("pids"), "{name}");
        }
        assert_eq!(
            with(&["docker/1", "docker/2"], true),
            None,
            "they are not together"
        );
        // A unit that both have.
        let of_both = ["system.slice", "/system.slice"];
        for hierarchy in ["unified", "pids"] {
            let unit = root
                .path()
                .join("sys/fs/cgroup")
                .join(hierarchy)
                .join("system.slice");
            fs::create_dir_all(&unit).unwrap();
            fs::write(unit.join("cgroup.procs"), "").unwrap();
        }
        assert_eq!(with(&of_both, false), None);
        assert_eq!(with(&of_both, true).as_deref(), Some("pids"));
        assert_eq!(with(&[], true).as_deref(), Some("pids"));
        assert_eq!(with(&[], false), None);
    }
}
