//! `cargo xtask dist`, `image` and `deb`: what is handed to others. In: the working tree. Out: files under `target/dist`,
//! named by version and architecture. Kept true: they are made of the same static file, carry the time of the last commit
//! (or `SOURCE_DATE_EPOCH`) and nothing of the machine or the moment they are made at.

mod archive;
mod binary;
mod deb;
mod digest;
mod image;
mod moment;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::process::{say, target};
use digest::Digest;

#[derive(Args)]
pub struct Options {
    /// For which processors
    #[arg(long, value_enum, default_value_t = Arch::Amd64)]
    arch: Arch,
}

/// The version of everything that is handed out: the workspace's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn run_dist(options: &Options) -> Result<()> {
    binary::build(options.arch).map(drop)
}

pub fn run_image(options: &Options) -> Result<()> {
    let binary = binary::build(options.arch)?;
    let image = image::image(options.arch, &binary, moment::of_last_commit()?)?;
    keep(&format!("{}.oci.tar", stem(options.arch)), &image).map(drop)
}

pub fn run_deb(options: &Options) -> Result<()> {
    let binary = binary::build(options.arch)?;
    let package = deb::package(options.arch, &binary, moment::of_last_commit()?)?;
    tell(&package, &fs::read(&package)?);
    Ok(())
}

/// What the names of all files begin with.
fn stem(arch: Arch) -> String {
    format!("tracer-agent-{VERSION}-{}", arch.name())
}

fn folder() -> Result<PathBuf> {
    let folder = target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// Writes a file of that name, and says what it is.
fn keep(name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder()?.join(name);
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    tell(&path, bytes);
    Ok(path)
}

fn tell(path: &Path, bytes: &[u8]) {
    const MIB: usize = 1 << 20;
    let hundredths = bytes.len() * 100 / MIB;
    say(format!(
        "{}: {}.{:02} MiB, sha256 {}",
        path.display(),
        hundredths / 100,
        hundredths % 100,
        Digest::of(bytes).hex()
    ));
}
