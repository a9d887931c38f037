//! Debian packages: what is missing is installed by apt where that is allowed, else the command is named.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process::{find, is_root, output, run, say};

/// Installs those of the packages that are missing.
pub fn install<Name: AsRef<str>>(packages: &[Name], why: &str) -> Result<()> {
    let names = || packages.iter().map(AsRef::as_ref);
    if !is_here() {
        let list: Vec<_> = names().collect();
        bail!(
            "this is not a Debian system: install by hand what these packages of Debian hold: {} ({why})",
            list.join(" ")
        );
    }
    let installed = installed(names());
    let missing: Vec<&str> = names().filter(|name| !installed.contains(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let Some(rights) = rights() else {
        bail!("not root and no sudo without a password; run this and try again: apt-get install {list}");
    };
    say(format!("installing {list}: {why}"));
    if run(apt(rights)
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing))
    .is_ok()
    {
        return Ok(());
    }
    say("apt does not have them by its present lists: fetching new ones");
    run(apt(rights).arg("update"))?;
    run(apt(rights)
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing))
}

/// Whether this system is Debian's, or made like it.
pub fn is_here() -> bool {
    find("dpkg-query").is_some() && find("apt-get").is_some()
}

/// Those of the packages that are installed. dpkg-query fails where one is not known, and still lists the rest.
fn installed<'name>(names: impl Iterator<Item = &'name str> + Clone) -> Vec<&'name str> {
    let listed = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(names.clone())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    names
        .filter(|name| listed.lines().any(|line| line == format!("{name} installed")))
        .collect()
}

/// The command that gives root's rights: none where we have them; `None` where there is no way.
fn rights() -> Option<&'static [&'static str]> {
    if is_root() {
        return Some(&[]);
    }
    output(Command::new("sudo").args(["--non-interactive", "true"])).ok()?;
    Some(&["sudo", "--non-interactive"])
}

fn apt(rights: &[&str]) -> Command {
    let mut words = rights
        .iter()
        .copied()
        // As arguments of env, since sudo drops the variables of the caller.
        .chain([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=600",
            "--quiet",
        ]);
    let mut command = Command::new(words.next().unwrap_or("env"));
    command.args(words);
    command
}
