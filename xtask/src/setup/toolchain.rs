//! The Rust toolchain: judged by its version and by what it holds, never by its name.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::process::{find, output, run, say};

/// The oldest rustc that builds the workspace: `rust-version` of its Cargo.toml.
const OLDEST: (u32, u32) = (1, 95);
/// Debian's own newest compiler, with the source of its core library.
const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// The name that Debian's compiler gets in rustup.
const DEBIAN_NAME: &str = "tracer-agent-debian";

pub struct Toolchain {
    cargo: PathBuf,
    /// For rustup's proxies, where they are used.
    name: Option<String>,
    sysroot: PathBuf,
    pub release: String,
    /// The major version of the LLVM inside rustc.
    pub llvm: u32,
}

impl Toolchain {
    /// The one that runs this chore.
    pub fn running() -> Result<Self> {
        let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        Self::new(cargo, env::var("RUSTUP_TOOLCHAIN").ok(), "rustc".as_ref())
    }

    fn new(cargo: PathBuf, name: Option<String>, rustc: &Path) -> Result<Self> {
        let ask = |argument: &[&str]| {
            let mut command = Command::new(rustc);
            command.args(argument);
            if let Some(name) = &name {
                command.env("RUSTUP_TOOLCHAIN", name);
            }
            output(&mut command)
        };
        let version = ask(&["-vV"])?;
        let release = field(&version, "release: ").context("rustc -vV names no release")?;
        if !is_new_enough(release) {
            let (major, minor) = OLDEST;
            bail!("rustc is {release}, {major}.{minor} or later is needed: `rustup update stable`");
        }
        Ok(Self {
            llvm: field(&version, "LLVM version: ")
                .and_then(|llvm| llvm.split('.').next()?.parse().ok())
                .context("rustc -vV names no LLVM version")?,
            release: release.to_owned(),
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?),
            cargo,
            name,
        })
    }

    /// A cargo command of this toolchain, in the root of the repository.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(crate::process::root());
        if let Some(name) = &self.name {
            command.env("RUSTUP_TOOLCHAIN", name);
        }
        command
    }

    pub fn has_core_source(&self) -> bool {
        self.source().join("library/Cargo.lock").is_file()
    }

    /// Where its own source is, if it has it.
    pub fn source(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Adds the standard library of another target, unless it is there.
    pub fn add_target(&self, triple: &str) -> Result<()> {
        if self.sysroot.join("lib/rustlib").join(triple).join("lib").is_dir() {
            return Ok(());
        }
        let Some(rustup) = find("rustup") else {
            bail!(
                "there is no rustup: install the standard library of rustc {} for {triple}",
                self.release
            );
        };
        say(format!("adding the standard library for {triple}"));
        let mut add = Command::new(rustup);
        add.args(["target", "add", triple]);
        if let Some(name) = &self.name {
            add.args(["--toolchain", name]);
        }
        run(&mut add)
    }

    /// This toolchain, or Debian's where this one cannot get its own source.
    pub fn with_core_source(self) -> Result<Self> {
        if self.has_core_source() {
            return Ok(self);
        }
        say("rust-src is missing: the kernel side compiles core from source, none is shipped for BPF");
        if self.sysroot == Path::new("/usr") {
            debian::install(&["rust-web-src"], "the source of Debian's own compiler")?;
            return Ok(self);
        }
        let Some(rustup) = find("rustup") else {
            bail!(
                "there is no rustup: install the source of rustc {} (rust-src)",
                self.release
            );
        };
        let mut add = Command::new(&rustup);
        add.args(["component", "add", "rust-src"]);
        if let Some(name) = &self.name {
            add.args(["--toolchain", name]);
        }
        match run(&mut add) {
            Ok(()) if self.has_core_source() => Ok(self),
            Ok(()) => bail!("rustup added rust-src, but not to {}", self.sysroot.display()),
            Err(error) => {
                say(format!(
                    "rustup cannot fetch it ({error:#}): using Debian's compiler and its source"
                ));
                debian_toolchain(&rustup)
            }
        }
    }
}

/// Debian's compiler as a toolchain of rustup, chosen for this clone alone.
fn debian_toolchain(rustup: &Path) -> Result<Toolchain> {
    debian::install(DEBIAN, "a compiler whose source Debian ships")?;
    run(Command::new(rustup).args(["toolchain", "link", DEBIAN_NAME, "/usr"]))?;
    run(Command::new(rustup)
        .args(["override", "set", DEBIAN_NAME, "--path"])
        .arg(crate::process::root()))?;
    Toolchain::new(
        "/usr/bin/cargo".into(),
        Some(DEBIAN_NAME.into()),
        Path::new("/usr/bin/rustc"),
    )
}

/// Where cargo keeps what it installs.
pub fn cargo_home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

fn field<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(is_new_enough("1.95.0"));
        assert!(is_new_enough("1.100.0-nightly"));
        assert!(is_new_enough("2.0.0"));
        assert!(!is_new_enough("1.94.1"));
        assert!(!is_new_enough("1.9.0"));
        assert!(!is_new_enough("unknown"));
    }
}
