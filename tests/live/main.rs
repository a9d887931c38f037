//! The live tests: real programs on loopback, traced by the agent that lies beside this program, judged by its
//! json export. A test that cannot run here says why and counts as skipped.
//!
//!     live-tests [NAME-PART]
//!
//! Writes a line for each test (`ok NAME`, `FAILED NAME: reason`, `skipped NAME: reason`) and the sums.

mod agent;
mod chain;
mod http1;
mod load;
mod mishap;
mod run;
mod skip;
mod spans;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};

use agent::Agent;
use skip::Skip;

/// A test: its name states the rule it proves.
type Test = (&'static str, fn(&Agent) -> Result<()>);

fn main() -> ExitCode {
    let part = std::env::args().nth(1).unwrap_or_default();
    let agent = match Agent::beside_this_program() {
        Ok(agent) => agent,
        Err(error) => {
            eprintln!("live-tests: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let [mut passed, mut failed, mut skipped] = [0, 0, 0];
    let tests = [http1::TESTS, run::TESTS, mishap::TESTS, chain::TESTS, load::TESTS].concat();
    for (name, test) in tests.into_iter().filter(|(name, _)| name.contains(&part)) {
        let begun = now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| test(&agent)))
            .unwrap_or_else(|_| Err(anyhow!("the test itself panicked")));
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok {name} ({:.1} s)", begun.elapsed().as_secs_f64());
            }
            Err(error) if error.is::<Skip>() => {
                skipped += 1;
                println!("skipped {name}: {error}");
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {name}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[expect(clippy::disallowed_methods, reason = "a live test runs in real time")]
fn now() -> Instant {
    Instant::now()
}
