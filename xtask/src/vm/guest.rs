//! The guest's first file system: busybox, a few modules and a script that puts its root ([`Root`]), read
//! only, under a layer of memory, runs one command there and says how it ended.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::kernels::Files;
use super::root::Root;

/// Written by the guest when its command is about to start.
pub const READY: &str = "guest: ready";

/// Modules are inserted in rounds, since their order differs by version.
const INIT: &str = r#"b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for round in 1 2 3 4 5; do
    for module in /modules/*; do $b insmod $module 2>/dev/null && $b rm $module; done
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /lower || echo "guest: no root"
$b mount -t tmpfs -o size=80% memory /upper
$b mkdir /upper/layer /upper/work
$b mount -t overlay -o lowerdir=/lower$root,upperdir=/upper/layer,workdir=/upper/work files /files
for place in $shared; do
    $b mkdir -p /files$place
    $b mount --bind /lower$place /files$place
done
$b mount -t proc proc /files/proc
$b mount -t sysfs sys /files/sys
$b mount -t devtmpfs dev /files/dev
$b mkdir -p /files/dev/shm /files/dev/pts
$b mount -t tmpfs shm /files/dev/shm
$b mount -t devpts pts /files/dev/pts
$b mount -t tmpfs run /files/run
$b mount -t tracefs trace /files/sys/kernel/tracing
$b mount -t debugfs debug /files/sys/kernel/debug
$b mount -t bpf bpf /files/sys/fs/bpf
$b mount -t cgroup2 cgroup /files/sys/fs/cgroup
$b mkdir /files/run/freezer
$b mount -t cgroup -o freezer freezer /files/run/freezer
$b ip link set lo up
$b hostname guest
$b cp /command /files/run/command
"#;

/// The command alone.
const RUN: &str = r#"
echo "guest: ready"
$b chroot /files /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 IN_GUEST=1 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/sh /run/command </dev/null
echo "result: $?"
$b poweroff -f
"#;

/// This machine's systemd as the first process, with the command as its only service: nothing that is enabled on this machine
/// starts, nor what prepares a machine for use; emptying /tmp alone takes minutes there.
const RUN_UNDER_SYSTEMD: &str = r#"
$b mkdir -p /files/run/systemd/system
for unit in /files/lib/systemd/system/sysinit.target.wants/* /files/etc/systemd/system/sysinit.target.wants/*; do
    case $unit in
    *journald.service | *.mount) ;;
    *) $b ln -s /dev/null /files/run/systemd/system/${unit##*/} ;;
    esac
done
$b cat >/files/run/systemd/system/guest.service <<END
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
After=systemd-journald.service
[Service]
Type=oneshot
Environment=HOME=/root TERM=dumb LANG=C.UTF-8 IN_GUEST=1
StandardOutput=file:/dev/ttyS0
StandardError=inherit
ExecStart=/bin/sh -c 'echo "guest: ready"; /bin/sh /run/command; echo "result: \$?"; systemctl poweroff --force --force'
END
exec $b switch_root /files /lib/systemd/systemd --unit=guest.service --show-status=no --log-level=warning
"#;

/// What runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A shell, and nothing besides.
    Shell,
    /// systemd.
    Systemd,
}

/// Makes the file system for one command; returns its file.
pub fn initramfs(kernel: &Files, root: &Root, first: First, command: &str) -> Result<PathBuf> {
    let folder = kernel.folder.join(format!("guest-{}", std::process::id()));
    for part in ["bin", "modules", "proc", "sys", "dev", "lower", "upper", "files"] {
        fs::create_dir_all(folder.join(part))?;
    }
    for module in &kernel.modules {
        if let Some(name) = module.file_name() {
            fs::copy(module, folder.join("modules").join(name))?;
        }
    }
    fs::copy(root.busybox(), folder.join("bin/busybox"))?;
    fs::write(folder.join("command"), command)?;
    let init = folder.join("init");
    let end = match first {
        First::Shell => RUN,
        First::Systemd => RUN_UNDER_SYSTEMD,
    };
    fs::write(&init, format!("#!/bin/busybox sh\n{}{INIT}{end}", root.script()?))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let archive = folder.with_extension("cpio");
    pack(&folder, &archive)?;
    fs::remove_dir_all(&folder)?;
    Ok(archive)
}

fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut list = Command::new("find")
        .current_dir(folder)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()?;
    let Some(names) = list.stdout.take() else {
        bail!("find has no output");
    };
    let packed = Command::new("cpio")
        .current_dir(folder)
        .args(["--create", "--format=newc", "--quiet", "--owner=0:0"])
        .stdin(names)
        .stdout(fs::File::create(archive)?)
        .status()?;
    if !list.wait()?.success() || !packed.success() {
        bail!("cpio cannot pack {}", folder.display());
    }
    Ok(())
}
