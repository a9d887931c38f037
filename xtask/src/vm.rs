//! `cargo xtask vm`: another kernel under qemu, with this machine's files as its root, so that every program
//! and everything that was built here runs there too. What the guest writes is gone when it ends.

mod boot;
mod guest;
mod kernels;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

pub use boot::Verdict;
pub use kernels::Kernel;

use crate::process::{root, run, say, target};
use crate::setup;

#[derive(Args)]
pub struct Options {
    /// Only this kernel (5.10, 6.1, 6.12, newest)
    #[arg(long)]
    kernel: Option<String>,
    /// The longest that one kernel may take, in seconds
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// What to run there; the live tests where nothing is given
    #[arg(last = true)]
    command: Vec<String>,
}

pub fn run_chore(options: &Options) -> Result<()> {
    setup::for_vm()?;
    let kernels = kernels::chosen(options.kernel.as_deref())?;
    let timeout = Duration::from_secs(options.timeout);
    let command = if options.command.is_empty() {
        setup::for_tests()?;
        run(setup::for_build()?.cargo().args([
            "build",
            "--quiet",
            "--package",
            "tracer-agent",
            "--package",
            "live-tests",
        ]))?;
        live_tests().display().to_string()
    } else {
        options
            .command
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut rows = Vec::new();
    for kernel in kernels {
        let outcome = in_kernel(kernel, &command, timeout, &mut |_| ())?;
        rows.push((kernel.name, outcome));
    }
    let mut failed = false;
    for (name, (verdict, seconds)) in &rows {
        say(format!("kernel {name:<6} {verdict} in {seconds:.1} s"));
        failed |= !verdict.is_success();
    }
    if failed {
        bail!("not every kernel passed");
    }
    Ok(())
}

/// Runs one command in one kernel; each line it writes is shown and given to `each`.
pub fn in_kernel(
    kernel: &Kernel,
    command: &str,
    timeout: Duration,
    each: &mut dyn FnMut(&str),
) -> Result<(Verdict, f64)> {
    let files = kernels::fetch(kernel)?;
    let script = format!("cd {}\n{command}\n", quoted(&root().display().to_string()));
    let initramfs = guest::initramfs(&files, &script)?;
    say(format!("kernel {}: {command}", kernel.name));
    let begun = crate::process::now();
    let verdict = boot::boot(&files.vmlinuz, &initramfs, timeout, each)?;
    Ok((verdict, begun.elapsed().as_secs_f64()))
}

/// Every kernel that the tests run on.
pub fn all() -> &'static [Kernel] {
    kernels::KERNELS
}

/// The live tests, as one program that runs where nothing can be built.
pub fn live_tests() -> PathBuf {
    target().join("debug/live-tests")
}

/// One word of a shell command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_quotes_stays_one_word() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
