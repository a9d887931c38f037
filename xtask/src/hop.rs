//! The programs of the workloads that have to be compiled and lie beside the live tests: Go's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::process::{root, run, say, target};

/// Builds it and says where it is: beside the live tests, which run where nothing can be built.
pub fn build(arch: Arch) -> Result<PathBuf> {
    compile(arch, "hop-go", ".", "tests/workloads/hop.go")
}

/// The hop that calls by gRPC and the programs of cleartext HTTP/2 and of TLS, which take a newer Go, and what others wrote. Where one
/// cannot be built, what needs it is skipped.
pub fn build_others(arch: Arch) {
    let grpc = || compile(arch, "hop-grpc-go", "tests/workloads/grpc-go", ".");
    let h2c = || compile(arch, "h2c-go", ".", "tests/workloads/h2c.go");
    let tls = || compile(arch, "tls-go", ".", "tests/workloads/tls.go");
    let web = || compile(arch, "grpc-web", "tests/workloads/grpc-web", ".");
    for reason in [grpc().err(), web().err(), h2c().err(), tls().err()]
        .into_iter()
        .flatten()
    {
        say(format!("{reason:#}"));
    }
}

fn compile(arch: Arch, name: &str, folder: &str, source: &str) -> Result<PathBuf> {
    let built = beside(arch).join(name);
    run(Command::new("go")
        .current_dir(root().join(folder))
        // Without C it starts anywhere.
        .env("CGO_ENABLED", "0")
        .env("GOARCH", arch.name())
        .args(["build", "-o"])
        .arg(&built)
        .arg(source))?;
    Ok(built)
}

/// Where the live tests are.
pub fn beside(arch: Arch) -> PathBuf {
    if arch == Arch::of_this_machine() {
        target().join("release")
    } else {
        target().join(arch.triple()).join("release")
    }
}
