//! OTLP receivers that others wrote, for the export tests.

use std::process::Command;

use anyhow::{Result, bail};

use super::debian;
use super::pinned::{Pinned, make_python};
use crate::process::{find, output, root, run};

/// A receiver, and the test that it is for.
pub struct Receiver {
    pub program: Pinned,
    /// Path of the test in `tracer-agent`.
    pub test: &'static str,
}

/// What all are for.
const WHY: &str = "what is exported is compared with what it receives";
/// The builder of the Collector, of the version that its files in `tests/collector` are for.
const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.161.0";
/// The first release of Go that fetches a newer one where a module wants it.
const GO_THAT_UPDATES_ITSELF: (u32, u32) = (1, 21);

/// Every receiver.
pub const ALL: &[Receiver] = &[
    Receiver {
        program: Pinned {
            name: "official Python receiver",
            why: WHY,
            pinned_by: "tests/otlp/requirements.txt",
            program: "target/otlp-receiver/bin/python",
            make: make_python,
        },
        test: "export::tests::independent::the_official_python_messages_hold_the_spans_of_the_json_export",
    },
    Receiver {
        program: Pinned {
            name: "OpenTelemetry Collector",
            why: WHY,
            pinned_by: "tests/collector/builder.yaml",
            program: "target/collector/otelcol-test",
            make: make_collector,
        },
        test: "export::tests::independent::the_collector_writes_the_very_lines_of_the_json_export",
    },
];

/// The Collector that the builder's file which pins it describes.
pub fn make_collector(pinned: &Pinned) -> Result<()> {
    need_go_that_updates_itself("the Collector is built from its Go modules")?;
    run(Command::new("go")
        .current_dir(root().join("tests/collector"))
        .args(["run", BUILDER, "--config"])
        .arg(root().join(pinned.pinned_by)))
}

/// Go, of a release that can build what asks for a newer one.
pub fn need_go_that_updates_itself(why: &str) -> Result<()> {
    if find("go").is_none() {
        debian::install(&["golang-go"], why)?;
    }
    let version = output(Command::new("go").args(["env", "GOVERSION"]))?;
    if go_release(&version).is_none_or(|release| release < GO_THAT_UPDATES_ITSELF) {
        let (major, minor) = GO_THAT_UPDATES_ITSELF;
        bail!("building it needs Go {major}.{minor} or newer, this is {version}");
    }
    Ok(())
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
