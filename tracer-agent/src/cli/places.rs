//! Control groups and network namespaces as people name them, to the numbers by which the kernel knows them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Where `ip netns` keeps names.
const NETNS_NAMES: &str = "/run/netns";

/// The id of a control group: a path below the unified hierarchy, or the folder itself.
///
/// # Errors
/// When there is none, or it is the root.
pub fn cgroup(name: &str, mounts: &str) -> anyhow::Result<u64> {
    let Some(root) = unified_root(mounts) else {
        bail!("--cgroup {name}: no unified control group hierarchy (cgroup2) is mounted here");
    };
    let path = if Path::new(name).starts_with(&root) {
        PathBuf::from(name)
    } else {
        root.join(name.trim_start_matches('/'))
    };
    let found = fs::metadata(path.join("cgroup.procs"))
        .and_then(|_| fs::metadata(&path))
        .with_context(|| format!("--cgroup {name}: {} is no control group", path.display()))?;
    let depth = path
        .strip_prefix(&root)
        .map_or(0, |below| below.components().count());
    if depth == 0 {
        bail!("--cgroup {name} is the root, which every process is below: use --all");
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
    let found =
        fs::metadata(&path).with_context(|| format!("--netns {name}: there is no {}", path.display()))?;
    u32::try_from(found.ino()).with_context(|| format!("--netns {name}: {} is no namespace", path.display()))
}

/// Where the unified hierarchy is mounted, from `/proc/self/mounts`.
fn unified_root(mounts: &str) -> Option<PathBuf> {
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
    fn a_namespace_has_a_name_or_a_path() {
        assert!(netns("/proc/self/ns/net").unwrap() > 0);
        let error = netns("no-such-namespace").unwrap_err().to_string();
        assert_eq!(
            error,
            "--netns no-such-namespace: there is no /run/netns/no-such-namespace"
        );
    }
}
