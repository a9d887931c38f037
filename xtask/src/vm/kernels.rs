//! Which kernels there are, and fetching them: Debian's own packages, under `target/vm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::process::{output, run, say, target};
use crate::setup::apt::{Apt, packages_in};

/// One kernel of the matrix.
pub struct Kernel {
    /// The processors it is for.
    pub arch: Arch,
    /// What it is called on the command line.
    pub name: &'static str,
    /// The line of apt's sources that has it, after `deb [signed-by=…]`.
    source: &'static str,
    /// The package and version that is tested.
    package: &'static str,
    version: &'static str,
    /// The package that always depends on the newest, for when the pinned one has left the archive.
    newest: &'static str,
}

/// The pinned versions, all in this one place.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        arch: Arch::Amd64,
        name: "5.10",
        source: "http://deb.debian.org/debian-security bullseye-security main",
        package: "linux-image-5.10.0-46-amd64",
        version: "5.10.262-1",
        newest: "linux-image-amd64",
    },
    Kernel {
        arch: Arch::Amd64,
        name: "6.1",
        source: "http://deb.debian.org/debian-security bookworm-security main",
        package: "linux-image-6.1.0-56-amd64",
        version: "6.1.192-2",
        newest: "linux-image-amd64",
    },
    Kernel {
        arch: Arch::Amd64,
        name: "6.12",
        source: "http://deb.debian.org/debian-security bookworm-security main",
        package: "linux-image-6.12.117+deb12-amd64",
        version: "6.12.117-1~deb12u1",
        newest: "linux-image-6.12-amd64",
    },
    Kernel {
        arch: Arch::Amd64,
        name: "newest",
        source: "http://deb.debian.org/debian sid main",
        package: "linux-image-7.2.13+deb14-amd64",
        version: "7.2.13-1",
        newest: "linux-image-amd64",
    },
    Kernel {
        arch: Arch::Arm64,
        name: "6.1",
        source: "http://deb.debian.org/debian-security bookworm-security main",
        package: "linux-image-6.1.0-56-arm64",
        version: "6.1.192-2",
        newest: "linux-image-arm64",
    },
    Kernel {
        arch: Arch::Arm64,
        name: "6.12",
        source: "http://deb.debian.org/debian-security bookworm-security main",
        package: "linux-image-6.12.117+deb12-arm64",
        version: "6.12.117-1~deb12u1",
        newest: "linux-image-6.12-arm64",
    },
];

/// What the guest's boot needs: virtio, 9p and overlay; veth for tests with network namespaces. No more than
/// that, since each costs a second under emulation. Not every version has every one.
const MODULES: &[&str] = &[
    "9p",
    "9pnet",
    "9pnet_virtio",
    "fscache",
    "netfs",
    "overlay",
    "veth",
    "virtio",
    "virtio_pci",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_ring",
];

/// A kernel on this machine.
pub struct Files {
    /// Its folder, which also holds what is made from it.
    pub folder: PathBuf,
    pub vmlinuz: PathBuf,
    pub modules: Vec<PathBuf>,
}

/// The kernels for a processor.
pub fn all(arch: Arch) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |kernel| kernel.arch == arch)
}

/// The one of that name, or all.
pub fn chosen(arch: Arch, name: Option<&str>) -> Result<Vec<&'static Kernel>> {
    let chosen: Vec<_> = all(arch)
        .filter(|kernel| name.is_none_or(|name| name == kernel.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = all(arch).map(|kernel| kernel.name).collect();
        bail!(
            "there is no kernel {}; there are {}",
            name.unwrap_or_default(),
            names.join(", ")
        );
    }
    Ok(chosen)
}

/// Where what is for a processor is kept.
pub fn folder_of(arch: Arch) -> PathBuf {
    let folder = target().join("vm");
    match arch {
        Arch::Amd64 => folder,
        Arch::Arm64 => folder.join(arch.name()),
    }
}

