//! What `trace`, `run` and `replay` have in common: options, log, exporters, and the last word.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    CliError,
    args::{Settings, Takes},
    memory,
    service::{self, State},
};
use crate::{
    capture::HostInfo,
    config::{
        Layers, Options,
        values::{ExportTarget, Identity, MaxMemory},
    },
    discovery::{Access, Asked, Discovery, Hierarchy, Labels, Node, Notice, Sources},
    export::{
        BatchSettings, ConsoleSettings, Exporters, JsonDestination, OtlpSettings, Target,
        console::{SLOWEST_SHOWN, ShowWhen},
    },
    guard::{
        Guard,
        limits::{Group, Limits, Reading},
        panics,
        watchdog::{Pulse, Watchdog},
    },
    kernel::{self, capability},
    observe::{Event, Log, Summary},
};

/// How long exporters may take to deliver the rest when everything else has ended.
pub(super) const FLUSH: Duration = Duration::from_secs(5);

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
        memory::keep_out_of_core_files().context("cannot keep core files from being made")?;
        let options = Options::resolve(&layers(settings)?)?;
        let log = Arc::new(Log::to_stderr(options.log_level, options.log_format));
        panics::end_agent_at_others(&log);
        for remark in &options.remarks {
            log.say(&Event::Remark(remark.clone()));
        }
        Ok(Self { options, log })
    }

    /// Begins to ask those who know more of processes than `/proc`, as far as they are there.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn sources(&self) -> io::Result<Option<Sources>> {
        let root = self.options.host_root.0.as_path();
        if self.options.identity == Identity::Off {
            return Ok(None);
        }
        let node = || Node::of(variable, &Discovery::new(root.join("proc")).host().host_name);
        let asked = Asked {
            kubernetes: Access::in_cluster(variable).map(|access| (access, node())),
            containers: true,
        };
        let log = Arc::clone(&self.log);
        let notify = Box::new(move |notice| {
            log.say(&match notice {
                Notice::Trouble(text) => Event::Unknown(text),
                Notice::Known(text) => Event::Known(text),
            });
        });
        // Files and sockets of root's are open to root's own user id, capabilities or not.
        Sources::start(asked, root, notify, || capability::keep(capability::NONE))
    }

    /// Who processes are, by `/proc` and these.
    pub fn discovery(&self, sources: Option<&Sources>) -> Discovery {
        let labels = match self.options.identity {
            Identity::Labels => Labels::Used,
            Identity::Auto | Identity::Off => Labels::Unused,
        };
        Discovery::new(self.options.host_root.0.join("proc")).with_sources(sources, labels)
    }

    /// Starts the exporters that were asked for; without any, OTLP for a daemon that has its variables set, else the
    /// console.
    ///
    /// # Errors
    /// When a destination cannot be used or opened.
    pub fn exporters(&self, pace: Pace, host: &HostInfo, begin: fn()) -> Result<Exporters, CliError> {
        let (targets, batch) = self.targets(pace)?;
        let log = Arc::clone(&self.log);
        let notify =
            Arc::new(move |notice: crate::export::Notice| log.say(&Event::Export(notice.to_string())));
        Ok(Exporters::start(&targets, &batch, host, notify, begin).context("cannot export")?)
    }

    /// Where spans go, and in which batches.
    ///
    /// # Errors
    /// [`CliError::Misuse`] for a destination that cannot be used.
    pub fn targets(&self, pace: Pace) -> Result<(Vec<Target>, BatchSettings), CliError> {
        let default = match pace {
            Pace::Live if self.options.has_otlp_environment => ExportTarget::Otlp { urls: Vec::new() },
            _ => ExportTarget::Console,
        };
        let asked = match self.options.exports.as_slice() {
            [] => std::slice::from_ref(&default),
            asked => asked,
        };
        let is_otlp = |target: &ExportTarget| matches!(target, ExportTarget::Otlp { .. });
        if self.options.queue.is_some() && !asked.iter().any(is_otlp) {
            let text = "--queue-dir has no effect: nothing is exported by OTLP";
            self.remark(vec![text.to_owned()]);
        }
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
        Ok((targets, batch))
    }

    /// What keeps the agent within its limits, if it has any. Around a command the control group is the command's too.
    pub fn guard(&self, pace: Pace) -> Option<Guard<'static>> {
        let group = match self.options.max_memory {
            MaxMemory::Auto if pace == Pace::Live => {
                let own = Discovery::new(PathBuf::from("/proc"));
                let all = Hierarchy::all(Path::new("/"));
                Group::find(&all, |controller| own.cgroup(std::process::id(), controller))
            }
            _ => None,
        };
        let memory = match (self.options.max_memory, &group) {
            (MaxMemory::Bytes(bytes), _) => Some(bytes),
            (_, group) => group.as_ref().map(|group| group.limit),
        };
        let limits = Limits {
            cpu: self.options.max_cpu.0,
            memory,
        };
        let read = move || group.as_ref().map_or_else(Reading::of_process, Group::reading);
        Guard::new(limits, read, kernel::give_back_free_memory)
    }

    /// Has the loop watched. Around a command a loop that hangs is said and no more: the command goes on.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn watch(&self, pace: Pace, pulse: &Arc<Pulse>) -> io::Result<()> {
        let is_daemon = pace == Pace::Live;
        let watchdog = Watchdog {
            aborts_after: self.options.watchdog.0.filter(|_| is_daemon),
            tells_every: service::wants_to_hear_every().filter(|_| is_daemon),
        };
        let alive = || {
            // Who does not hear it will ask why by itself.
            let _ = service::tell(State::Alive);
        };
        watchdog.watch(pulse, &self.log, || capability::keep(capability::NONE), alive)
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
            .any(|exporter| exporter.dropped_total() + exporter.kept > 0);
        told.exporters = report.exporters.iter().map(ToString::to_string).collect();
        // The console says the same at its own end.
        let mut exporters = report.exporters.iter();
        let has_console_alone = exporters.all(|exporter| exporter.exporter == "console");
        if lost_at_last || told.has_news() || !has_console_alone {
            self.log.tell(&told.to_string());
        }
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
            ExportTarget::Otlp { urls } => {
                let (settings, warnings) =
                    OtlpSettings::from_env(urls, variable).map_err(|error| CliError::Misuse(error.into()))?;
                self.remark(warnings);
                Target::Otlp(OtlpSettings {
                    disk: self.options.queue.clone(),
                    ..settings
                })
            }
        })
    }

    pub(super) fn remark(&self, warnings: Vec<String>) {
        warnings
            .into_iter()
            .for_each(|warning| self.log.say(&Event::Remark(warning)));
    }
}

/// The settings of all sources, as they were said.
///
/// # Errors
/// [`CliError::Misuse`] when the file cannot be used.
pub fn layers<For: Takes>(settings: Settings<For>) -> Result<Layers, CliError> {
    // A variable that is no text is none of ours.
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Layers::gather(settings.flags, settings.config, environment)?)
}

pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
