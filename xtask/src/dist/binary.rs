//! The agent as one static file: built for musl, so that it runs on any Linux and in an image that holds nothing else. What it
//! needs of others is looked at in the file itself, not taken from the linker's word.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use super::arch::Arch;
use crate::process::{root, run, target};
use crate::setup::{self, Toolchain, toolchain};

/// Builds it, and leaves a copy in `target/dist`.
pub fn build(arch: Arch) -> Result<PathBuf> {
    let toolchain = setup::for_build()?;
    setup::for_dist(arch == Arch::Arm64)?;
    toolchain.add_target(arch.triple())?;
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "tracer-agent", "--target", arch.triple()])
        .env("CARGO_ENCODED_RUSTFLAGS", nameless(&toolchain)?);
    if arch == Arch::Arm64 {
        cross(&mut cargo);
    }
    run(&mut cargo)?;
    let built = target().join(arch.triple()).join("release/tracer-agent");
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    ensure_static(arch, &bytes).with_context(|| format!("{}", built.display()))?;
    let path = super::keep(&super::stem(arch), &bytes)?;
    fs::set_permissions(&path, fs::metadata(&built)?.permissions())?;
    Ok(path)
}

/// The C compiler and linker of Debian for the other processor. Its objects are linked with the C library that rustc brings.
fn cross(cargo: &mut std::process::Command) {
    const GCC: &str = "aarch64-linux-gnu-gcc";
    cargo
        .env("CC_aarch64_unknown_linux_musl", GCC)
        .env("AR_aarch64_unknown_linux_musl", "aarch64-linux-gnu-ar")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", GCC);
}

/// Messages of panics name source files; where these lie on the machine that builds is nothing to hand out, and would make the
/// file another one on every machine.
fn nameless(toolchain: &Toolchain) -> Result<String> {
    let places: [(&Path, &str); 3] = [
        (&toolchain.source(), "/rust"),
        (&toolchain::cargo_home()?, "/cargo"),
        (root(), "/tracer-agent"),
    ];
    let flags = places.map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    Ok(flags.join("\x1f"))
}

/// Neither an interpreter nor a library is asked for.
fn ensure_static(arch: Arch, file: &[u8]) -> Result<()> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let machine = header.e_machine(endian);
    ensure!(machine == arch.machine(), "is for another processor ({machine})");
    for segment in header.program_headers(endian, file)? {
        if segment.p_type(endian) == PT_INTERP {
            bail!("is not static: it names an interpreter");
        }
        for entry in segment.dynamic(endian, file)?.unwrap_or_default() {
            let tag = entry.d_tag(endian);
            ensure!(tag != DT_NEEDED, "is not static: it names a library");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_an_interpreter_is_not_static() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let arch = if cfg!(target_arch = "x86_64") {
            Arch::Amd64
        } else {
            Arch::Arm64
        };
        let error = ensure_static(arch, &own).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
        let other = [Arch::Amd64, Arch::Arm64]
            .into_iter()
            .find(|other| *other != arch);
        let error = ensure_static(other.unwrap(), &own).unwrap_err();
        assert!(error.to_string().contains("another processor"), "{error}");
    }
}
