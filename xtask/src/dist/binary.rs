//! The agent as one static file: built for musl, so that it runs on any Linux and in an image that holds nothing else. What it
//! needs of others is looked at in the file itself, not taken from the linker's word.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use crate::arch::Arch;
use crate::process::{root, run, target};
use crate::setup::{self, Toolchain, cross, toolchain};

/// Builds it, and leaves a copy in `target/dist`.
pub fn build(arch: Arch) -> Result<PathBuf> {
    let toolchain = setup::for_build()?;
    toolchain.add_target(arch.triple())?;
    let mut cargo = toolchain.cargo();
    cross::prepare(arch, &mut cargo)?;
    cargo
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "tracer-agent", "--target", arch.triple()])
        .env("CARGO_ENCODED_RUSTFLAGS", nameless(&toolchain)?);
    run(&mut cargo)?;
    let built = target().join(arch.triple()).join("release/tracer-agent");
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    ensure_static(arch, &bytes).with_context(|| format!("{}", built.display()))?;
    let path = super::keep(&super::stem(arch), &bytes)?;
    fs::set_permissions(&path, fs::metadata(&built)?.permissions())?;
    Ok(path)
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
        let mut own = fs::read(std::env::current_exe().unwrap()).unwrap();
        own[MACHINE] = Arch::Amd64.machine().to_le_bytes()[0];
        let error = ensure_static(Arch::Amd64, &own).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let mut own = fs::read(std::env::current_exe().unwrap()).unwrap();
        own[MACHINE] = object::elf::EM_AARCH64.to_le_bytes()[0];
        let error = ensure_static(Arch::Amd64, &own).unwrap_err();
        assert!(error.to_string().contains("another processor"), "{error}");
    }

    /// `e_machine` in an ELF header.
    const MACHINE: usize = 18;
}
