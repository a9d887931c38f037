//! Compiles `tracer-ebpf` for the kernel and leaves the object at `$OUT_DIR/tracer-ebpf`, to be embedded.
//!
//! aya-build would do this with a nightly toolchain. One stable toolchain serves both sides here: the
//! unstable flag that the BPF target needs (`build-std`) is unlocked for this one nested build alone.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "bpfel-unknown-none";

/// Debug info plus `--btf` give the object its map and function types.
const RUSTFLAGS: [&str; 2] = ["-Cdebuginfo=2", "-Clink-arg=--btf"];

/// The processors that `tracer-ebpf/src/arch` has a file for.
const ARCHITECTURES: [&str; 2] = ["aarch64", "x86_64"];

/// What the outer cargo sets for this script and a nested cargo would take for its own: flags meant for the
/// host, clippy's wrapper, this package's features and profile.
const FOREIGN: [&str; 11] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

fn main() {
    if let Err(reason) = build() {
        eprintln!("the kernel side could not be built: {reason}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for path in [
        "tracer-ebpf/src",
        "tracer-ebpf/Cargo.toml",
        "tracer-common/src",
        "tracer-common/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let linker = bpf_linker()?;
    println!("cargo::rerun-if-changed={}", linker.display());
    require_core_source()?;

    let out = PathBuf::from(variable("OUT_DIR")?);
    // A target folder of its own: the outer cargo holds the lock of the usual one.
    let target = out.join("bpf");
    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| FOREIGN.iter().any(|foreign| name.starts_with(foreign)))
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "tracer-ebpf",
            "--bin",
            "tracer-ebpf",
        ])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(&target)
        .env("RUSTC", variable("RUSTC")?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&root)?)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        // The release profile of the workspace is the agent's; stripping would take the BTF with it.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err(format!("cargo ended with {status}; its messages are above"));
    }
    let object = target.join(TARGET).join("release/tracer-ebpf");
    let failed = |error: &dyn std::error::Error| format!("stripping {}: {error}", object.display());
    let bytes = fs::read(&object).map_err(|error| failed(&error))?;
    let bytes = stripped(&bytes).map_err(|error| failed(&error))?;
    fs::write(out.join("tracer-ebpf"), bytes).map_err(|error| failed(&error))
}

/// `cfg` tells the crate whose registers and syscall numbers it will meet: those of the processor that the agent is built for. Lines of the
/// program, in its BTF, are told by file: where that lies on the machine that builds is left out.
fn rustflags(root: &Path) -> Result<String, String> {
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let known = ARCHITECTURES.into_iter().find(|known| arch == *known);
    let arch = known.ok_or_else(|| {
        format!(
            "it knows {}, and not {}",
            ARCHITECTURES.join(" and "),
            arch.display()
        )
    })?;
    let arch = format!("--cfg=bpf_target_arch=\"{arch}\"");
    let root = fs::canonicalize(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let core = sysroot()?.join("lib/rustlib/src/rust");
    let mut places = vec![(core, "/rust"), (root, "/tracer-agent")];
    places.extend(cargo_home().map(|home| (home, "/cargo")));
    let names = places
        .into_iter()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    let flags = RUSTFLAGS.map(str::to_owned).into_iter().chain(names);
    Ok(flags.chain([arch]).collect::<Vec<_>>().join("\x1f"))
}

/// The BTF was made of the debug information, which is four fifths of the object and which nobody reads after that.
fn stripped(object: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut builder = object::build::elf::Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM keeps names of sections with those of symbols, this writer does not.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = object::build::elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set; this script is run by cargo"))
}

/// The linker on the PATH, else where `cargo install` puts it, which need not be on the PATH.
fn bpf_linker() -> Result<PathBuf, String> {
    let on_path = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let installed = cargo_home().map(|home| home.join("bin"));
    on_path
        .into_iter()
        .chain(installed)
        .map(|folder| folder.join("bpf-linker"))
        .find(|program| program.is_file())
        .ok_or_else(|| "bpf-linker is missing; `cargo xtask setup` installs it".to_owned())
}

/// Where cargo keeps what it fetches and installs.
fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

/// No core is shipped for the BPF target: it is compiled from the toolchain's own source.
fn require_core_source() -> Result<(), String> {
    let lock = sysroot()?.join("lib/rustlib/src/rust/library/Cargo.lock");
    if lock.is_file() {
        return Ok(());
    }
    Err(format!(
        "the rust-src component is missing ({}); `cargo xtask setup` installs it",
        lock.display()
    ))
}

/// Where the toolchain stands.
fn sysroot() -> Result<PathBuf, String> {
    let output = Command::new(variable("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("rustc does not start: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
