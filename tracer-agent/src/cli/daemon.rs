//! `run`: traces what is selected until a signal asks for the end. The way from probes to exporters is the same for
//! `trace`.

use std::{env, fs, path::Path, sync::Arc};

use anyhow::Context as _;

use super::{
    CliError, Exit,
    args::{Live as LiveSettings, Settings},
    attach::{Attached, attach, in_words, reselect},
    reload::{Change, Reloading},
    service::{self, State},
    session::{FLUSH, Pace, Session},
    signals::Listener,
};
use crate::{
    capture::{
        clock,
        recording::{Content, Recording},
    },
    discovery::Discovery,
    kernel::{Probes, capability},
    live::{Changing, Feed, Inbox, Judge, Live, Recorder, Stop, Tally},
    metrics::Service,
    observe::{Event, Log, Summary},
    pipeline::Pipeline,
};

/// Traces until SIGINT, SIGTERM, SIGQUIT, or a SIGHUP that is not to read the configuration file again.
///
/// # Errors
/// When nothing is selected, or it cannot be traced.
pub fn run(settings: Settings<LiveSettings>) -> Result<Exit, CliError> {
    let asked_for = settings.clone();
    let mut session = Session::open(settings)?;
    session.options = session.options.with_selection()?;
    let sources = session.sources().context("cannot start a thread")?;
    let discovery = session.discovery(sources.as_ref());
    let stop = Stop::new().context("cannot start")?;
    let (asked, log) = (stop.clone(), Arc::clone(&session.log));
    let reloading = Reloading::start(&asked_for, &session.log)?;
    let nudge = reloading.as_ref().map(|reloading| reloading.nudge.clone());
    let end = move || {
        log.say(&Event::Ending);
        tell_manager(State::Stopping, &log);
        asked.ask();
    };
    let reload = nudge.map(|nudge| {
        move || {
            // Whoever reads the file again ends with the agent.
            let _ = nudge.send(());
        }
    });
    let ending = Listener::ending(end, reload);
    let _ending = ending.context("cannot catch signals")?;
    let options = &session.options;
    let telemetry = session.telemetry(&discovery.host())?;
    let attached = attach(options, None, &discovery, &session.log)?;
    session.log.say(&Event::Ready {
        what: in_words(&options.selection),
    });
    tell_manager(State::Ready, &session.log);
    let inbox = reloading.map(|reloading| reloading.inbox);
    follow(
        &session,
        Pace::Live,
        &discovery,
        attached,
        telemetry,
        (&stop, inbox),
        &|_| None,
    )?;
    Ok(Exit::Done)
}

/// Does what the configuration says by now.
fn reconfigure<'a>(
    change: Change,
    (probes, core): (&mut Probes, &mut Pipeline),
    judge: &mut Option<Judge<'a>>,
    discovery: &'a Discovery,
    log: &Log,
) {
    let options = &change.options;
    log.set_level(options.log_level);
    core.configure(options.pipeline());
    match reselect(options, discovery, probes, log) {
        Ok(judges) => *judge = judges,
        Err(error) => log.say(&Event::NotReselected(format!("{error:#}"))),
    }
    log.say(&change.into());
}

/// The service manager waits for this word, or nobody does.
fn tell_manager(state: State, log: &Log) {
    if let Err(error) = service::tell(state) {
        log.say(&Event::Remark(format!(
            "the service manager is not told ({state:?}): {error}"
        )));
    }
}

/// Follows the probes until `stop`, doing what comes into the inbox, then flushes and says what came of it; `remark` adds a line
/// to that.
pub fn follow(
    session: &Session,
    pace: Pace,
    discovery: &Discovery,
    attached: Attached<'_>,
    telemetry: Option<Service>,
    (stop, inbox): (&Stop, Option<Inbox<Change>>),
    remark: &dyn Fn(&Tally) -> Option<String>,
) -> anyhow::Result<()> {
    let (options, log) = (&session.options, session.log.as_ref());
    let Attached {
        mut probes,
        judge,
        containers,
    } = attached;
    let host = discovery.host();
    let recording = options.record.as_ref().map(|record| {
        let content = if record.raw {
            Content::Raw
        } else {
            Content::Redacted(options.privacy)
        };
        Recording::create(&record.file, content)
    });
    let recording = recording
        .transpose()?
        .map(|recording| Box::new(recording) as Box<dyn Recorder>);
    let exporters = session.exporters(pace, &host, || capability::keep(capability::NONE))?;
    let board = telemetry.as_ref().map(|service| service.board().as_ref());
    if let Some(board) = board {
        board.ask_for_exports(Box::new(exporters.reporter()));
    }
    // Everything is open that more is needed for.
    let log_of_breakpoints = Arc::clone(&session.log);
    let refused = move |pid, version, error| {
        log_of_breakpoints.say(&Event::NotFollowed { pid, version, error });
    };
    let log_of_libraries = Arc::clone(&session.log);
    let looked_into = move |path: &Path, outcome| {
        // What a process has in its memory is known by a link.
        let library = fs::read_link(path).unwrap_or_else(|_| path.to_owned());
        let library = library.display().to_string();
        log_of_libraries.say(&match outcome {
            Ok(()) => Event::LookedInto { library },
            Err(error) => Event::NotLookedInto { library, error },
        });
    };
    probes
        .begin_to_follow(Box::new(refused), Box::new(looked_into))
        .context("cannot start a thread")?;
    capability::keep(capability::TO_TRACE);
    let mut pipeline = Pipeline::new(options.pipeline());
    let deliver = |spans| exporters.send(spans);
    let is_in_cluster = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    // What the agent was told stands before what it finds: of a key that is there already the next is passed over.
    let resource = options.resource.iter().cloned();
    let resource = resource.chain(discovery.cloud(is_in_cluster)).collect();
    let mut feed = Feed::new((&mut pipeline, discovery), recording, resource, deliver, log);
    feed.host(host);
    let changing = inbox.map(|inbox| {
        Changing::new(
            inbox,
            |change: Change, probes: &mut Probes, core: &mut &mut Pipeline, judge| {
                if let Some(targets) = &change.targets {
                    exporters.configure(targets, FLUSH);
                }
                if let (Some(readers), Some(service)) = (&change.readers, &telemetry) {
                    service.configure(readers.clone(), FLUSH);
                }
                reconfigure(change, (probes, core), judge, discovery, log);
            },
        )
    });
    if let Some(board) = board {
        board.ready();
    }
    let live = Live::new(probes, feed, judge, log, clock::boot_now)
        .with_groups(containers)
        .told_on(board)
        .changing(changing)
        .guarded(session.guard(pace));
    session
        .watch(pace, &live.pulse())
        .context("cannot start a thread")?;
    let (tally, outcome) = live.run(stop);
    let beside = [
        ("recording", "inputs_missing", tally.unrecorded),
        ("guard", "panics", tally.panics),
    ];
    let beside = beside.into_iter().chain(tally.guard.named());
    let counters = pipeline.counters().into_iter().chain(beside);
    let mut summary = Summary::new(tally.spans, counters.chain(discovery.counters()));
    summary.remarks.extend(remark(&tally));
    session.close(exporters, summary);
    // Last, so that it tells what became of the last spans.
    Session::end_telemetry(telemetry);
    outcome.context("the agent cannot go on")
}
