//! `cargo xtask demo`: from a clone to the waterfall of a distributed request.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::process::{is_root, run, say, target};
use crate::setup;

#[derive(Args)]
pub struct Options {
    /// Given to `tracer-agent demo`
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub fn run_demo(options: &Options) -> Result<()> {
    let toolchain = setup::for_build()?;
    say("building the agent");
    // A debug build: it shows the same tree and is there long before a release build.
    run(toolchain
        .cargo()
        .args(["build", "--quiet", "--package", "tracer-agent"]))?;
    let agent = target().join("debug/tracer-agent");
    let mut command = if is_root() {
        Command::new(agent)
    } else {
        say("probing the kernel needs root: asking sudo for it");
        let mut sudo = Command::new("sudo");
        sudo.arg(agent);
        sudo
    };
    run(command.arg("demo").args(&options.arguments))
}
