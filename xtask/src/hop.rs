//! The hop of the workloads that has to be compiled: Go's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{root, run, target};

/// Builds it and says where it is: beside the live tests, which run where nothing can be built.
pub fn build() -> Result<PathBuf> {
    let built = target().join("release/hop-go");
    run(Command::new("go")
        .current_dir(root())
        // Without C it starts anywhere.
        .env("CGO_ENABLED", "0")
        .args(["build", "-o"])
        .arg(&built)
        .arg("tests/workloads/hop.go"))?;
    Ok(built)
}
