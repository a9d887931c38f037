//! What the agent writes into programs is gone when it is, however it ends.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::agent::{Agent, LIMIT};
use crate::http2::{built, needs_files};
use crate::skip::needs;
use crate::tls::Place;
use crate::{Test, now};

pub const TESTS: &[Test] = &[(
    "no_breakpoint_is_left_in_a_program_when_the_agent_ends_or_is_killed",
    none_is_left,
)];

/// A program with breakpoints while it is traced: it serves HTTP over TLS in Go.
struct Program {
    child: Child,
    _place: Place,
}

impl Program {
    fn start() -> Result<Self> {
        needs(&["openssl"])?;
        let file = built("tls-go");
        needs_files("the program of TLS in Go", std::slice::from_ref(&file))?;
        let place = Place::new()?;
        let mut child = Command::new(file)
            .args(["serve", place.both()])
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdout.take().context("it says nothing")?;
        let program = Self { child, _place: place };
        BufReader::new(says).read_line(&mut String::new())?;
        Ok(program)
    }

    /// Bytes of its instructions in memory that are not as in its file.
    fn differences(&self) -> Result<usize> {
        let process = format!("/proc/{}", self.child.id());
        let memory = File::open(format!("{process}/mem"))?;
        let file = File::open(format!("{process}/exe"))?;
        let own = fs::read_link(format!("{process}/exe"))?.display().to_string();
        let mut differences = 0;
        for line in fs::read_to_string(format!("{process}/maps"))?.lines() {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let [range, rights, offset, _, _, path] = words[..] else {
                continue;
            };
            if path != own || !rights.contains('x') {
                continue;
            }
            let (start, end) = range.split_once('-').context("no range")?;
            let hex = |text| u64::from_str_radix(text, 16);
            let (start, end) = (hex(start)?, hex(end)?);
            let mut now = vec![0; usize::try_from(end - start)?];
            memory.read_exact_at(&mut now, start)?;
            // The last page goes on behind the end of the file.
            let mut first = vec![0; now.len()];
            let length = file.read_at(&mut first, hex(offset)?)?;
            let both = now.iter().zip(&first).take(length);
            differences += both.filter(|(now, first)| now != first).count();
        }
        Ok(differences)
    }

    /// Waits until there are such bytes, or none any more.
    fn until(&self, differs: bool) -> Result<()> {
        let begun = now();
        loop {
            let differences = self.differences()?;
            if (differences > 0) == differs {
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "{differences} breakpoints are there");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// While the kernel sets them, and when all are there.
fn none_is_left(agent: &Agent) -> Result<()> {
    let program = Program::start()?;
    // The agents of tests before may have set some in the file.
    program.until(false)?;
    let pid = program.child.id().to_string();
    for after in [0, 1000] {
        for is_killed in [true, false] {
            let running = agent.run(&["--pid", &pid])?;
            program.until(true)?;
            thread::sleep(Duration::from_millis(after));
            if is_killed {
                running.kill()?;
            } else {
                running.stop()?.successful()?;
            }
            program
                .until(false)
                .with_context(|| format!("{after} ms, killed: {is_killed}"))?;
        }
    }
    Ok(())
}
