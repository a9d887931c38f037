//! The configuration file while `run` goes on: looked at again when it has changed, or when somebody asks by SIGHUP.
//!
//! ```text
//!  unchanged ── the file is another, or written to ─▶ changing ── as it was a moment ago ─▶ read ─▶ unchanged
//!  unchanged ── SIGHUP ─▶ read
//!       read ── can be used ─▶ the run is asked to do as it says;  cannot ─▶ said, and all stays as it was
//! ```
//!
//! Files are looked at again and again instead of being watched: behind a name may be a link to a link (ConfigMaps are exchanged
//! so), and whoever writes a file in several steps is not to be read between them.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use super::{
    CliError,
    args::{Live, Settings},
    session::{self, Pace, Session},
};
use crate::{
    config::{
        Layers, Options,
        settings::{self, CONFIG, SETTINGS, Setting},
    },
    export::Target,
    kernel::capability,
    live::Inbox,
    metrics::Readers,
    observe::{Event, Log},
};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Settings that count from the moment at which they are changed. All others are looked at when the agent starts.
const AT_ONCE: &[&Setting] = &[
    &settings::PID,
    &settings::PORT,
    &settings::EXE,
    &settings::CGROUP,
    &settings::NETNS,
    &settings::EXCLUDE_PID,
    &settings::EXCLUDE_PORT,
    &settings::EXCLUDE_EXE,
    &settings::EXCLUDE_CGROUP,
    &settings::EXCLUDE_NETNS,
    &settings::INSTRUMENTED,
    &settings::ROUTE,
    &settings::LEARN_ROUTES,
    &settings::PRIVACY,
    &settings::CAPTURE_HEADER,
    &settings::SAMPLER,
    &settings::SAMPLE,
    &settings::TAIL,
    &settings::EXPORT,
    &settings::QUEUE_DIR,
    &settings::QUEUE_SIZE,
    &settings::QUEUE_AGE,
    &settings::METRICS,
    &settings::LOG_LEVEL,
];

/// Those that say where spans go, and how.
const EXPORTS: &[&Setting] = &[
    &settings::EXPORT,
    &settings::QUEUE_DIR,
    &settings::QUEUE_SIZE,
    &settings::QUEUE_AGE,
];

/// Looks after the file until dropped.
pub struct Reloading {
    /// Where SIGHUP is told.
    pub nudge: Sender<()>,
    /// What the run is asked to do.
    pub inbox: Inbox<Change>,
}

/// Another configuration.
#[derive(Debug)]
pub struct Change {
    /// All that is said now.
    pub options: Options,
    /// Where spans go now, if that is other than before.
    pub targets: Option<Vec<Target>>,
    /// Who is told of what is counted, if that is other than before.
    pub readers: Option<Readers>,
    /// Settings that are other than before.
    changed: Vec<&'static str>,
    /// Those among them that are looked at when the agent starts only.
    ignored: Vec<&'static str>,
}

impl From<Change> for Event {
    fn from(change: Change) -> Self {
        Self::Reconfigured {
            changed: change.changed,
            ignored: change.ignored,
        }
    }
}

impl Reloading {
    /// Looks after the file that these settings were read from; none if there is none.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(settings: &Settings<Live>, log: &Arc<Log>) -> Result<Option<Self>, CliError> {
        let variable = || std::env::var_os(CONFIG.variable()).filter(|name| !name.is_empty());
        let Some(path) = settings.config.clone().or_else(|| variable().map(PathBuf::from)) else {
            return Ok(None);
        };
        let (nudge, nudges) = mpsc::channel();
        let inbox = Inbox::new().map_err(anyhow::Error::from)?;
        let file = File::new(path, settings, log, &inbox)?;
        let body = move || {
            capability::keep(capability::NONE);
            file.look_after(&nudges);
        };
        thread::Builder::new()
            .name("configuration".to_owned())
            .spawn(body)
            .map_err(anyhow::Error::from)?;
        Ok(Some(Self { nudge, inbox }))
    }
}

/// What tells one state of a file from another.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

