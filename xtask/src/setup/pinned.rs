//! What others wrote and the repository pins; each lands in the target folder, once for each version that is
//! asked for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::debian;
use crate::process::{find, root, run, say};

/// Something to install, and where.
pub struct Pinned {
    /// As it is said.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    /// What decides its version.
    pub pinned_by: &'static str,
    /// The file that is there once it is installed, beneath the repository: its program, if it is one.
    pub program: &'static str,
    /// Installs it: its [`Self::program`] is there afterwards.
    pub make: fn(&Pinned) -> Result<()>,
}

impl Pinned {
    /// Installs it, unless it is there in this version.
    pub fn install(&self) -> Result<()> {
        let version = fs::read(root().join(self.pinned_by))?;
        let stamp = self.stamp();
        if self.program().exists() && fs::read(&stamp).is_ok_and(|made| made == version) {
            return Ok(());
        }
        say(format!("installing the {} in target/: {}", self.name, self.why));
        (self.make)(self)?;
        fs::write(&stamp, version).with_context(|| format!("writing {}", stamp.display()))
    }

    pub fn program(&self) -> PathBuf {
        root().join(self.program)
    }

    fn stamp(&self) -> PathBuf {
        root().join(format!("{}.version", self.program))
    }
}

/// A virtual environment whose Python is the program, with the packages of the requirements file that pins it.
pub fn make_python(pinned: &Pinned) -> Result<()> {
    if debian::is_here() {
        debian::install(
            &["python3-venv"],
            "packages of Python are kept apart from the system's",
        )?;
    }
    let python = pinned.program();
    let folder = python
        .ancestors()
        .nth(2)
        .with_context(|| format!("{} is not FOLDER/bin/python", pinned.program))?;
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-virtualenv",
        ])
        .arg("-r")
        .arg(root().join(pinned.pinned_by)))
}

/// The packages of the lock file that pins it; its package.json is beside that.
pub fn make_node(pinned: &Pinned) -> Result<()> {
    let lock = root().join(pinned.pinned_by);
    let program = pinned.program();
    let folder = program
        .ancestors()
        .find(|folder| folder.ends_with("node_modules"))
        .and_then(Path::parent)
        .with_context(|| format!("{} is not in FOLDER/node_modules", pinned.program))?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        let (from, to) = (lock.with_file_name(name), folder.join(name));
        fs::copy(&from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    run(Command::new("npm").current_dir(folder).args([
        "ci",
        "--silent",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))
}

/// The libraries of the pom.xml that pins it.
pub fn make_java(pinned: &Pinned) -> Result<()> {
    if find("mvn").is_none() {
        debian::install(&["maven"], "libraries of Java are installed by it")?;
    }
    run(Command::new("mvn")
        .args([
            "--quiet",
            "--batch-mode",
            "dependency:copy-dependencies",
            "--file",
        ])
        .arg(root().join(pinned.pinned_by)))
}
