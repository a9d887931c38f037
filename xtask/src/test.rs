//! `cargo xtask test`: every test there is, in the order in which a mistake is cheapest to find. Nothing is
//! left out silently: what cannot run here is counted as skipped, with the reason, and what a kernel leaves to another is told.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::arch::Arch;
use crate::deploy;
use crate::process::{is_root, now, run, say, watch};
use crate::runtimes::Runtimes;
use crate::setup::{self, Toolchain, cross, receivers};
use crate::vm;

#[derive(Args)]
pub struct Options {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting and lints, of both sides
    Lint,
    /// Unit, property and recording tests: no rights needed
    Unit,
    /// What is in `deploy/`, by the tools that will read it
    Deploy,
    /// Real programs on this machine's kernel: root needed
    Live,
    /// The same on other kernels, under qemu
    Vm,
}

/// Tests with needs of their own: [`exports`] runs them. And one that measures, and tells nothing in a debug build.
const APART: [&str; 2] = ["export::tests::independent", "export::tests::cost"];
/// For one kernel under emulation, on a busy machine.
const LIVE_LIMIT: Duration = Duration::from_secs(1800);

pub fn run_tests(options: &Options) -> Result<()> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let begun = now();
    let toolchain = setup::for_build()?;
    let mut count = Count::default();
    if wanted(Part::Lint) {
        lint(&toolchain, &mut count);
    }
    if wanted(Part::Unit) {
        unit(&toolchain, &mut count)?;
        exports(&toolchain, &mut count)?;
        go_programs(&toolchain, &mut count)?;
    }
    if wanted(Part::Deploy) {
        on_deployment(&mut count);
    }
    if wanted(Part::Live) || wanted(Part::Vm) {
        setup::for_tests()?;
        Runtimes::default().for_live_tests();
        let built = vm::build_live_tests(Arch::of_this_machine(), &toolchain);
        count.add("build for live tests", built.is_ok());
    }
    if wanted(Part::Live) {
        live(&mut count)?;
    }
    if wanted(Part::Vm) {
        setup::for_vm(Arch::Amd64)?;
        on_kernels(&mut count)?;
    }
    for line in &count.notes {
        say(line);
    }
    say(format!("in {} s", begun.elapsed().as_secs()));
    println!("{count}");
    if count.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn lint(toolchain: &Toolchain, count: &mut Count) {
    say("formatting and lints");
    let mut check = |name, command: &mut Command| count.add(name, run(command).is_ok());
    check("cargo fmt", toolchain.cargo().args(["fmt", "--all", "--check"]));
    let deny = ["--", "--deny", "warnings"];
    check(
        "cargo clippy",
        toolchain
            .cargo()
            .args(["clippy", "--quiet", "--all-targets"])
            .args(deny),
    );
    for arch in Arch::ALL {
        let name = format!("cargo clippy, kernel side for {}", arch.name());
        count.add(&name, run(kernel_side(toolchain, arch).args(deny)).is_ok());
    }
    // Both sides are built for it; `cargo xtask vm --arch arm64` runs them.
    let name = "cargo check, arm64";
    match agent_for(toolchain, Arch::Arm64) {
        Ok(mut check) => count.add(name, run(&mut check).is_ok()),
        Err(reason) => count.skip(name, &format!("{reason:#}")),
    }
}

/// Clippy over the kernel side, which compiles only for its own target, and core with it.
fn kernel_side(toolchain: &Toolchain, arch: Arch) -> Command {
    let mut clippy = toolchain.cargo();
    clippy
        .args(["clippy", "--quiet", "--release", "--package", "tracer-ebpf"])
        .args([
            "--target",
            "bpfel-unknown-none",
            "-Zbuild-std=core",
            "--target-dir",
            "target/clippy-ebpf",
        ])
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("--cfg=bpf_target_arch=\"{}\"", arch.machine_name()),
        );
    clippy
}

/// A check of the agent for another processor.
fn agent_for(toolchain: &Toolchain, arch: Arch) -> Result<Command> {
    toolchain.add_target(arch.triple())?;
    let mut check = toolchain.cargo();
    cross::prepare(arch, &mut check)?;
    check.args(["check", "--quiet", "--package", "tracer-agent"]);
    check.args(["--target", arch.triple()]);
    Ok(check)
}

fn unit(toolchain: &Toolchain, count: &mut Count) -> Result<()> {
    say("unit, property and recording tests");
    let mut seen = Count::default();
    let succeeded = watch(
        toolchain
            .cargo()
            .args(["test", "--quiet", "--no-fail-fast", "--"])
            .args(APART.iter().flat_map(|name| ["--skip", name])),
        |line| seen.read_libtest(line),
    )?;
    if !succeeded && seen.failed == 0 {
        seen.add("cargo test", false);
    }
    count.merge(seen, "");
    Ok(())
}

/// What is known of programs that Go makes.
fn go_programs(toolchain: &Toolchain, count: &mut Count) -> Result<()> {
    let name = "programs that Go makes";
    if let Err(reason) = setup::need_go() {
        count.skip(name, &format!("{reason:#}"));
        return Ok(());
    }
    say(name);
    let mut seen = Count::default();
    watch(
        toolchain
            .cargo()
            .args(["test", "--quiet", "--package", "tracer-agent", "--lib", "--"])
            .args(["--ignored", "symbols::"]),
        |line| seen.read_libtest(line),
    )?;
    // None of this name is no test.
    if seen.passed + seen.failed == 0 {
        seen.add(name, false);
    }
    count.merge(seen, "");
    Ok(())
}

