//! `cargo xtask build-ebpf`: builds the kernel side by way of the agent's build script, as `cargo build`
//! does, and says where the object is.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::process::{run, say, target};
use crate::setup;

pub fn run_build() -> Result<()> {
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .args(["build", "--quiet", "--package", "tracer-agent"]))?;
    let (object, bytes) = newest_object()?;
    say(format!("{}, {bytes} bytes", object.display()));
    Ok(())
}

/// Each set of features has a build folder of its own: the newest is the one just made or confirmed.
fn newest_object() -> Result<(PathBuf, u64)> {
    let folder = target().join("debug/build");
    fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| {
            let file = entry.ok()?.path().join("out/tracer-ebpf");
            let facts = file.metadata().ok()?;
            Some((
                facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                file,
                facts.len(),
            ))
        })
        .max()
        .map(|(_, file, bytes)| (file, bytes))
        .with_context(|| format!("no object under {}", folder.display()))
}
