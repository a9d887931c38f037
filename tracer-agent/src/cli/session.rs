//! What `trace`, `run` and `replay` have in common: options, log, exporters, and the last word.

use std::{env, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    CliError,
    args::{Settings, Takes},
    core_dump,
};
use crate::{
    capture::HostInfo,
    config::{Layers, Options, values::ExportTarget},
    export::{
        BatchSettings, ConsoleSettings, Exporters, JsonDestination, OtlpSettings,
        console::{SLOWEST_SHOWN, ShowWhen},
        exporters::Target,
    },
    observe::{Event, Log, Summary},
};

/// How long exporters may take to deliver the rest when everything else has ended.
const FLUSH: Duration = Duration::from_secs(5);

/// What a command runs with.
pub struct Session {
    /// The options, resolved.
    pub options: Options,
    /// The agent's own voice.
    pub log: Arc<Log>,
}

/// How a command shows what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As it comes (`run`).
    Live,
    /// At the end (`trace`).
    AtEnd,
    /// At the end, with batches that do not depend on the clock (`replay`).
    Replay,
}

impl Session {
    /// Resolves what was said on the command line, in the environment and in the file.
    ///
    /// # Errors
    /// [`CliError::Misuse`] for what cannot be used.
    pub fn open<For: Takes>(settings: Settings<For>) -> Result<Self, CliError> {
        core_dump::refuse().context("cannot keep core files from being made")?;
        // A variable that is no text is none of ours.
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let layers = Layers::gather(settings.flags, settings.config, environment)?;
        let options = Options::resolve(&layers)?;
        let log = Arc::new(Log::to_stderr(options.log_level));
        for remark in &options.remarks {
            log.say(&Event::Remark(remark.clone()));
        }
        Ok(Self { options, log })
    }

    /// Starts the exporters that were asked for; without any, OTLP for a daemon that has its variables set, else the
    /// console.
    ///
    /// # Errors
    /// When a destination cannot be used or opened.
    pub fn exporters(&self, pace: Pace, host: &HostInfo, begin: fn()) -> Result<Exporters, CliError> {
        let default = match pace {
            Pace::Live if self.options.has_otlp_environment => ExportTarget::Otlp { url: None },
            _ => ExportTarget::Console,
        };
        let asked = match self.options.exports.as_slice() {
            [] => std::slice::from_ref(&default),
            asked => asked,
        };
        let targets = asked
            .iter()
            .map(|target| self.target(target, pace))
            .collect::<Result<Vec<_>, _>>()?;
        let (batch, warnings) = BatchSettings::from_env(variable);
        self.remark(warnings);
        let batch = if pace == Pace::Replay {
            batch.for_replay()
        } else {
            batch
        };
        let log = Arc::clone(&self.log);
        let notify =
            Arc::new(move |notice: crate::export::Notice| log.say(&Event::Export(notice.to_string())));
        Ok(Exporters::start(&targets, &batch, host, notify, begin).context("cannot export")?)
    }

    /// Ends the exporters and says what came of everything. `told` is what the stages before have to say.
    pub fn close(&self, exporters: Exporters, mut told: Summary) {
        let losses: Vec<_> = told
            .losses
            .iter()
            .map(|(_, cause, count)| (*cause, *count))
            .collect();
        let report = exporters.shutdown(FLUSH, &losses);
        let lost_at_last = report
            .exporters
            .iter()
            .any(|exporter| exporter.dropped_total() > 0);
        told.exporters = report.exporters.iter().map(ToString::to_string).collect();
        if lost_at_last || told.has_news() || !self.has_console_alone() {
            self.log.tell(&told.to_string());
        }
    }

    /// The console says the same at its own end.
    fn has_console_alone(&self) -> bool {
        matches!(self.options.exports.as_slice(), [ExportTarget::Console])
            || (self.options.exports.is_empty() && !self.options.has_otlp_environment)
    }

    fn target(&self, asked: &ExportTarget, pace: Pace) -> Result<Target, CliError> {
        Ok(match asked {
            ExportTarget::Console => {
                let when = if pace == Pace::Live {
                    ShowWhen::Quiet
                } else {
                    ShowWhen::AtEnd(SLOWEST_SHOWN)
                };
                let verbose = self.log.level() >= crate::config::values::Level::Debug;
                Target::Console(ConsoleSettings::for_stdout(when, verbose, variable))
            }
            ExportTarget::Json { file: None } => Target::Json(JsonDestination::Stdout),
            ExportTarget::Json { file: Some(file) } => Target::Json(JsonDestination::File(file.clone())),
            ExportTarget::Otlp { url } => {
                let (settings, warnings) = OtlpSettings::from_env(url.as_deref(), variable)
                    .map_err(|error| CliError::Misuse(error.into()))?;
                self.remark(warnings);
                Target::Otlp(settings)
            }
        })
    }

    fn remark(&self, warnings: Vec<String>) {
        warnings
            .into_iter()
            .for_each(|warning| self.log.say(&Event::Remark(warning)));
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