/// What receivers that others wrote get.
fn exports(toolchain: &Toolchain, count: &mut Count) -> Result<()> {
    for receiver in receivers::ALL {
        let name = format!("export to the {}", receiver.program.name);
        if let Err(reason) = receiver.program.install() {
            count.skip(&name, &format!("{reason:#}"));
            continue;
        }
        say(&name);
        let mut seen = Count::default();
        watch(
            toolchain
                .cargo()
                .args(["test", "--quiet", "--package", "tracer-agent", "--lib", "--"])
                .args(["--ignored", "--exact", receiver.test]),
            |line| seen.read_libtest(line),
        )?;
        // A test of another name is no test.
        if seen.passed + seen.failed != 1 {
            seen.add(&name, false);
        }
        count.merge(seen, "");
    }
    Ok(())
}

/// The unit, the chart and the manifests.
fn on_deployment(count: &mut Count) {
    say("what is deployed");
    for check in deploy::CHECKS {
        match (check.lack)() {
            Some(reason) => count.skip(check.name, &reason),
            None => {
                let outcome = (check.run)();
                if let Err(error) = &outcome {
                    say(format!("{}: {error:#}", check.name));
                }
                count.add(check.name, outcome.is_ok());
            }
        }
    }
}

fn live(count: &mut Count) -> Result<()> {
    say("live tests on this kernel");
    if !is_root() {
        count.skip("live tests", "probing the kernel needs root");
        return Ok(());
    }
    let mut seen = Count::default();
    let succeeded = watch(
        &mut Command::new(vm::live_tests(Arch::of_this_machine())),
        |line| seen.read_live(line),
    )?;
    if !succeeded && seen.failed == 0 {
        seen.add("live tests ended early", false);
    }
    count.merge(seen, "this kernel");
    Ok(())
}

/// The live tests that a kernel decides, with the best hook family of each kernel; with the others those that depend on the family.
/// `cargo xtask vm` runs each with each.
fn on_kernels(count: &mut Count) -> Result<()> {
    say("live tests on other kernels");
    let command = |_: &vm::Kernel| {
        let tests = vm::live_tests(Arch::Amd64);
        format!(
            "{} --brief --of-kernel --hooks {}",
            tests.display(),
            vm::ALL_HOOKS
        )
    };
    for outcome in vm::in_kernels(&vm::all(), vm::First::Shell, &command, LIVE_LIMIT)? {
        let mut seen = Count::default();
        outcome.lines.iter().for_each(|line| seen.read_live(line));
        say(format!(
            "kernel {}: {} in {:.0} s",
            outcome.kernel, outcome.verdict, outcome.seconds
        ));
        if !outcome.verdict.is_success() && seen.failed == 0 {
            seen.add(&outcome.verdict.to_string(), false);
        }
        count.merge(seen, &format!("kernel {}", outcome.kernel));
    }
    Ok(())
}

/// How many tests ended how, and what there is to say about those that did not pass.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
    notes: Vec<String>,
}

impl Count {
    fn add(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.notes.push(format!("FAILED {name}"));
        }
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.notes.push(format!("skipped {name}: {reason}"));
    }

    /// A line of libtest: a failure by its name, or the sum of one test program.
    fn read_libtest(&mut self, line: &str) {
        if let Some(sums) = line.strip_prefix("test result: ") {
            let number = |name: &str| number_before(sums, name);
            self.passed += number(" passed");
            self.failed += number(" failed");
            self.skipped += number(" ignored");
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" stdout ----"))
        {
            self.notes.push(format!("FAILED {name}"));
        }
    }

    /// A line of the live tests: `ok NAME`, `FAILED NAME: reason` or `skipped NAME: reason`.
    fn read_live(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if line.starts_with("FAILED ") {
            self.failed += 1;
            self.notes.push(line.to_owned());
        } else if line.starts_with("skipped ") {
            self.skipped += 1;
            self.notes.push(line.to_owned());
        }
    }

    fn merge(&mut self, other: Self, place: &str) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        let place = if place.is_empty() {
            String::new()
        } else {
            format!("{place}: ")
        };
        self.notes
            .extend(other.notes.into_iter().map(|note| format!("{place}{note}")));
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

fn number_before(text: &str, name: &str) -> u64 {
    text.split_once(name)
        .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_several_test_programs_are_added_up() {
        let mut count = Count::default();
        count.read_libtest("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out");
        count.read_libtest("---- spans::a_rule stdout ----");
        count.read_libtest("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(count.to_string(), "14 passed, 1 failed, 1 skipped");
        assert_eq!(count.notes, ["FAILED spans::a_rule"]);
    }

    #[test]
    fn a_skipped_live_test_keeps_its_reason() {
        let mut count = Count::default();
        count.read_live("ok curl_keeps_alive");
        count.read_live("skipped nginx: it is not installed");
        let mut all = Count::default();
        all.merge(count, "kernel 6.1");
        assert_eq!(all.to_string(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(all.notes, ["kernel 6.1: skipped nginx: it is not installed"]);
    }
}
