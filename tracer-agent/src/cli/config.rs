//! `config`: what can be configured, whether what was said can be used, and what is in force.

use std::io::Write as _;

use clap::Subcommand;

use super::{
    CliError, Exit,
    args::{Live, Settings},
    session::{Pace, Session, layers},
};
use crate::config::{Options, defaults, effective, schema};

/// What to say of the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say whether the settings given can be used
    #[command(after_help = "Example:\n  tracer-agent config check --config agent.yaml --port 80")]
    Check {
        /// The options.
        #[command(flatten)]
        settings: Settings<Live>,
    },
    /// Print the settings in force, and who said them
    #[command(after_help = "Example:\n  TRACER_PORT=80 tracer-agent config show --config agent.yaml")]
    Show {
        /// The options.
        #[command(flatten)]
        settings: Settings<Live>,
    },
    /// Print a file with every setting in it
    Default,
    /// Print the JSON Schema of the file
    Schema,
}

/// Answers on standard output.
///
/// # Errors
/// [`CliError::Misuse`] for settings that cannot be used, with the place where each was given.
pub fn config(asked: Config) -> Result<Exit, CliError> {
    let text = match asked {
        Config::Check { settings } => check(settings)?,
        Config::Show { settings } => {
            let layers = layers(settings)?;
            Options::resolve(&layers)?;
            effective(&layers)
        }
        Config::Default => defaults(),
        Config::Schema => format!("{:#}\n", schema()),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(anyhow::Error::from)?;
    Ok(Exit::Done)
}

/// Whatever `run` would refuse before it attaches anything is refused here.
fn check(settings: Settings<Live>) -> Result<String, CliError> {
    let session = Session::open(settings)?;
    session.targets(Pace::Live)?;
    let mut text = String::from("the settings can be used\n");
    if session.options.selection.is_empty() {
        text.push_str("nothing is selected: `run` wants --port, --exe, --cgroup, --netns, --pid or --all\n");
    }
    Ok(text)
}
