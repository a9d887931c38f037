//! `cargo xtask fuzz`: every fuzz target, one after the other, with the address sanitiser.
//!
//! The targets have cargo-fuzz's layout, but cargo-fuzz is not needed: it would want a nightly toolchain
//! for one flag, which is unlocked here for this one build. What the fuzzers begin with is written by a program of the same package
//! (`seeds`), from what tests are made of.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

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
    let built = folder.join("target").join(TARGET).join("release");
    run(Command::new(built.join("seeds"))
        .arg(folder.join("seeds"))
        .arg(root().join("tests/recordings")))?;
    for target in &targets {
        say(format!("{target}: {} s", options.seconds));
        for part in ["corpus", "artifacts", "seeds"] {
            fs::create_dir_all(folder.join(part).join(target))?;
        }
        let reached = fuzz(&folder, &built.join(target), target, options.seconds)
            .with_context(|| format!("{target} has a finding, kept under tests/fuzz/artifacts/{target}"))?;
        say(format!("{target}: {reached}"));
    }
    say(format!("{} targets, no finding", targets.len()));
    Ok(())
}

/// Runs a target; how often, and what code it reached, as libFuzzer says it in its last line.
fn fuzz(folder: &Path, program: &Path, target: &str, seconds: u64) -> Result<String> {
    let mut child = Command::new(program)
        .current_dir(folder)
        .args([format!("corpus/{target}"), format!("seeds/{target}")])
        .arg(format!("-artifact_prefix=artifacts/{target}/"))
        .arg("-dict=http.dict")
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-rss_limit_mb=1024",
            "-timeout=10",
            "-max_len=65536",
            "-print_final_stats=1",
            "-print_funcs=0",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} does not start", program.display()))?;
    let mut reached = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if !line.contains(" cov: ") {
                eprintln!("{line}");
            } else if let Some((count, rest)) = line.split_once('\t') {
                let words: Vec<_> = rest
                    .split_whitespace()
                    .skip_while(|word| *word != "cov:")
                    .collect();
                reached = format!("{count} {}", words.get(..6).unwrap_or(&words).join(" "));
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("it ended with {status} after {reached}");
    }
    Ok(reached)
}
