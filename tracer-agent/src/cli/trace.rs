//! `trace`: runs a command under the probes, from its first instruction to its end.

use std::{env, ffi::OsString, process::Child, thread};

use anyhow::Context as _;

use super::{
    CliError, Exit,
    args::{Live as LiveSettings, Settings},
    attach, daemon,
    gate::{Gated, NotRun},
    program,
    session::{Pace, Session},
    signals::Listener,
};
use crate::{
    discovery::Discovery,
    kernel::capability,
    live::{Stop, Tally},
    observe::Event,
};

/// Path of the agent's own executable, also when the file was replaced since.
const SELF: &str = "/proc/self/exe";
/// Survivors that are named; of more there is only the number.
const NAMED: usize = 8;

/// Runs the command and traces it.
///
/// # Errors
/// When the command cannot be run, or not be traced; then it has not run.
pub fn trace(settings: Settings<LiveSettings>, command: &[OsString]) -> Result<Exit, CliError> {
    let session = Session::open(settings)?;
    let sources = session.sources().context("cannot start a thread")?;
    let discovery = session.discovery(sources.as_ref());
    let telemetry = session.telemetry(&discovery.host())?;
    let gated = Gated::new(SELF, command).context("cannot start a process for CMD")?;
    let pid = gated.pid();
    let files = program::files(command, env::var_os("PATH").as_deref());
    let command = attach::Command { pid, files };
    let attached = attach::attach(&session.options, Some(command), &discovery, &session.log);
    let attached = match attached {
        Ok(attached) => attached,
        Err(error) => {
            gated.abandon();
            return Err(error.into());
        }
    };
    let stop = Stop::new().context("cannot start")?;
    let forwarding = Listener::forwarding(pid, move |sender| {
        sender == pid || Discovery::new("/proc".into()).children_of(pid).contains(&sender)
    });
    let _forwarding = forwarding.context("cannot catch signals")?;
    session.log.say(&Event::Selected { pid });
    let (ended, tally) = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            capability::keep(capability::TO_SIGNAL);
            let ended = run_to_end(gated);
            stop.ask();
            ended
        });
        let tally = daemon::follow(
            &session,
            Pace::AtEnd,
            &discovery,
            attached,
            telemetry,
            (&stop, None),
            &survivors,
        );
        // Also when tracing has failed: CMD runs on, and its end is the agent's.
        (waiting.join(), tally)
    });
    let exit = ended.map_err(|_| anyhow::anyhow!("the thread that waits for CMD has failed"))??;
    match tally {
        Ok(()) => Ok(exit),
        Err(error) => {
            session
                .log
                .say(&Event::Remark(format!("tracing ended early: {error:?}")));
            Ok(exit)
        }
    }
}

fn run_to_end(gated: Gated) -> Result<Exit, CliError> {
    let mut command: Child = gated.open().map_err(|error: NotRun| CliError::NotRun(error))?;
    Ok(Exit::of(command.wait().context("cannot wait for CMD")?))
}

/// What CMD has left behind: it runs on, but nobody watches it any more.
fn survivors(tally: &Tally) -> Option<String> {
    let alive: Vec<_> = tally.alive.iter().take(NAMED).map(ToString::to_string).collect();
    match (tally.alive.len(), alive.join(", ")) {
        (0, _) => None,
        (1, pid) => Some(format!("process {pid} of CMD still runs; it is no longer traced")),
        (count, pids) if count <= NAMED => Some(format!(
            "{count} processes of CMD still run ({pids}); they are no longer traced"
        )),
        (count, pids) => Some(format!(
            "{count} processes of CMD still run ({pids}, …); they are no longer traced"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_leaves_behind_is_named_up_to_a_bound() {
        let tally = |alive: std::ops::Range<u32>| Tally {
            alive: alive.collect(),
            ..Tally::default()
        };
        assert_eq!(survivors(&tally(0..0)), None);
        assert_eq!(
            survivors(&tally(7..8)).unwrap(),
            "process 7 of CMD still runs; it is no longer traced"
        );
        assert_eq!(
            survivors(&tally(0..9)).unwrap(),
            "9 processes of CMD still run (0, 1, 2, 3, 4, 5, 6, 7, …); they are no longer traced"
        );
    }
}
