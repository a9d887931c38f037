//! What the guest has for its root: this machine's own files where these run there, else those of Debian's packages for its processor. Of
//! those nothing was installed, so that what an installation would make is made here, as far as programs miss it. This machine's
//! clone and what was built stand where they stand here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::kernels::folder_of;
use crate::arch::Arch;
use crate::process::{root, say, target};
use crate::setup::apt::{self, Apt};

/// Where the packages come from: the release whose newest kernels are tried.
const SOURCES: &[&str] = &[
    "http://deb.debian.org/debian bookworm main",
    "http://deb.debian.org/debian-security bookworm-security main",
];
/// A system without a service, and what the live tests run as it is.
const PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "busybox-static",
    "coreutils",
    "curl",
    "dash",
    "gunicorn",
    "iproute2",
    "nghttp2-client",
    "nghttp2-proxy",
    "nghttp2-server",
    "nginx-light",
    "openssl",
    "procps",
    "python3",
    "util-linux",
    "wrk",
];

/// A file system for a guest, by its place on this machine.
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// That for a processor, fetched where it is not there yet.
    pub fn of(arch: Arch) -> Result<Self> {
        if arch == Arch::of_this_machine() {
            return Ok(Self { folder: "/".into() });
        }
        let own = folder_of(arch).join("debian");
        let folder = own.join("root");
        let done = own.join("done");
        fs::create_dir_all(&own)?;
        let alone = fs::File::create(own.join("lock"))?;
        alone.lock()?;
        let wanted = PACKAGES.join(" ");
        if fs::read_to_string(&done).is_ok_and(|made| made == wanted) {
            return Ok(Self { folder });
        }
        say(format!("fetching what runs on {} from Debian", arch.name()));
        let apt = Apt::new(arch, SOURCES, &own)?;
        apt::unpack(&apt.download_with_dependencies(PACKAGES)?, &folder)?;
        for (master, file) in [("passwd.master", "etc/passwd"), ("group.master", "etc/group")] {
            fs::copy(
                folder.join("usr/share/base-passwd").join(master),
                folder.join(file),
            )?;
        }
        fs::write(folder.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(&done, wanted)?;
        Ok(Self { folder })
    }

    /// Its busybox, which needs no library.
    pub fn busybox(&self) -> PathBuf {
        self.folder.join("bin/busybox")
    }

    /// Where the guest finds it, and what of this machine it is to have beside it, as lines of its script.
    pub fn script(&self) -> Result<String> {
        let below = |place: &Path| -> Result<String> {
            let place = fs::canonicalize(place).with_context(|| format!("{}", place.display()))?;
            Ok(format!("{}", place.display()))
        };
        if self.folder == Path::new("/") {
            return Ok("root=\nshared=\n".to_owned());
        }
        Ok(format!(
            "root='{}'\nshared='{} {}'\n",
            below(&self.folder)?,
            below(root())?,
            below(&target())?
        ))
    }
}
