//! `cargo xtask vm`: another kernel under qemu, with this machine's files as its root, so that every program
//! and everything that was built here runs there too; for another processor with files of Debian's for that. What the guest writes is gone
//! when it ends.

mod boot;
mod guest;
mod kernels;
mod root;

use std::iter;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

pub use boot::Verdict;
pub use guest::First;
pub use kernels::Kernel;
use root::Root;

use crate::arch::Arch;
use crate::hop;
use crate::process::{root, run, say};
use crate::setup::{self, Toolchain, cross};

#[derive(Args)]
pub struct Options {
    /// Kernels for these processors
    #[arg(long, value_enum, default_value_t = Arch::Amd64)]
    arch: Arch,
    /// Only this kernel (5.10, 6.1, 6.12, newest)
    #[arg(long)]
    kernel: Option<String>,
    /// Hook families of the live tests
    #[arg(long, default_value = ALL_HOOKS)]
    hooks: String,
    /// The longest that one kernel may take, in seconds
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// Under this machine's systemd as the first process
    #[arg(long, requires = "command")]
    systemd: bool,
    /// What to run there; the live tests where nothing is given
    #[arg(last = true)]
    command: Vec<String>,
}

/// Every hook family, the best first.
pub const ALL_HOOKS: &str = "socket,kprobe,syscall";

/// What came of one kernel.
pub struct Outcome {
    pub kernel: &'static str,
    pub verdict: Verdict,
    pub seconds: f64,
    /// What the guest wrote.
    pub lines: Vec<String>,
}

