//! Beside the way: the command line. In: arguments and environment. Out: one command run to its end and its
//! exit status. Kept true: misuse is told before anything is done; errors say what failed, on what, and what
//! to do; the exit status means one thing each ([`Exit`]).

mod args;
mod attach;
mod check;
mod config;
mod daemon;
mod exit;
mod gate;
mod memory;
mod places;
mod program;
mod reload;
mod replay;
mod service;
mod session;
mod signals;
mod telemetry;
mod trace;

use std::{env, ffi::OsString};

use anyhow::Context as _;
use clap::Parser as _;

use args::{Cli, Command, Live, Settings};
pub use exit::Exit;
use gate::NotRun;

use crate::{config::ConfigError, guard::panics, observe::Event, shop};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// It was asked for in a way that makes no sense.
    #[error("{}", in_one_line(.0))]
    Misuse(anyhow::Error),
    /// CMD could not be run.
    #[error(transparent)]
    NotRun(#[from] NotRun),
    /// It did not work.
    #[error("{}", in_one_line(.0))]
    Failed(#[from] anyhow::Error),
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Misuse(error.into())
    }
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Misuse(_) => Exit::Misused,
            Self::NotRun(error) => error.exit(),
            Self::Failed(_) => Exit::Failed,
        }
    }
}

/// An error and its causes; a cause that the line tells already is not told again.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Runs the command that these arguments ask for, the name of the program first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // There is nowhere to say that the terminal is gone. Asking for help is no misuse.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Misused
            } else {
                Exit::Done
            };
        }
    };
    carry_out(cli.command).unwrap_or_else(|error| {
        say(&error);
        error.exit()
    })
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed, where there was no log yet"
)]
fn say(error: &CliError) {
    match panics::log() {
        Some(log) => log.say_at_last(&Event::Failed(error.to_string())),
        None => eprintln!("tracer-agent: error: {error}"),
    }
    if let CliError::Misuse(_) = error {
        eprintln!("tracer-agent: for what can be said, see --help");
    }
}

fn carry_out(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Trace { settings, command } => trace::trace(settings, &command),
        Command::Run { settings } => daemon::run(settings),
        Command::Check { json } => Ok(check::check(json)?),
        Command::Config { asked } => config::config(asked),
        Command::Demo => demo(),
        Command::Replay { settings, file } => replay::replay(settings, &file),
        Command::Gate { command } => Ok(gate::wait_and_become(&command)),
        Command::Shop { args } => Ok(shop::run(&args).map(|()| Exit::Done)?),
    }
}

/// The shop under `trace`, as anyone would trace a program of their own.
fn demo() -> Result<Exit, CliError> {
    let agent = env::current_exe().context("cannot find the agent's own executable")?;
    trace::trace(
        Settings::<Live>::default(),
        &[agent.into(), shop::SUBCOMMAND.into()],
    )
}
