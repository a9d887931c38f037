//! The command line as it is typed: raw texts, checked for their form alone. The options of a command are those of
//! the table of settings, so that flags, variables and keys cannot drift apart.

use std::{ffi::OsString, marker::PhantomData, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command as ClapCommand, Parser, Subcommand,
    builder::NonEmptyStringValueParser,
};

use super::config::Config;
use crate::config::settings::{self, CONFIG, SETTINGS, Setting};

/// Distributed traces of unmodified programs, read from the kernel.
#[derive(Debug, Parser)]
#[command(name = "tracer-agent", version, term_width = 80, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  tracer-agent demo                          see it work, on services it brings
  tracer-agent check                         see what this host supports
  tracer-agent trace -- python3 app.py       trace a command and all it starts
  tracer-agent run --port 80,8000-8010       trace what listens on these ports";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command, trace it and all it starts, print the tree at the end
    #[command(after_help = TRACE_EXAMPLES, override_usage = "tracer-agent trace [OPTIONS] -- CMD [ARGS]...")]
    Trace {
        /// The options.
        #[command(flatten)]
        settings: Settings<Live>,
        /// The command, and its arguments
        #[arg(required = true, last = true, value_name = "CMD", hide = true)]
        command: Vec<OsString>,
    },
    /// Trace running programs until interrupted
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// The options.
        #[command(flatten)]
        settings: Settings<Live>,
    },
    /// Say what this host supports, what will work and what to do about the rest
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// For machines: one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what can be configured, and whether what was said can be used
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// What to say.
        #[command(subcommand)]
        asked: Config,
    },
    /// Trace a small shop of services that the agent brings along
    #[command(after_help = DEMO_EXAMPLES)]
    Demo,
    /// Make the traces of a recording or a packet capture
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay {
        /// The options.
        #[command(flatten)]
        settings: Settings<Replayed>,
        /// A recording made with --record, or a capture (pcap, pcapng)
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Waits for the agent's word and becomes CMD: how `trace` is ready before its first instruction
    #[command(name = super::gate::COMMAND, hide = true)]
    Gate {
        /// CMD and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// The services of `demo`
    #[command(name = crate::shop::SUBCOMMAND, hide = true)]
    Shop {
        /// Which part to play.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

const TRACE_EXAMPLES: &str = "Ready before CMD's first instruction; the exit status is that of CMD. Example:
  tracer-agent trace --port 5432 --export json=out.json -- python3 app.py";

const RUN_EXAMPLES: &str = "Goes to OTLP if an OTEL_EXPORTER_OTLP_ variable is set, else to the console.
`tracer-agent config default` has more settings. Examples:
  tracer-agent run --port 80,8000-8010 --export otlp=http://localhost:4317
  tracer-agent run --exe '*/nginx' --exe 'python3*' --record shop.rec";

const CHECK_EXAMPLES: &str = "Exit status 0 if tracing will work, 1 if not.
Examples:
  tracer-agent check
  tracer-agent check --json | jq .";

const CONFIG_EXAMPLES: &str = "Exit status 2 if the settings cannot be used. Examples:
  tracer-agent config default > agent.yaml
  tracer-agent config check --config agent.yaml";

const DEMO_EXAMPLES: &str = "Needs no network and no other program, but the rights that `check` names.
Example:
  sudo tracer-agent demo";

const REPLAY_EXAMPLES: &str = "Needs no rights. The same file gives the same spans, byte for byte.
Examples:
  tracer-agent replay shop.rec
  tracer-agent replay shop.pcap
  tracer-agent replay shop.rec --export json=-";

/// The settings that a command takes, as they were typed.
#[derive(Debug)]
pub struct Settings<For> {
    /// `--config`
    pub config: Option<PathBuf>,
    /// Each setting that was given, with its values; `true` for a switch. `-v` and `-q` are log levels.
    pub flags: Vec<(&'static Setting, Vec<String>)>,
    command: PhantomData<For>,
}

impl<For> Clone for Settings<For> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            flags: self.flags.clone(),
            command: PhantomData,
        }
    }
}

impl<For> Default for Settings<For> {
    fn default() -> Self {
        Self {
            config: None,
            flags: Vec::new(),
            command: PhantomData,
        }
    }
}

/// Which settings a command takes.
pub trait Takes {
    /// Whether this one is among them.
    fn takes(setting: &Setting) -> bool;
}

/// The settings of `trace` and `run`: all.
#[derive(Debug)]
pub struct Live;

/// The settings of `replay`: all that do not concern the kernel side.
#[derive(Debug)]
pub struct Replayed;

impl Takes for Live {
    fn takes(_: &Setting) -> bool {
        true
    }
}

impl Takes for Replayed {
    fn takes(setting: &Setting) -> bool {
        setting.in_replay
    }
}

const VERBOSE: &str = "verbose";
const QUIET: &str = "quiet";

impl<For: Takes> clap::Args for Settings<For> {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        let taken = SETTINGS.iter().filter(|setting| For::takes(setting));
        command.arg(flag(&CONFIG)).args(taken.map(flag)).args([
            Arg::new(VERBOSE)
                .short('v')
                .long(VERBOSE)
                .action(ArgAction::SetTrue)
                .help("--log-level debug"),
            Arg::new(QUIET)
                .short('q')
                .long(QUIET)
                .action(ArgAction::SetTrue)
                .help("--log-level error, and no summary")
                .conflicts_with_all([VERBOSE, settings::LOG_LEVEL.name]),
        ])
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(setting.help)
        .hide(setting.seldom);
    match setting.value {
        None => arg.action(ArgAction::SetTrue),
        // Every value is taken as a text here, also one that begins with a dash: its own parser refuses it better.
        Some(value) => arg
            .value_name(value)
            .value_parser(NonEmptyStringValueParser::new())
            .allow_negative_numbers(true)
            .action(ArgAction::Append),
    }
}

impl<For: Takes> clap::FromArgMatches for Settings<For> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags: Vec<_> = SETTINGS
            .iter()
            .filter(|setting| For::takes(setting))
            .map(|setting| (setting, values(matches, setting)))
            .filter(|(_, values)| !values.is_empty())
            .collect();
        for (shorthand, level) in [(VERBOSE, "debug"), (QUIET, "error")] {
            if matches.get_flag(shorthand) {
                flags.retain(|(setting, _)| **setting != settings::LOG_LEVEL);
                flags.push((&settings::LOG_LEVEL, vec![level.to_owned()]));
            }
        }
        let config = values(matches, &CONFIG).pop().map(PathBuf::from);
        Ok(Self {
            config,
            flags,
            command: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn values(matches: &ArgMatches, setting: &Setting) -> Vec<String> {
    match setting.value {
        Some(_) => matches
            .get_many(setting.name)
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        None if matches.get_flag(setting.name) => vec!["true".to_owned()],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn flags(args: &[&str]) -> Vec<(&'static str, Vec<String>)> {
        let cli = Cli::try_parse_from([&["tracer-agent"], args].concat()).unwrap();
        let flags = match cli.command {
            Command::Trace { settings, .. } | Command::Run { settings } => settings.flags,
            Command::Replay { settings, .. } => settings.flags,
            other => panic!("{other:?} has no settings"),
        };
        flags
            .into_iter()
            .map(|(setting, values)| (setting.name, values))
            .collect()
    }

    fn refused(args: &[&str]) -> String {
        Cli::try_parse_from([&["tracer-agent"], args].concat())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_fits_a_screen_and_shows_examples() {
        for args in [
            &["--help"][..],
            &["trace", "--help"],
            &["run", "--help"],
            &["check", "-h"],
            &["config", "-h"],
            &["config", "show", "-h"],
            &["replay", "-h"],
        ] {
            let help = refused(args);
            assert!(
                help.lines().count() <= 42,
                "{args:?}: {} lines\n{help}",
                help.lines().count()
            );
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            assert!(help.contains("Example"), "{help}");
        }
    }

    #[test]
    fn repeated_flags_are_gathered_in_order() {
        assert_eq!(
            flags(&["run", "--pid", "1", "--all", "--pid=2"]),
            [
                ("pid", vec!["1".into(), "2".into()]),
                ("all", vec!["true".into()])
            ]
        );
    }

    #[test]
    fn verbose_and_quiet_are_log_levels_and_contradict_each_other() {
        assert_eq!(flags(&["run", "-v"]), [("log-level", vec!["debug".into()])]);
        assert_eq!(
            flags(&["replay", "f", "-q"]),
            [("log-level", vec!["error".into()])]
        );
        assert!(refused(&["run", "-v", "-q"]).contains("cannot be used with"));
    }

    #[test]
    fn an_unknown_option_is_answered_with_the_nearest() {
        assert!(refused(&["run", "--prot", "80"]).contains("'--port'"));
        assert!(refused(&["rplay"]).contains("'replay'"));
        assert!(refused(&["replay", "f", "--pid", "1"]).contains("unexpected argument '--pid'"));
    }

    #[test]
    fn a_command_after_the_dashes_keeps_its_own_options() {
        let cli = Cli::try_parse_from(["tracer-agent", "trace", "-q", "--", "curl", "-v", "--all"]).unwrap();
        let Command::Trace { command, settings } = cli.command else {
            panic!("not trace")
        };
        assert_eq!(command, ["curl", "-v", "--all"]);
        assert_eq!(settings.flags.len(), 1);
    }

    #[test]
    fn trace_without_a_command_is_misuse() {
        assert!(refused(&["trace"]).contains("CMD"));
    }
}