pub fn run_chore(options: &Options) -> Result<()> {
    if options.systemd && options.arch != Arch::of_this_machine() {
        bail!("systemd is this machine's, which does not run on another processor");
    }
    setup::for_vm(options.arch)?;
    let kernels = kernels::chosen(options.arch, options.kernel.as_deref())?;
    let timeout = Duration::from_secs(options.timeout);
    let command = if options.command.is_empty() {
        setup::for_tests()?;
        build_live_tests(options.arch, &setup::for_build()?)?;
        format!(
            "{} --hooks {}",
            live_tests(options.arch).display(),
            quoted(&options.hooks)
        )
    } else {
        options
            .command
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let first = if options.systemd {
        First::Systemd
    } else {
        First::Shell
    };
    let outcomes = in_kernels(&kernels, first, &|_| command.clone(), timeout)?;
    if options.command.is_empty() {
        let families: Vec<_> = options.hooks.split(',').collect();
        print!("{}", table(&outcomes, &families));
    }
    let mut failed = false;
    for outcome in &outcomes {
        say(format!(
            "kernel {:<6} {} in {:.0} s",
            outcome.kernel, outcome.verdict, outcome.seconds
        ));
        failed |= !outcome.verdict.is_success();
    }
    if failed {
        bail!("not every kernel passed");
    }
    Ok(())
}

/// Runs a command in each kernel, as many at once as there are processors: a guest keeps one busy. Their lines are
/// shown with the kernel before them where there are several.
pub fn in_kernels(
    kernels: &[&'static Kernel],
    first: First,
    command: &(dyn Fn(&Kernel) -> String + Sync),
    timeout: Duration,
) -> Result<Vec<Outcome>> {
    let place = quoted(&root().display().to_string());
    let script = |kernel: &Kernel| format!("cd {place}\n{}\n", command(kernel));
    let files = kernels
        .iter()
        .map(|kernel| Ok((kernels::fetch(kernel)?, Root::of(kernel.arch)?)))
        .collect::<Result<Vec<_>>>()?;
    let pairs: Vec<_> = kernels.iter().zip(&files).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes = Vec::new();
    let shown = |kernel: &Kernel| if kernels.len() == 1 { "" } else { kernel.name };
    let next = AtomicUsize::new(0);
    let work = || {
        let own = iter::from_fn(|| pairs.get(next.fetch_add(1, Ordering::Relaxed)));
        own.map(|(kernel, files)| in_kernel(kernel, shown(kernel), files, (first, &script(kernel)), timeout))
            .collect::<Result<Vec<_>>>()
    };
    std::thread::scope(|scope| -> Result<()> {
        let work = &work;
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in running {
            outcomes.extend(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok(())
    })?;
    outcomes.sort_by_key(|outcome| kernels.iter().position(|kernel| kernel.name == outcome.kernel));
    Ok(outcomes)
}

fn in_kernel(
    kernel: &'static Kernel,
    shown: &str,
    (files, root): &(kernels::Files, Root),
    (first, script): (First, &str),
    timeout: Duration,
) -> Result<Outcome> {
    let initramfs = guest::initramfs(files, root, first, script)?;
    let begun = crate::process::now();
    let mut lines = Vec::new();
    let verdict = boot::boot(kernel.arch, &files.vmlinuz, &initramfs, timeout, &mut |line| {
        if shown.is_empty() {
            println!("{line}");
        } else {
            println!("{shown} | {line}");
        }
        lines.push(line.to_owned());
    })?;
    Ok(Outcome {
        kernel: kernel.name,
        verdict,
        seconds: begun.elapsed().as_secs_f64(),
        lines,
    })
}

/// One row a kernel, one column a family.
fn table(outcomes: &[Outcome], families: &[&str]) -> String {
    let mut text = format!("{:<10}", "kernel");
    for family in families {
        text.push_str(&format!("{family:<34}"));
    }
    text.push('\n');
    for outcome in outcomes {
        text.push_str(&format!("{:<10}", outcome.kernel));
        for family in families {
            text.push_str(&format!("{:<34}", cell(&outcome.lines, family)));
        }
        text.push('\n');
    }
    text
}

/// What the live tests said of a family.
fn cell(lines: &[String], family: &str) -> String {
    let count = |word: &str| {
        let prefix = format!("{word} {family}/");
        lines.iter().filter(|line| line.starts_with(&prefix)).count()
    };
    let [passed, failed, skipped] = [count("ok"), count("FAILED"), count("skipped")];
    if passed + failed + skipped == 0 {
        return "not taken by this kernel".to_owned();
    }
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

/// Every kernel that the tests run on.
pub fn all() -> Vec<&'static Kernel> {
    kernels::all(Arch::Amd64).collect()
}

/// Builds the live tests, the agent and the hop in Go with them. Optimised: under emulation the start of the agent is most of a test.
pub fn build_live_tests(arch: Arch, toolchain: &Toolchain) -> Result<()> {
    let mut cargo = toolchain.cargo();
    cargo.args(["build", "--quiet", "--release"]).args([
        "--package",
        "tracer-agent",
        "--package",
        "live-tests",
    ]);
    if arch != Arch::of_this_machine() {
        toolchain.add_target(arch.triple())?;
        cargo.args(["--target", arch.triple()]);
        cross::prepare(arch, &mut cargo)?;
    }
    run(&mut cargo)?;
    hop::build(arch)?;
    hop::build_others(arch);
    Ok(())
}

/// The live tests, as one program that runs where nothing can be built.
pub fn live_tests(arch: Arch) -> PathBuf {
    hop::beside(arch).join("live-tests")
}

/// One word of a shell command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_cell_for_each_kernel_and_family() {
        let lines = [
            "ok socket/a (1.0 s)",
            "FAILED socket/b: no",
            "skipped kprobe: not here",
            "ok socket/c (2.0 s)",
        ];
        let outcomes = [Outcome {
            kernel: "6.1",
            verdict: Verdict::Ended(1),
            seconds: 1.0,
            lines: lines.map(str::to_owned).to_vec(),
        }];
        let table = table(&outcomes, &["socket", "kprobe"]);
        let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "6.1 2 passed, 1 failed, 0 skipped not taken by this kernel"
        );
    }

    #[test]
    fn a_word_with_quotes_stays_one_word() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
