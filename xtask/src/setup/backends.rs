//! Backends that others wrote, for `cargo xtask backends`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::apt::{self, Apt};
use super::pinned::Pinned;
use super::receivers::{make_collector, need_go_that_updates_itself};
use crate::arch::Arch;
use crate::process::{output, root, run, say};

/// What all are for.
const WHY: &str = "it is asked for what the agent exported";
/// Any release will do.
const DEBIAN: &str = "http://deb.debian.org/debian bookworm main";

/// With what `deploy/collector` asks for.
pub const COLLECTOR: Pinned = Pinned {
    name: "OpenTelemetry Collector that samples",
    why: WHY,
    pinned_by: "tests/collector/sampling.yaml",
    program: "target/collector-sampling/otelcol-sampling",
    make: make_collector,
};

pub const JAEGER: Pinned = Pinned {
    name: "Jaeger",
    why: WHY,
    pinned_by: "tests/jaeger/go.mod",
    program: "target/jaeger/jaeger",
    make: make_jaeger,
};

/// Prometheus and its promtool, of Debian's package.
pub struct Prometheus {
    pub server: PathBuf,
    pub tool: PathBuf,
}

/// Built where the module was fetched to: it replaces modules, which counts for the main module only.
fn make_jaeger(pinned: &Pinned) -> Result<()> {
    need_go_that_updates_itself("Jaeger is built from its Go modules")?;
    let folder = root().join("tests/jaeger");
    let module = "github.com/jaegertracing/jaeger";
    run(Command::new("go")
        .current_dir(&folder)
        .args(["mod", "download", module]))?;
    let source = output(
        Command::new("go")
            .current_dir(&folder)
            .args(["list", "-m", "-f", "{{.Dir}}", module]),
    )?;
    run(Command::new("go")
        .current_dir(source)
        .args(["build", "-o"])
        .arg(pinned.program())
        .arg("./cmd/jaeger"))
}

/// Unpacked and not installed, since the package starts a server.
pub fn prometheus() -> Result<Prometheus> {
    let folder = root().join("target/prometheus");
    let found = Prometheus {
        server: folder.join("usr/bin/prometheus"),
        tool: folder.join("usr/bin/promtool"),
    };
    if !found.tool.exists() {
        super::need(&[super::APT], "Prometheus is fetched by it")?;
        say(format!("fetching Debian's Prometheus into target/: {WHY}"));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let apt = Apt::new(Arch::of_this_machine(), &[DEBIAN], &folder)?;
        apt.download("prometheus")?;
        apt::unpack(&apt::packages_in(&folder)?, &folder)?;
    }
    Ok(found)
}
