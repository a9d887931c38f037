//! bpf-linker, which turns rustc's bitcode into a BPF object. The LLVM it is built with must not be older
//! than the one inside rustc, or it cannot read that bitcode.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use super::toolchain::{Toolchain, cargo_home};
use crate::process::{find, output, run, say};

const VERSION: &str = "0.13.0";

/// Whether the right one is installed.
pub fn is_right(toolchain: &Toolchain) -> bool {
    installed().is_some_and(|linker| wrong(&linker, toolchain).is_none())
}

/// Installs it unless the right one is there.
pub fn install(toolchain: &Toolchain) -> Result<()> {
    let reason = match installed() {
        None => "it is missing".to_owned(),
        Some(linker) => match wrong(&linker, toolchain) {
            None => return Ok(()),
            Some(reason) => reason,
        },
    };
    say(format!(
        "installing bpf-linker {VERSION}, which links the kernel side: {reason}"
    ));
    let llvm = toolchain.llvm;
    let prefix = llvm_prefix(llvm)?;
    // Not for the BPF target: this is a program of the host, whatever the caller's flags are.
    run(toolchain
        .cargo()
        .args([
            "install",
            "bpf-linker",
            "--locked",
            "--force",
            "--no-default-features",
        ])
        .args([
            "--version",
            &format!("={VERSION}"),
            "--features",
            &format!("llvm-{llvm}"),
        ])
        .env("LLVM_PREFIX", prefix)
        .env_remove("RUSTFLAGS"))
    .with_context(|| format!("bpf-linker {VERSION} does not build with LLVM {llvm}"))?;
    match installed().and_then(|linker| wrong(&linker, toolchain)) {
        None => Ok(()),
        Some(reason) => {
            bail!("the bpf-linker found first on the PATH is not the one just installed: {reason}")
        }
    }
}

fn installed() -> Option<PathBuf> {
    find("bpf-linker").or_else(|| {
        let file = cargo_home().ok()?.join("bin/bpf-linker");
        file.is_file().then_some(file)
    })
}

/// What is wrong with this one, if anything.
fn wrong(linker: &Path, toolchain: &Toolchain) -> Option<String> {
    let version = match output(Command::new(linker).arg("--version")) {
        Ok(version) => version,
        Err(error) => return Some(format!("{error:#}")),
    };
    if version.split_whitespace().next_back() != Some(VERSION) {
        return Some(format!("{} is {version}", linker.display()));
    }
    // A statically linked one names no library: its version is all there is to judge.
    let libraries = output(Command::new("ldd").arg(linker)).unwrap_or_default();
    let llvm = linked_llvm(&libraries)?;
    (llvm < toolchain.llvm).then(|| format!("its LLVM is {llvm}, that of rustc {}", toolchain.llvm))
}

fn linked_llvm(libraries: &str) -> Option<u32> {
    let (_, after) = libraries.split_once("libLLVM")?;
    after
        .split(|letter: char| !letter.is_ascii_digit())
        .find_map(|digits| digits.parse().ok())
}

/// LLVM's own folder, with headers and libraries to link against.
fn llvm_prefix(llvm: u32) -> Result<PathBuf> {
    if let Some(given) = env::var_os("LLVM_PREFIX") {
        return Ok(given.into());
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if !prefix.join("bin/llvm-config").exists() || !prefix.join("lib/libPolly.a").exists() {
        let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        debian::install(&packages, "bpf-linker is linked with the LLVM that rustc has")?;
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_of_a_linker_is_read_from_the_library_it_loads() {
        assert_eq!(
            linked_llvm("\tlibLLVM.so.22.1 => /usr/lib/libLLVM.so.22.1 (0x7f)"),
            Some(22)
        );
        assert_eq!(
            linked_llvm("\tlibLLVM-19.so.1 => /usr/lib/libLLVM-19.so.1"),
            Some(19)
        );
        assert_eq!(linked_llvm("\tlibc.so.6 => /lib/libc.so.6"), None);
    }
}
