//! Packages of any release of Debian and for any processor, fetched but not installed: apt with lists and state of its own in a folder, so
//! that the machine's apt stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::process::{is_root, output, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt with nothing of the machine's but its network settings.
pub struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// With these lines of sources, each as it stands after `deb [signed-by=…]`. What is fetched comes into the folder.
    pub fn new(arch: Arch, sources: &[&str], folder: &Path) -> Result<Self> {
        let state = folder.join("apt");
        for part in ["lists/partial", "cache/archives/partial", "empty"] {
            fs::create_dir_all(state.join(part))?;
        }
        let lines = sources
            .iter()
            .map(|source| format!("deb [signed-by={KEYRING}] {source}\n"));
        fs::write(state.join("sources.list"), lines.collect::<String>())?;
        fs::write(state.join("status"), "")?;
        let mut options = ["APT::Architecture", "APT::Architectures"]
            .map(|name| format!("{name}={}", arch.name()))
            .to_vec();
        // apt drops root's rights to a user who may not be able to read the clone.
        if is_root() {
            options.push("APT::Sandbox::User=root".to_owned());
        }
        for (name, part) in [
            ("Dir::State", ""),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::Etc::SourceParts", "empty"),
            ("Dir::Etc::PreferencesParts", "empty"),
        ] {
            options.push(format!("{name}={}", state.join(part).display()));
        }
        let apt = Self {
            folder: folder.to_owned(),
            options,
        };
        run(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// What a package depends on.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let shown = output(
            self.command("apt-cache")
                .args(["depends", "--important", package]),
        )?;
        let names = shown
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Fetches a package: `NAME` or `NAME=VERSION`.
    pub fn download(&self, package: &str) -> Result<()> {
        run(self.command("apt-get").args(["download", package]))
    }

    /// Fetches packages with all that they depend on.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        run(self
            .command("apt-get")
            .args(["install", "--download-only", "--yes", "--no-install-recommends"])
            .args(packages))?;
        packages_in(&self.folder.join("apt/cache/archives"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).arg("--quiet");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The packages in a folder.
pub fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    let is_package = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "deb");
    Ok(files.into_iter().filter(is_package).collect())
}

/// Puts the files of packages below a folder; what a package would run when it is installed is not run.
pub fn unpack(packages: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    packages
        .iter()
        .try_for_each(|package| run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder)))
}
