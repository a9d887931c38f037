//! `cargo xtask link`: what the `timing` rung answers to a file of exchanges that something else has written down.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::process::run;
use crate::setup;

#[derive(Args)]
pub struct Options {
    /// Exchanges, a JSON object a line: id, process, side (inbound or outbound), peer, start_ns, end_ns and perhaps thread;
    /// may be compressed (.gz)
    #[arg(long)]
    exchanges: PathBuf,
    /// True parents, a JSON object a line: id, parent, trace; how right the answers are is told on standard error
    #[arg(long)]
    truth: Option<PathBuf>,
}

pub fn link(options: &Options) -> Result<()> {
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .args([
            "run",
            "--release",
            "--quiet",
            "--package",
            "tracer-agent",
            "--example",
            "link",
            "--",
        ])
        .arg(&options.exchanges)
        .args(&options.truth))
}
