//! The package for Debian: the static file, the unit, its configuration and what Debian wants beside them. The texts stand in
//! `deploy/`; `dpkg-deb` puts them together, with the one time that everything here has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::VERSION;
use super::archive::compressed;
use super::moment::Moment;
use crate::arch::Arch;
use crate::process::{root, run};
use crate::setup;

/// What is copied from the repository: from where, to where, and its rights.
const FILES: &[(&str, &str, u32)] = &[
    (
        "deploy/systemd/tracer-agent.service",
        "lib/systemd/system/tracer-agent.service",
        0o644,
    ),
    (
        "deploy/systemd/config.yaml",
        "etc/tracer-agent/config.yaml",
        0o644,
    ),
    // May come to hold secrets.
    ("deploy/systemd/environment", "etc/default/tracer-agent", 0o640),
    (
        "deploy/debian/copyright",
        "usr/share/doc/tracer-agent/copyright",
        0o644,
    ),
    ("LICENSE-MIT", "usr/share/doc/tracer-agent/LICENSE-MIT", 0o644),
    (
        "deploy/debian/lintian-overrides",
        "usr/share/lintian/overrides/tracer-agent",
        0o644,
    ),
    ("deploy/debian/conffiles", "DEBIAN/conffiles", 0o644),
    ("deploy/debian/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/debian/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Makes the package of this program.
pub fn package(arch: Arch, program: &Path, made_at: Moment) -> Result<PathBuf> {
    setup::for_deb()?;
    let folder = super::folder()?;
    let tree = Tree::new(folder.join(format!("deb-{}", arch.name())))?;
    tree.write("usr/bin/tracer-agent", 0o755, &fs::read(program)?)?;
    for (from, to, mode) in FILES {
        tree.write(to, *mode, &text(from)?)?;
    }
    let manual = compressed(&text("deploy/debian/tracer-agent.8")?)?;
    tree.write("usr/share/man/man8/tracer-agent.8.gz", 0o644, &manual)?;
    let changes = compressed(changelog(made_at)?.as_bytes())?;
    tree.write("usr/share/doc/tracer-agent/changelog.gz", 0o644, &changes)?;
    let control = String::from_utf8(text("deploy/debian/control")?)?
        .replace("{version}", VERSION)
        .replace("{architecture}", arch.name())
        .replace("{size}", &tree.kib()?.to_string());
    tree.write("DEBIAN/control", 0o644, control.as_bytes())?;

    let package = folder.join(format!("tracer-agent_{VERSION}_{}.deb", arch.name()));
    run(Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", made_at.0.to_string())
        .args(["--build", "--root-owner-group", "-Zxz", "--uniform-compression"])
        .args([&tree.0, &package]))?;
    fs::remove_dir_all(&tree.0)?;
    Ok(package)
}

/// What goes into the package, in a folder.
struct Tree(PathBuf);

impl Tree {
    fn new(folder: PathBuf) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(Self(folder))
    }

    fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(path);
        // Whatever the mask of the one who builds is, folders of a package are open to all.
        let mut folder = self.0.clone();
        for part in path
            .parent()
            .and_then(|parent| parent.strip_prefix(&self.0).ok())
            .into_iter()
            .flatten()
        {
            folder.push(part);
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }

    /// Room on the disk, as Debian counts it: each file in whole KiB.
    fn kib(&self) -> Result<u64> {
        let mut sum = 0;
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    sum += entry.metadata()?.len().div_ceil(1024);
                }
            }
        }
        Ok(sum)
    }
}

fn text(path: &str) -> Result<Vec<u8>> {
    fs::read(root().join(path)).with_context(|| format!("reading {path}"))
}

fn changelog(made_at: Moment) -> Result<String> {
    Ok(format!(
        "tracer-agent ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n \
         -- The tracer-agent maintainers <maintainers@tracer-agent.invalid>  {}\n",
        made_at.rfc5322()?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_there_and_what_is_configured_is_told() {
        let told = String::from_utf8(text("deploy/debian/conffiles").unwrap()).unwrap();
        for (from, to, _) in FILES {
            assert!(root().join(from).is_file(), "{from}");
            let is_configuration = to.starts_with("etc/");
            assert_eq!(
                told.lines().any(|line| line == format!("/{to}")),
                is_configuration,
                "{to}"
            );
        }
    }
}