/// The files of a kernel, fetched where they are not there yet.
pub fn fetch(kernel: &Kernel) -> Result<Files> {
    let folder = folder_of(kernel.arch).join(kernel.name);
    let done = folder.join(format!("{}={}", kernel.package, kernel.version));
    fs::create_dir_all(&folder)?;
    // Two runs at once fetch it once.
    let alone = fs::File::create(folder.join("lock"))?;
    alone.lock()?;
    if !done.is_file() {
        say(format!(
            "kernel {}: fetching {} {} from Debian",
            kernel.name, kernel.package, kernel.version
        ));
        for package in download(kernel, &folder)? {
            unpack(&package, &folder)?;
            fs::remove_file(&package)?;
        }
        fs::write(&done, "")?;
    }
    let only = |files: Vec<PathBuf>| files.into_iter().next();
    Ok(Files {
        vmlinuz: only(files_below(&folder, |name| name.starts_with("vmlinuz"))?)
            .with_context(|| format!("no vmlinuz in {}", folder.display()))?,
        modules: files_below(&folder, |name| name.ends_with(".ko"))?,
        folder,
    })
}

/// The packages of a kernel: one that has all, or one that names those that have the image and the modules.
fn download(kernel: &Kernel, folder: &Path) -> Result<Vec<PathBuf>> {
    let apt = Apt::new(kernel.arch, &[kernel.source], folder)?;
    let pinned = format!("{}={}", kernel.package, kernel.version);
    let mut package = kernel.package.to_owned();
    if apt.download(&pinned).is_err() {
        package = apt
            .dependencies(kernel.newest)?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .with_context(|| format!("{} depends on no kernel", kernel.newest))?;
        say(format!(
            "{pinned} has left the archive: taking {package}; pin it in xtask/src/vm/kernels.rs"
        ));
        apt.download(&package)?;
    }
    let is_part = |name: &&String| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
    for part in apt.dependencies(&package)?.iter().filter(is_part) {
        apt.download(part)?;
    }
    packages_in(folder)
}

/// Takes the kernel and the few modules out of the package: all of them are half a gigabyte.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let tar = folder.join("package.tar");
    let file = fs::File::create(&tar)?;
    let unpacked = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(file)
        .status()?;
    if !unpacked.success() {
        bail!("dpkg-deb cannot read {}", package.display());
    }
    let mut extract = Command::new("tar");
    extract
        .arg("--extract")
        .arg("--file")
        .arg(&tar)
        .arg("--directory")
        .arg(folder);
    let listed = output(Command::new("tar").arg("--list").arg("--file").arg(&tar))?;
    let needed: Vec<_> = listed.lines().filter(|path| is_needed(path)).collect();
    if !needed.is_empty() {
        run(extract.args(needed))?;
    }
    fs::remove_file(&tar)?;
    for module in files_below(folder, |name| name.ends_with(".ko.xz"))? {
        run(Command::new("xz").arg("--decompress").arg(module))?;
    }
    Ok(())
}

fn is_needed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("vmlinuz")
        || name
            .split_once(".ko")
            .is_some_and(|(module, _)| MODULES.contains(&module))
}

/// The files below a folder whose names are as asked.
fn files_below(folder: &Path, asked: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .file_name()
                .is_some_and(|name| asked(&name.to_string_lossy()))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kernel_is_answered_with_those_there_are() {
        let error = chosen(Arch::Amd64, Some("4.9")).err().unwrap().to_string();
        assert_eq!(error, "there is no kernel 4.9; there are 5.10, 6.1, 6.12, newest");
    }

    #[test]
    fn only_the_modules_that_the_boot_needs_are_taken() {
        assert!(is_needed("./boot/vmlinuz-6.1.0-56-amd64"));
        assert!(is_needed("./lib/modules/6.1.0-56-amd64/kernel/fs/9p/9p.ko"));
        assert!(is_needed(
            "./usr/lib/modules/6.12/kernel/drivers/virtio/virtio_pci.ko.xz"
        ));
        assert!(!is_needed("./lib/modules/6.1.0-56-amd64/kernel/fs/9p"));
        assert!(!is_needed("./lib/modules/6.1.0-56-amd64/kernel/fs/xfs/xfs.ko"));
        assert!(!is_needed(
            "./lib/modules/6.1.0-56-amd64/kernel/net/9p/9pnet_rdma.ko"
        ));
    }
}
