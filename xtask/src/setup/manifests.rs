//! What reads manifests as a cluster does: Helm, and the schemas of Kubernetes.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::pinned::{Pinned, make_python};
use super::receivers::need_go_that_updates_itself;
use crate::process::{root, run};

/// Renders the chart.
pub const HELM: Pinned = Pinned {
    name: "Helm",
    why: "the chart is linted and rendered by it",
    pinned_by: "tests/deploy/helm.version",
    program: "target/helm/helm",
    make: make_helm,
};

/// A Python that has `kubernetes_validate`, with the schemas of many versions.
pub const SCHEMAS: Pinned = Pinned {
    name: "schemas of Kubernetes",
    why: "manifests are compared with them",
    pinned_by: "tests/deploy/requirements.txt",
    program: "target/kubernetes/bin/python",
    make: make_python,
};

fn make_helm(pinned: &Pinned) -> Result<()> {
    need_go_that_updates_itself("Helm is built from its Go modules")?;
    let version = fs::read_to_string(root().join(pinned.pinned_by))?;
    let program = pinned.program();
    let folder = program.parent().context("a program lies in a folder")?;
    run(Command::new("go")
        .env("GOBIN", folder)
        .args(["install", "-ldflags=-s -w"])
        .arg(format!("helm.sh/helm/v3/cmd/helm@{}", version.trim())))
}
