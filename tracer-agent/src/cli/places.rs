//! Control groups and network namespaces as people name them, to the numbers by which the kernel knows them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tracer_common::layout::process;

use crate::capture::record::Verdict;

/// Where `ip netns` keeps names.
const NETNS_NAMES: &str = "/run/netns";

/// Numbers with what becomes of processes there, of `--OPTION` and `--exclude-OPTION`. Those that exclude come last: of
/// the same number the last counts.
///
/// # Errors
/// When there is no such place; the option is named.
pub fn marked<Number>(
    option: &str,
    selected: &[String],
    excluded: &[String],
    number: impl Fn(&str) -> anyhow::Result<Number>,
) -> anyhow::Result<Vec<(Number, u8)>> {
    let selected = selected.iter().map(|name| ("", name, process::SELECTED));
    let excluded = excluded.iter().map(|name| ("exclude-", name, process::EXCLUDED));
    selected
        .chain(excluded)
        .map(|(prefix, name, mark)| {
            let number = number(name).with_context(|| format!("--{prefix}{option} {name}"))?;
            Ok((number, mark))
        })
        .collect()
}

/// What is said about processes by where they are.
pub struct Places {
    /// Every process is selected that is not excluded.
    pub all: bool,
    /// Control groups by id.
    pub cgroups: Vec<(u64, u8)>,
    /// Network namespaces by inode number.
    pub netns: Vec<(u32, u8)>,
    /// Where the unified hierarchy is mounted.
    pub root: Option<PathBuf>,
}

impl Places {
    /// What is said about a process in this control group and namespace; `None` if that cannot be told.
    pub fn verdict(
        &self,
        cgroup: impl FnOnce() -> Option<String>,
        netns: impl FnOnce() -> Option<u32>,
    ) -> Option<Verdict> {
        let mut verdict = if self.all {
            Verdict::Selected
        } else {
            Verdict::Passed
        };
        if !self.cgroups.is_empty() {
            let path = cgroup()?;
            let below = Path::new(path.strip_prefix('/')?);
            // `/../…` is outside of what the agent sees.
            if below.starts_with("..") {
                return None;
            }
            let root = self.root.as_ref()?;
            for group in below.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                let id = fs::metadata(root.join(group)).ok()?.ino();
                verdict = verdict.and(said(&self.cgroups, id));
            }
        }
        if !self.netns.is_empty() {
            verdict = verdict.and(said(&self.netns, netns()?));
        }
        Some(verdict)
    }
}

/// What is said of the place with this number; the last counts.
fn said<Number: Copy + PartialEq>(places: &[(Number, u8)], number: Number) -> Verdict {
    let of_it = places.iter().rev().find(|(place, _)| *place == number);
    of_it.map_or(Verdict::Passed, |(_, mark)| Verdict::of_mark(*mark))
}

/// The id of a control group: a path below the unified hierarchy, or the folder itself.
///
/// # Errors
/// When there is none, or it is the root.
pub fn cgroup(name: &str, mounts: &str) -> anyhow::Result<u64> {
    let Some(root) = unified_root(mounts) else {
        bail!("no unified control group hierarchy (cgroup2) is mounted here");
    };
    let path = if Path::new(name).starts_with(&root) {
        PathBuf::from(name)
    } else {
        root.join(name.trim_start_matches('/'))
    };
    let found = fs::metadata(path.join("cgroup.procs"))
        .and_then(|_| fs::metadata(&path))
        .with_context(|| format!("{} is no control group", path.display()))?;
    let depth = path
        .strip_prefix(&root)
        .map_or(0, |below| below.components().count());
    if depth == 0 {
        bail!("this is the root, which every process is below: use --all");
    }
    Ok(found.ino())
}

/// The inode number of a network namespace: a name of `ip netns`, or a path such as `/proc/PID/ns/net`.
///
/// # Errors
/// When there is none.
pub fn netns(name: &str) -> anyhow::Result<u32> {
    let path = if name.contains('/') {
        PathBuf::from(name)
    } else {
        Path::new(NETNS_NAMES).join(name)
    };
    let found = fs::metadata(&path).with_context(|| format!("there is no {}", path.display()))?;
    u32::try_from(found.ino()).with_context(|| format!("{} is no namespace", path.display()))
}

/// Where the unified hierarchy is mounted, from `/proc/self/mounts`.
pub fn unified_root(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn the_unified_hierarchy_is_found_wherever_it_is() {
        assert_eq!(unified_root(MOUNTS), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified_root("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0"), None);
    }

    #[test]
    fn what_is_no_control_group_is_said_to_be_none() {
        let root = tempfile::tempdir().unwrap();
        let mounts = format!("x {} cgroup2 rw 0 0", root.path().display());
        let group = root.path().join("shop/orders");
        fs::create_dir_all(&group).unwrap();
        let error = |name: &str| cgroup(name, &mounts).unwrap_err().to_string();
        assert!(
            error("shop/orders").ends_with("is no control group"),
            "{}",
            error("shop/orders")
        );
        fs::write(group.join("cgroup.procs"), "").unwrap();
        let inode = fs::metadata(&group).unwrap().ino();
        for name in ["shop/orders", "/shop/orders", group.to_str().unwrap()] {
            assert_eq!(cgroup(name, &mounts).unwrap(), inode, "{name}");
        }
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        assert!(error("/").contains("use --all"));
        assert!(cgroup("x", "").unwrap_err().to_string().contains("cgroup2"));
    }

    #[test]
    fn what_excludes_comes_last_and_an_error_names_the_option() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let number = |name: &str| Ok(name.parse::<u64>()?);
        let both = marked("cgroup", &names(&["1", "2"]), &names(&["1"]), number).unwrap();
        assert_eq!(
            both,
            [
                (1, process::SELECTED),
                (2, process::SELECTED),
                (1, process::EXCLUDED)
            ]
        );
        let error = marked("cgroup", &[], &names(&["x"]), number).unwrap_err();
        assert_eq!(error.to_string(), "--exclude-cgroup x");
    }

    #[test]
    fn a_process_is_judged_by_every_group_above_it_and_by_its_namespace() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("shop/orders/hidden")).unwrap();
        let id = |path: &str| fs::metadata(root.path().join(path)).unwrap().ino();
        let cgroups = [
            (id("shop"), process::SELECTED),
            (id("shop/orders/hidden"), process::EXCLUDED),
        ];
        let places = |all| Places {
            all,
            cgroups: cgroups.to_vec(),
            netns: vec![(7, process::EXCLUDED)],
            root: Some(root.path().to_owned()),
        };
        for (all, path, netns, verdict) in [
            (false, "/shop/orders", 1, Some(Verdict::Selected)),
            (false, "/shop/orders/hidden", 1, Some(Verdict::Excluded)),
            (false, "/shop/orders", 7, Some(Verdict::Excluded)),
            (false, "/", 1, Some(Verdict::Passed)),
            (true, "/", 1, Some(Verdict::Selected)),
            (true, "/../other", 1, None),
            (true, "/gone", 1, None),
        ] {
            let found = places(all).verdict(|| Some(path.to_owned()), || Some(netns));
            assert_eq!(found, verdict, "{path} in {netns}");
        }
    }

    #[test]
    fn a_namespace_has_a_name_or_a_path() {
        assert!(netns("/proc/self/ns/net").unwrap() > 0);
        let error = netns("no-such-namespace").unwrap_err().to_string();
        assert_eq!(error, "there is no /run/netns/no-such-namespace");
    }
}
