//! OTLP receivers that others wrote, for the export tests; each lands in the target folder, once for each version
//! that is asked for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::debian;
use crate::process::{find, output, root, run, say};

/// A receiver: how it is installed, and the test that it is for.
pub struct Receiver {
    /// As it is said.
    pub name: &'static str,
    /// Path of the test in `tracer-agent`.
    pub test: &'static str,
    /// What decides its version.
    pinned_by: &'static str,
    /// Its program, beneath the repository.
    program: &'static str,
    make: fn(&Path) -> Result<()>,
}

/// The builder of the Collector, of the version that `builder.yaml` is for.
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.161.0";
/// The first release of Go that fetches a newer one where a module wants it.
const GO_THAT_UPDATES_ITSELF: (u32, u32) = (1, 21);

/// Every receiver.
pub const ALL: &[Receiver] = &[
    Receiver {
        name: "official Python receiver",
        test: "export::tests::independent::the_official_python_messages_hold_the_spans_of_the_json_export",
        pinned_by: "tests/otlp/requirements.txt",
        program: "target/otlp-receiver/bin/python",
        make: make_python,
    },
    Receiver {
        name: "OpenTelemetry Collector",
        test: "export::tests::independent::the_collector_writes_the_very_lines_of_the_json_export",
        pinned_by: "tests/collector/builder.yaml",
        program: "target/collector/otelcol-test",
        make: make_collector,
    },
];

impl Receiver {
    /// Installs it, unless it is there in this version.
    pub fn install(&self) -> Result<()> {
        let version = fs::read(root().join(self.pinned_by))?;
        let stamp = self.stamp();
        if root().join(self.program).exists() && fs::read(&stamp).is_ok_and(|made| made == version) {
            return Ok(());
        }
        say(format!(
            "installing the {} in target/: what is exported is compared with what it receives",
            self.name
        ));
        (self.make)(root())?;
        fs::write(&stamp, version).with_context(|| format!("writing {}", stamp.display()))
    }

    fn stamp(&self) -> PathBuf {
        root().join(format!("{}.version", self.program))
    }
}

fn make_python(root: &Path) -> Result<()> {
    if debian::is_here() {
        debian::install(
            &["python3-venv"],
            "the receiver's packages are kept apart from the system's",
        )?;
    }
    let folder = root.join("target/otlp-receiver");
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-virtualenv",
        ])
        .arg("-r")
        .arg(root.join("tests/otlp/requirements.txt")))
}

fn make_collector(root: &Path) -> Result<()> {
    if find("go").is_none() {
        debian::install(&["golang-go"], "the Collector is built from its Go modules")?;
    }
    let version = output(Command::new("go").args(["env", "GOVERSION"]))?;
    if go_release(&version).is_none_or(|release| release < GO_THAT_UPDATES_ITSELF) {
        let (major, minor) = GO_THAT_UPDATES_ITSELF;
        bail!("building it needs Go {major}.{minor} or newer, this is {version}");
    }
    run(Command::new("go")
        .current_dir(root.join("tests/collector"))
        .args(["run", BUILDER, "--config", "builder.yaml"]))
}

/// `go1.26.8` as (1, 26).
fn go_release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_go_is_read_from_what_it_says() {
        assert_eq!(go_release("go1.26.8"), Some((1, 26)));
        assert_eq!(go_release("go1.19"), Some((1, 19)));
        assert_eq!(go_release("devel"), None);
        assert!(go_release("go1.9") < Some(GO_THAT_UPDATES_ITSELF));
    }
}
