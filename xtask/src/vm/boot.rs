//! One run of the emulator, from its start to a verdict. Whatever the guest does, the run ends.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::READY;
use crate::arch::Arch;
use crate::process::{now, say};

/// Four seconds on an idle machine; a busy one is given its time.
const BOOT: Duration = Duration::from_secs(180);
/// What a kernel needs to end after it has said that it is lost: to write the trace, or to reboot.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The command ended with this status.
    Ended(i32),
    /// The kernel gave up, in these words.
    KernelFailed(String),
    /// The command was never reached.
    NotBooted,
    /// It took longer than it may.
    TimedOut,
    /// The emulator ended and nothing was said.
    Vanished,
}

impl Verdict {
    pub fn is_success(&self) -> bool {
        *self == Self::Ended(0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(formatter, "result: {status}"),
            Self::KernelFailed(words) => write!(formatter, "kernel failed: {words}"),
            Self::NotBooted => formatter.write_str("did not boot"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::Vanished => formatter.write_str("ended without a result"),
        }
    }
}

/// Boots and waits for the end; each line of the guest's console is given to `each`.
pub fn boot(
    arch: Arch,
    vmlinuz: &Path,
    initramfs: &Path,
    timeout: Duration,
    each: &mut dyn FnMut(&str),
) -> Result<Verdict> {
    let mut emulator = emulator(arch, vmlinuz, initramfs)
        .spawn()
        .with_context(|| format!("setpriv does not start {}", program(arch)))?;
    let verdict = follow(&mut emulator, timeout, each);
    // It may have ended by itself.
    let _ = emulator.kill();
    emulator.wait()?;
    fs::remove_file(initramfs)?;
    verdict
}

fn program(arch: Arch) -> String {
    format!("qemu-system-{}", arch.machine_name())
}

fn emulator(arch: Arch, vmlinuz: &Path, initramfs: &Path) -> Command {
    // It ends with this program, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", &program(arch)]);
    let (machine, console): (&[&str], _) = match arch {
        Arch::Amd64 => (&["-cpu", "max"], "ttyS0"),
        // A processor that there is: `max` has what kernels of that time do not boot on.
        Arch::Arm64 => (&["-machine", "virt", "-cpu", "neoverse-n1"], "ttyAMA0"),
    };
    command.args(machine);
    // Emulated even where there is KVM: the same everywhere, and nested virtualisation often does not boot.
    command
        .args([
            "-accel",
            // Two processors in turns: with a thread each, one may run code that the other has just patched, and a
            // kernel that switches a tracepoint on then meets its own breakpoint and panics.
            "tcg,thread=single",
            "-smp",
            "2",
            "-m",
            "3G",
        ])
        .args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-append")
        .arg(format!(
            "console={console} quiet loglevel=4 panic=-1 oops=panic softlockup_panic=1 watchdog_thresh=60 mitigations=off"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn follow(emulator: &mut Child, timeout: Duration, each: &mut dyn FnMut(&str)) -> Result<Verdict> {
    let console = emulator.stdout.take().context("qemu has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let begun = now();
    let mut limit = BOOT;
    let mut verdict = Verdict::NotBooted;
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains(READY) => {
                say(format!("booted in {:.1} s", begun.elapsed().as_secs_f64()));
                limit = begun.elapsed() + timeout;
                verdict = Verdict::TimedOut;
            }
            Ok(line) => {
                each(&line);
                if let Some(found) = judge(&line) {
                    // The first sign of trouble is its cause; a result comes last.
                    if !matches!(verdict, Verdict::KernelFailed(_)) {
                        verdict = found;
                    }
                    limit = begun.elapsed() + LAST_WORDS;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(if verdict == Verdict::TimedOut {
                    Verdict::Vanished
                } else {
                    verdict
                });
            }
            Err(RecvTimeoutError::Timeout) => return Ok(verdict),
        }
    }
}

/// What a line of the console says about the end, if anything.
fn judge(line: &str) -> Option<Verdict> {
    const LOST: [&str; 7] = [
        "Kernel panic - not syncing",
        "BUG: soft lockup",
        "watchdog: BUG",
        "BUG: unable to handle",
        "Unable to handle kernel",
        "general protection fault",
        "detected stalls on CPUs",
    ];
    if LOST.iter().any(|words| line.contains(words)) {
        return Some(Verdict::KernelFailed(line.trim().to_owned()));
    }
    let status = line.strip_prefix("result: ")?;
    status.trim().parse().ok().map(Verdict::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_a_line_of_its_own() {
        assert_eq!(judge("result: 3"), Some(Verdict::Ended(3)));
        assert_eq!(judge("test result: ok"), None);
        assert_eq!(judge("result: ok"), None);
    }

    #[test]
    fn a_kernel_that_gave_up_is_no_success() {
        let verdict = judge("[ 1.0] Kernel panic - not syncing: VFS").unwrap();
        assert!(!verdict.is_success());
        assert!(verdict.to_string().contains("VFS"), "{verdict}");
    }
}
