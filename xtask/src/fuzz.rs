//! `cargo xtask fuzz`: every fuzz target, one after the other, with the address sanitiser.
//!
//! The targets have cargo-fuzz's layout, but cargo-fuzz is not needed: it would want a nightly toolchain
//! for one flag, which is unlocked here for this one build.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{root, run, say};
use crate::setup;

#[derive(Args)]
pub struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
}

/// What makes libFuzzer see which code an input reaches; the same flags as cargo-fuzz's.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
];
/// Sanitised code is linked for a named target, so that build scripts are built without the flags.
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn run_all(options: &Options) -> Result<()> {
    let folder = root().join("tests/fuzz");
    let mut targets: Vec<String> = fs::read_dir(folder.join("targets"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| options.target.as_ref().is_none_or(|target| target == name))
        .collect();
    targets.sort();
    if targets.is_empty() {
        bail!(
            "there is no fuzz target {}",
            options.target.as_deref().unwrap_or_default()
        );
    }
    let toolchain = setup::for_build()?;
    run(toolchain
        .cargo()
        .current_dir(&folder)
        .args([
            "build",
            "--release",
            "--quiet",
            "--target",
            TARGET,
            "--target-dir",
            "target",
        ])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f")))?;
    for target in &targets {
        say(format!("{target}: {} s", options.seconds));
        for part in ["corpus", "artifacts"] {
            fs::create_dir_all(folder.join(part).join(target))?;
        }
        run(
            Command::new(folder.join("target").join(TARGET).join("release").join(target))
                .current_dir(&folder)
                .arg(format!("corpus/{target}"))
                .arg(format!("-artifact_prefix=artifacts/{target}/"))
                .arg("-dict=http.dict")
                .arg(format!("-max_total_time={}", options.seconds))
                .args([
                    "-rss_limit_mb=1024",
                    "-timeout=10",
                    "-max_len=65536",
                    "-print_final_stats=1",
                    "-verbosity=0",
                ]),
        )
        .with_context(|| format!("{target} has a finding, kept under tests/fuzz/artifacts/{target}"))?;
    }
    say(format!("{} targets, no finding", targets.len()));
    Ok(())
}