struct File {
    path: PathBuf,
    /// The flags, which stay.
    settings: Settings<Live>,
    /// When it was read, or refused.
    stamp: Option<Stamp>,
    /// What is in force.
    known: Layers,
    /// The kernel side was loaded to leave out what callers do not sample.
    leaves_unsampled_out: bool,
    /// Somebody was to be told of what is counted when the agent was started; else nothing is counted before it is started again.
    counts: bool,
    log: Arc<Log>,
    inbox: Inbox<Change>,
}

impl File {
    /// The file as it is when the agent starts.
    fn new(
        path: PathBuf,
        settings: &Settings<Live>,
        log: &Arc<Log>,
        inbox: &Inbox<Change>,
    ) -> Result<Self, CliError> {
        let known = session::layers(settings.clone())?;
        let options = Options::resolve(&known)?.with_selection()?;
        Ok(Self {
            stamp: stamp(&path).ok(),
            leaves_unsampled_out: options.sampler.is_parent_based(),
            counts: !options.metrics.is_empty(),
            known,
            path,
            settings: settings.clone(),
            log: Arc::clone(log),
            inbox: inbox.clone(),
        })
    }

    fn look_after(mut self, nudges: &Receiver<()>) {
        let mut last_seen = self.stamp;
        loop {
            let is_asked = match nudges.recv_timeout(EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // A file that is gone may be about to be written anew.
            let Ok(seen) = stamp(&self.path) else {
                if is_asked {
                    self.read();
                }
                continue;
            };
            let is_settled = last_seen == Some(seen);
            last_seen = Some(seen);
            if is_asked || (is_settled && self.stamp != Some(seen)) {
                self.stamp = Some(seen);
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let found = session::layers(self.settings.clone()).and_then(|layers| {
            let options = Options::resolve(&layers)?.with_selection()?;
            Ok((layers, options))
        });
        let (layers, options) = match found {
            Ok(found) => found,
            Err(error) => return self.log.say(&Event::NotReconfigured(error.to_string())),
        };
        let changed: Vec<&'static Setting> = SETTINGS
            .iter()
            .filter(|setting| texts(&self.known, setting).ne(texts(&layers, setting)))
            .collect();
        let session = Session {
            options,
            log: Arc::clone(&self.log),
        };
        let (targets, readers) = match self.destinations(&session, &changed) {
            Ok(found) => found,
            Err(error) => return self.log.say(&Event::NotReconfigured(error.to_string())),
        };
        self.known = layers;
        if changed.is_empty() {
            return;
        }
        let options = session.options;
        let comes_too_late = |setting: &Setting| {
            !AT_ONCE.contains(&setting)
                || (*setting == settings::METRICS && !self.counts)
                || (*setting == settings::SAMPLER
                    && self.leaves_unsampled_out
                    && !options.sampler.is_parent_based())
        };
        let names = |settings: &mut dyn Iterator<Item = &&'static Setting>| {
            settings.map(|setting| setting.name).collect()
        };
        self.inbox.ask(Change {
            changed: names(&mut changed.iter()),
            ignored: names(&mut changed.iter().filter(|setting| comes_too_late(setting))),
            targets,
            readers,
            options,
        });
    }

    /// Where spans go and who is told of what is counted, each if that is other than before.
    fn destinations(
        &self,
        session: &Session,
        changed: &[&'static Setting],
    ) -> Result<(Option<Vec<Target>>, Option<Readers>), CliError> {
        let is_changed = |settings: &[&Setting]| changed.iter().any(|setting| settings.contains(setting));
        let targets = is_changed(EXPORTS).then(|| session.targets(Pace::Live));
        let readers = (self.counts && is_changed(&[&settings::METRICS])).then(|| session.readers());
        let targets = targets.transpose()?.map(|(targets, _)| targets);
        Ok((targets, readers.transpose()?))
    }
}

/// What was said, wherever.
fn texts<'a>(layers: &'a Layers, setting: &Setting) -> impl Iterator<Item = &'a str> {
    layers.values(setting).iter().map(|(_, text)| text.as_str())
}

#[cfg(test)]
mod tests;
