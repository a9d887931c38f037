//! Finds what building and testing need, and installs what is missing. Says each step and why; does
//! nothing, quickly, where everything is there; safe to run several times at once.

pub mod apt;
pub mod backends;
pub mod bpf_linker;
pub mod cross;
pub mod debian;
pub mod manifests;
pub mod pinned;
pub mod receivers;
pub mod toolchain;

use std::fs::File;

use anyhow::{Context, Result};
use clap::Args;

use crate::arch::Arch;
use crate::process::{find, say};
pub use toolchain::Toolchain;

#[derive(Args)]
pub struct Options {
    /// Only what `cargo build` and the demo need, not the programs that the tests run
    #[arg(long)]
    build_only: bool,
}

/// A package of Debian, and the program of it that is looked for on other systems.
type Package = (&'static str, &'static str);

/// Programs that the live tests run as they are.
const FOR_TESTS: &[Package] = &[
    ("curl", "curl"),
    ("gunicorn", "gunicorn"),
    ("nghttp2-client", "nghttp"),
    ("nghttp2-proxy", "nghttpx"),
    ("nghttp2-server", "nghttpd"),
    ("nginx-light", "nginx"),
    ("python3", "python3"),
    ("wrk", "wrk"),
];
/// Whichever is there will do.
const GO: &[Package] = &[("golang-go", "go")];
/// Ruby comes with them.
const PUMA: &[Package] = &[("puma", "puma"), ("ruby-rack", "rackup")];
/// What `cargo xtask bench` loads and looks with.
const FOR_BENCH: &[Package] = &[
    ("apache2-utils", "ab"),
    ("bpftool", "bpftool"),
    ("nghttp2-client", "h2load"),
    ("nginx-light", "nginx"),
    ("openssl", "openssl"),
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-benchmark"),
    ("valgrind", "valgrind"),
    ("wrk", "wrk"),
];
/// What a program in Rust that does TLS by OpenSSL is linked with.
const FOR_NATIVE_TLS: &[Package] = &[("libssl-dev", "openssl"), ("pkg-config", "pkg-config")];
const FOR_NAMESPACES: &[Package] = &[("iproute2", "ip"), ("util-linux", "unshare")];
/// What boots another kernel beside the emulator: what its first file system is made with.
const FOR_VM: &[Package] = &[
    ("busybox-static", "busybox"),
    ("cpio", "cpio"),
    ("xz-utils", "xz"),
    APT,
];
/// Debian's archive keys, and apt, which fetches packages of any of its releases.
const APT: Package = ("debian-archive-keyring", "apt-get");

/// A C compiler for programs that need no library: the agent's allocator and its cryptography are written in C.
const FOR_DIST: &[Package] = &[("musl-tools", "musl-gcc")];

/// What makes packages of Debian, also elsewhere.
const FOR_DEB: &[Package] = &[("dpkg", "dpkg-deb")];

pub fn run_setup(options: &Options) -> Result<()> {
    let toolchain = for_build()?;
    if !options.build_only {
        for_tests()?;
        for_vm(Arch::Amd64)?;
    }
    say(format!(
        "ready: rustc {}, LLVM {}",
        toolchain.release, toolchain.llvm
    ));
    Ok(())
}

/// Everything that `cargo build` needs.
pub fn for_build() -> Result<Toolchain> {
    let mut toolchain = Toolchain::running()?;
    if toolchain.has_core_source() && bpf_linker::is_right(&toolchain) {
        return Ok(toolchain);
    }
    let _alone = lock()?;
    toolchain = toolchain.with_core_source()?;
    bpf_linker::install(&toolchain)?;
    Ok(toolchain)
}

/// Everything that the live tests run.
pub fn for_tests() -> Result<()> {
    need(FOR_TESTS, "the live tests trace these programs as they are")?;
    need_go()
}

/// Go, from anywhere, else from Debian.
pub fn need_go() -> Result<()> {
    match find("go") {
        Some(_) => Ok(()),
        None => need(GO, "programs that are traced are written in it"),
    }
}

/// Ruby with puma, from Debian.
pub fn need_puma() -> Result<()> {
    need(PUMA, "workloads are served by puma")
}

/// Everything that `cargo xtask bench` needs.
pub fn for_bench() -> Result<()> {
    need(FOR_BENCH, "the agent's cost is measured with these")?;
    need_go()
}

/// Everything that a program in Rust that does TLS by OpenSSL is built with.
pub fn for_native_tls() -> Result<()> {
    need(FOR_NATIVE_TLS, "a client of the matrix does TLS by it")
}

/// Everything that `cargo xtask backends` runs beside the backends themselves.
pub fn for_backends() -> Result<()> {
    for_tests()?;
    need(FOR_NAMESPACES, "each backend has a network of its own")
}

/// Everything that `cargo xtask vm` needs.
pub fn for_vm(arch: Arch) -> Result<()> {
    let emulator = match arch {
        Arch::Amd64 => ("qemu-system-x86", "qemu-system-x86_64"),
        Arch::Arm64 => ("qemu-system-arm", "qemu-system-aarch64"),
    };
    need(
        &[FOR_VM, &[emulator]].concat(),
        "other kernels are booted with these",
    )
}

/// Everything that `cargo xtask dist` needs.
pub fn for_dist() -> Result<()> {
    need(FOR_DIST, "the agent is built as one static file with these")
}

/// Everything that compiling for another processor needs.
pub fn for_cross(arch: Arch) -> Result<()> {
    let compiler = match arch {
        Arch::Amd64 => ("gcc-x86-64-linux-gnu", "x86_64-linux-gnu-gcc"),
        Arch::Arm64 => ("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
    };
    need(
        &[compiler, APT],
        "the agent is built for another processor with these",
    )
}

/// Everything that `cargo xtask deb` needs.
pub fn for_deb() -> Result<()> {
    need(FOR_DEB, "the package is put together by it")
}

/// Debian is asked for the package, since a program of that name can be another one: busybox that is not static.
fn need(packages: &[Package], why: &str) -> Result<()> {
    let is_debian = debian::is_here();
    let missing: Vec<_> = packages
        .iter()
        .filter(|(_, program)| is_debian || find(program).is_none())
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        debian::install(&missing, why)
    }
}

/// Two set-ups at once wait for each other, also from two clones: what they install is the user's, not the clone's.
fn lock() -> Result<File> {
    let home = toolchain::cargo_home()?;
    std::fs::create_dir_all(&home)?;
    let path = home.join(".tracer-agent-setup.lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()?;
    Ok(file)
}
