//! What compiles and links the agent's C parts (its allocator, its cryptography, zstd) as programs that need no library: on this machine's
//! own processor `musl-gcc`; for another Debian's cross compiler, with the headers of that processor's musl. The library itself comes
//! with rustc.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::apt::{self, Apt};
use crate::arch::Arch;
use crate::process::{output, target};

/// Any release will do: musl keeps its interface.
const SOURCE: &str = "http://deb.debian.org/debian bookworm main";

/// Has cargo compile for a processor by it.
pub fn prepare(arch: Arch, cargo: &mut Command) -> Result<()> {
    if arch == Arch::of_this_machine() {
        return super::for_dist();
    }
    super::for_cross(arch)?;
    let prefix = format!("{}-linux-gnu", arch.machine_name());
    let gcc = format!("{prefix}-gcc");
    let own = output(Command::new(&gcc).arg("-print-file-name=include"))?;
    let musl = headers(arch)?;
    // gcc's own functions for atomic operations want glibc.
    let atomics = match arch {
        Arch::Amd64 => "",
        Arch::Arm64 => "-mno-outline-atomics",
    };
    let flags = format!("-nostdinc -isystem {own} -isystem {} {atomics}", musl.display());
    let triple = arch.triple().replace('-', "_");
    cargo
        .env(format!("CC_{triple}"), &gcc)
        .env(format!("AR_{triple}"), format!("{prefix}-ar"))
        .env(format!("CFLAGS_{triple}"), flags)
        .env(format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()), gcc);
    Ok(())
}

/// The headers of its musl, fetched where they are not there yet.
fn headers(arch: Arch) -> Result<PathBuf> {
    let folder = target().join("cross").join(arch.name());
    let headers = folder
        .join("usr/include")
        .join(format!("{}-linux-musl", arch.machine_name()));
    if !headers.is_dir() {
        std::fs::create_dir_all(&folder)?;
        let apt = Apt::new(arch, &[SOURCE], &folder)?;
        apt.download("musl-dev")?;
        apt::unpack(&apt::packages_in(&folder)?, &folder)?;
    }
    Ok(headers)
}
