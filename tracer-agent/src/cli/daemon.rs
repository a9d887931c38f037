//! `run`: traces what is selected until a signal asks for the end. The way from probes to exporters is the same for
//! `trace`.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use super::{
    CliError, Exit,
    args::{Live as LiveSettings, Settings},
    attach::{attach, in_words},
    session::{Pace, Session},
    signals::Listener,
};
use crate::{
    capture::{
        clock,
        recording::{Content, Recording},
    },
    discovery::Discovery,
    kernel::{Probes, capability},
    live::{Feed, Judge, Live, Recorder, Stop, Tally},
    observe::{Event, Summary},
    pipeline::Pipeline,
    symbols::Go,
};

/// Traces until SIGINT, SIGTERM, SIGHUP or SIGQUIT.
///
/// # Errors
/// When nothing is selected, or it cannot be traced.
pub fn run(settings: Settings<LiveSettings>) -> Result<Exit, CliError> {
    let mut session = Session::open(settings)?;
    session.options = session.options.with_selection()?;
    let discovery = Discovery::new(session.options.host_root.0.join("proc"));
    let stop = Stop::new().context("cannot start")?;
    let (asked, log) = (stop.clone(), Arc::clone(&session.log));
    let ending = Listener::ending(move || {
        log.say(&Event::Ending);
        asked.ask();
    });
    let _ending = ending.context("cannot catch signals")?;
    let options = &session.options;
    let (probes, judge) = attach(options, None, &discovery, &session.log)?;
    session.log.say(&Event::Ready {
        what: in_words(&options.selection),
    });
    follow(&session, Pace::Live, &discovery, probes, judge, &stop, &|_| None)?;
    Ok(Exit::Done)
}

/// Follows the probes until `stop`, then flushes and says what came of it; `remark` adds a line to that.
pub fn follow(
    session: &Session,
    pace: Pace,
    discovery: &Discovery,
    mut probes: Probes,
    judge: Option<Judge<'_>>,
    stop: &Stop,
    remark: &dyn Fn(&Tally) -> Option<String>,
) -> anyhow::Result<()> {
    let (options, log) = (&session.options, session.log.as_ref());
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
    // Everything is open that more is needed for.
    let log_of_breakpoints = Arc::clone(&session.log);
    let refused = move |pid, go: &Go, error| {
        let version = go.program.version.clone();
        log_of_breakpoints.say(&Event::NotFollowed { pid, version, error });
    };
    let log_of_libraries = Arc::clone(&session.log);
    let unseen = move |path: &Path, error| {
        let library = path.display().to_string();
        log_of_libraries.say(&Event::NotLookedInto { library, error });
    };
    probes
        .begin_to_follow(Box::new(refused), Box::new(unseen))
        .context("cannot start a thread")?;
    capability::keep(capability::TO_TRACE);
    let mut pipeline = Pipeline::new(options.pipeline());
    let deliver = |spans| exporters.send(spans);
    let mut feed = Feed::new(
        (&mut pipeline, discovery),
        recording,
        options.resource.clone(),
        deliver,
        log,
    );
    feed.host(host);
    let (tally, outcome) = Live::new(probes, feed, judge, log, clock::boot_now).run(stop);
    let unrecorded = ("recording", "inputs_missing", tally.unrecorded);
    let mut summary = Summary::new(tally.spans, pipeline.counters().into_iter().chain([unrecorded]));
    summary.remarks.extend(remark(&tally));
    session.close(exporters, summary);
    outcome.context("the kernel side can no longer be read")
}
