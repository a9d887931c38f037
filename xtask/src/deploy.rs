//! What stands in `deploy/`, looked at by the tools that will read it: Helm lints and renders the chart with each set of values,
//! every manifest is held against the schemas of Kubernetes from the oldest to the newest that the chart is for, systemd reads
//! the unit. Kept true: the manifests in `deploy/kubernetes` are those of the chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{find, output, root, run, target};
use crate::setup;
use crate::setup::manifests::{HELM, SCHEMAS};
use crate::setup::pinned::Pinned;

/// Something to look at.
pub struct Check {
    pub name: &'static str,
    /// Why it cannot be looked at here, if it cannot.
    pub lack: fn() -> Option<String>,
    pub run: fn() -> Result<()>,
}

pub const CHECKS: &[Check] = &[
    Check {
        name: "the chart is linted with every set of values",
        lack: || lack(&[&HELM]),
        run: lint,
    },
    Check {
        name: "values that mean nothing are refused",
        lack: || lack(&[&HELM]),
        run: refused,
    },
    Check {
        name: "whoever selects programs does not get all",
        lack: || lack(&[&HELM]),
        run: selection,
    },
    Check {
        name: "what the chart renders is of the schemas of Kubernetes",
        lack: || lack(&[&HELM, &SCHEMAS]),
        run: of_the_schemas,
    },
    Check {
        name: "the manifests are those of the chart",
        lack: || lack(&[&HELM]),
        run: manifests_are_of_the_chart,
    },
    Check {
        name: "the agent takes the configurations of the chart and of the unit",
        lack: || lack(&[&HELM]),
        run: configurations,
    },
    Check {
        name: "systemd reads the unit",
        lack: || match find("systemd-analyze") {
            None => Some("there is no systemd-analyze".to_owned()),
            Some(_) => None,
        },
        run: unit,
    },
];

const CHART: &str = "deploy/helm/tracer-agent";
/// Sets of values; the first is none.
const VALUES: [Option<&str>; 3] = [
    None,
    Some("deploy/helm/tracer-agent/ci/minimal-values.yaml"),
    Some("deploy/helm/tracer-agent/ci/everything-values.yaml"),
];
/// Oldest and newest, and the first that has a field for AppArmor.
const VERSIONS: [&str; 3] = ["1.25.0", "1.30.0", "1.37.0"];
/// For those who do not use Helm.
const MANIFESTS: &str = "deploy/kubernetes/tracer-agent.yaml";
const NAMESPACE: &str = "tracer-agent";
const UNIT: &str = "deploy/systemd/tracer-agent.service";
/// In tenths, as `systemd-analyze security` rates it: 100 is a service with every right. What the agent is for is in it: root, five
/// capabilities, other processes, and the network.
const EXPOSURE: &str = "35";

/// Writes [`MANIFESTS`] anew.
pub fn write_manifests() -> Result<()> {
    HELM.install()?;
    fs::write(root().join(MANIFESTS), manifests()?).with_context(|| format!("writing {MANIFESTS}"))
}

fn lack(needed: &[&Pinned]) -> Option<String> {
    let mut tried = needed.iter().map(|pinned| pinned.install());
    tried
        .find_map(|tried| tried.err())
        .map(|error| format!("{error:#}"))
}

fn helm(command: &str) -> Command {
    let mut helm = Command::new(HELM.program());
    helm.current_dir(root()).arg(command);
    helm
}

fn with(helm: &mut Command, values: Option<&str>) {
    if let Some(values) = values {
        helm.args(["--values", values]);
    }
}

fn lint() -> Result<()> {
    for values in VALUES {
        let mut helm = helm("lint");
        helm.args(["--strict", "--quiet", CHART]);
        with(&mut helm, values);
        run(&mut helm)?;
    }
    Ok(())
}

fn refused() -> Result<()> {
    for value in [
        "metrics.prot=9464",
        "metrics.port=70000",
        "image.digest=latest",
        "config.host_root=/",
        "extraCapabilities={CAP SYS}",
    ] {
        let mut helm = helm("template");
        helm.args(["x", CHART, "--kube-version", "1.37.0", "--set", value]);
        ensure!(output(&mut helm).is_err(), "--set {value} is taken");
    }
    Ok(())
}

fn selection() -> Result<()> {
    let selects_all = |values| anyhow::Ok(render("1.37.0", values)?.contains("all: true"));
    ensure!(
        selects_all(None)?,
        "without a selection not every process is traced"
    );
    let [_, minimal, everything] = VALUES;
    for values in [minimal, everything] {
        ensure!(!selects_all(values)?, "{values:?} selects programs, and gets all");
    }
    Ok(())
}

