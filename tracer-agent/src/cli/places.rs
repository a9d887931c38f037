//! Control groups and network namespaces as people name them, to the numbers by which the kernel knows them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tracer_common::layout::process;

use crate::{
    capture::record::Verdict,
    discovery::{Hierarchy, is_group},
};

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
    /// Where the control groups are.
    pub hierarchy: Option<Hierarchy>,
}

impl Places {
    /// The controller whose hierarchy of version 1 the control groups are in; `None` in the unified one.
    pub fn controller(&self) -> Option<&str> {
        self.hierarchy.as_ref()?.controller()
    }

    /// What is said about a process in this control group and namespace; `None` if that cannot be told.
    pub fn verdict(
        &self,
        cgroup: impl FnOnce(Option<&str>) -> Option<String>,
        netns: impl FnOnce() -> Option<u32>,
    ) -> Option<Verdict> {
        let mut verdict = if self.all {
            Verdict::Selected
        } else {
            Verdict::Passed
        };
        if !self.cgroups.is_empty() {
            let path = cgroup(self.controller())?;
            let below = Path::new(path.strip_prefix('/')?);
            // `/../…` is outside of what the agent sees.
            if below.starts_with("..") {
                return None;
            }
            let root = self.hierarchy.as_ref()?.path();
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

/// A path of the host, where its root is here.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The id of a control group: a path below its hierarchy, or the folder itself.
///
/// # Errors
/// When there is none, or it is the root.
pub fn cgroup(name: &str, hierarchy: Option<&Hierarchy>) -> anyhow::Result<u64> {
    let Some(hierarchy) = hierarchy else {
        bail!("no hierarchy of control groups is mounted here");
    };
    let path = hierarchy.group(name);
    if path == hierarchy.path() {
        bail!("this is the root, which every process is below: use --all");
    }
    if !is_group(&path) {
        bail!("{} is no control group", path.display());
    }
    let found = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(found.ino())
}

/// The inode number of a network namespace: a name of `ip netns`, or a path such as `/proc/PID/ns/net`, of the host whose root
/// is here.
///
/// # Errors
/// When there is none.
pub fn netns(name: &str, root: &Path) -> anyhow::Result<u32> {
    let path = if name.contains('/') {
        below(root, Path::new(name))
    } else {
        below(root, Path::new(NETNS_NAMES)).join(name)
    };
    let found = fs::metadata(&path).with_context(|| format!("there is no {}", path.display()))?;
    u32::try_from(found.ino()).with_context(|| format!("{} is no namespace", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_control_group_is_said_to_be_none() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = Some(Hierarchy::at(root.path()));
        let group = root.path().join("shop/orders");
        fs::create_dir_all(&group).unwrap();
        let error = |name: &str| cgroup(name, hierarchy.as_ref()).unwrap_err().to_string();
        assert!(
            error("shop/orders").ends_with("is no control group"),
            "{}",
            error("shop/orders")
        );
        fs::write(group.join("cgroup.procs"), "").unwrap();
        let inode = fs::metadata(&group).unwrap().ino();
        let full = root.path().display().to_string();
        for name in ["shop/orders", "/shop/orders", &format!("{full}/shop/orders")] {
            assert_eq!(cgroup(name, hierarchy.as_ref()).unwrap(), inode, "{name}");
        }
        for name in ["/", &full, &format!("{full}/")] {
            assert!(error(name).contains("use --all"), "{name}");
        }
        assert!(
            cgroup("x", None)
                .unwrap_err()
                .to_string()
                .contains("no hierarchy")
        );
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
        let groups = root.path();
        fs::create_dir_all(groups.join("shop/orders/hidden")).unwrap();
        let id = |path: &str| fs::metadata(groups.join(path)).unwrap().ino();
        let cgroups = [
            (id("shop"), process::SELECTED),
            (id("shop/orders/hidden"), process::EXCLUDED),
        ];
        let places = |all| Places {
            all,
            cgroups: cgroups.to_vec(),
            netns: vec![(7, process::EXCLUDED)],
            hierarchy: Some(Hierarchy::at(root.path())),
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
            let found = places(all).verdict(|_| Some(path.to_owned()), || Some(netns));
            assert_eq!(found, verdict, "{path} in {netns}");
        }
    }

    #[test]
    fn a_namespace_has_a_name_or_a_path() {
        let root = Path::new("/");
        assert!(netns("/proc/self/ns/net", root).unwrap() > 0);
        let error = |root: &str| netns("none", Path::new(root)).unwrap_err().to_string();
        assert_eq!(error("/"), "there is no /run/netns/none");
        assert_eq!(error("/host"), "there is no /host/run/netns/none");
    }
}