fn of_the_schemas() -> Result<()> {
    let folder = target().join("deploy");
    fs::create_dir_all(&folder)?;
    for version in VERSIONS {
        let mut files = Vec::new();
        for (set, values) in VALUES.into_iter().enumerate() {
            let file = folder.join(format!("{version}-{set}.yaml"));
            fs::write(&file, render(version, values)?)?;
            files.push(file);
        }
        files.push(root().join("deploy/kubernetes/namespace.yaml"));
        validate(version, &files)?;
    }
    // What is not of the schema is told: without this a validator that reads nothing would pass.
    let wrong = folder.join("wrong.yaml");
    let right = render("1.37.0", None)?;
    fs::write(&wrong, right.replace("hostPID: true", "hostPid: true"))?;
    ensure!(
        validate("1.37.0", &[wrong]).is_err(),
        "hostPid is taken for a field"
    );
    Ok(())
}

fn render(version: &str, values: Option<&str>) -> Result<String> {
    let mut helm = helm("template");
    helm.args(["tracer-agent", CHART, "--namespace", NAMESPACE]);
    helm.args(["--kube-version", version]);
    with(&mut helm, values);
    output(&mut helm)
}

/// Only of what others define (the Prometheus Operator) there is no schema.
fn validate(version: &str, files: &[PathBuf]) -> Result<()> {
    let mut validator = Command::new(SCHEMAS.program());
    validator
        .args([
            "-m",
            "kubernetes_validate",
            "--strict",
            "--kubernetes-version",
            version,
        ])
        .args(files);
    let said = output(&mut validator)?;
    let without = said.lines().filter(|line| line.contains("Couldn't find schema"));
    for line in without {
        ensure!(line.contains("monitoring.coreos.com"), "{line}");
    }
    ensure!(said.contains("daemonset/"), "nothing was looked at: {said}");
    Ok(())
}

fn manifests_are_of_the_chart() -> Result<()> {
    let written = fs::read_to_string(root().join(MANIFESTS))?;
    if written != manifests()? {
        bail!("{MANIFESTS} is not what the chart renders: run `cargo xtask manifests`");
    }
    Ok(())
}

/// The chart with its own values, for a recent cluster, without what only Helm reads.
fn manifests() -> Result<String> {
    let mut helm = helm("template");
    helm.args(["tracer-agent", CHART, "--namespace", NAMESPACE]);
    helm.args(["--kube-version", "1.30.0", "--skip-tests"]);
    let rendered = output(&mut helm)?;
    let kept = rendered.lines().filter(|line| {
        let line = line.trim_start();
        !["helm.sh/chart:", "app.kubernetes.io/managed-by:", "# Source:"]
            .iter()
            .any(|of_helm| line.starts_with(of_helm))
    });
    let head =
        format!("# The chart with its own values, by `cargo xtask manifests`: edit {CHART}, not this.");
    Ok(std::iter::once(head.as_str())
        .chain(kept)
        .flat_map(|line| [line, "\n"])
        .collect())
}

/// Every key is one that the agent knows, with a value that it takes; one that it does not know is refused.
fn configurations() -> Result<()> {
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .args(["build", "--quiet", "--package", "tracer-agent"]))?;
    let folder = target().join("deploy");
    fs::create_dir_all(&folder)?;
    let mut files = vec![root().join("deploy/systemd/config.yaml")];
    for (set, values) in VALUES.into_iter().enumerate() {
        let file = folder.join(format!("config-{set}.yaml"));
        fs::write(&file, configuration(&render("1.37.0", values)?)?)?;
        files.push(file);
    }
    for file in &files {
        check(file)?;
    }
    let wrong = folder.join("config-wrong.yaml");
    fs::write(&wrong, "metrics_listen: 9464\n")?;
    ensure!(check(&wrong).is_err(), "a key that there is not is taken");
    Ok(())
}

/// What is in the ConfigMap, without its indentation.
fn configuration(rendered: &str) -> Result<String> {
    const BEGIN: &str = "  config.yaml: |\n";
    let (_, rest) = rendered
        .split_once(BEGIN)
        .context("the chart has no configuration")?;
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

fn check(configuration: &Path) -> Result<String> {
    let mut agent = Command::new(target().join("debug/tracer-agent"));
    output(agent.args(["config", "check", "--config"]).arg(configuration))
}

/// Read as it stands, but for the program, which need not be installed here.
fn unit() -> Result<()> {
    let folder = target().join("deploy");
    fs::create_dir_all(&folder)?;
    let text = fs::read_to_string(root().join(UNIT))?;
    let file = folder.join("tracer-agent.service");
    fs::write(
        &file,
        text.replace("=/usr/bin/tracer-agent ", "=/bin/true ")
            .replace("man:tracer-agent(8)", "man:bpf(2)"),
    )?;
    let verdict = analyze(&["verify", "--man=no"], &file)?;
    ensure!(verdict.is_empty(), "{verdict}");
    analyze(&["security", "--offline=true", "--threshold", EXPOSURE], &file).map(drop)
}

/// What systemd says of a unit; its complaints come on standard error, at times with success.
fn analyze(arguments: &[&str], unit: &Path) -> Result<String> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "systemd-analyze {}: {complaints}",
        arguments.join(" ")
    );
    Ok(complaints)
}
