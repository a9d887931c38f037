//! `replay`: the same pipeline over a recording, or over a packet capture.

use std::path::Path;

use super::{
    CliError, Exit,
    args::{self, Settings},
    session::{Pace, Session},
};
use crate::{
    capture::{HostInfo, Input, Replayed, replayed::ReplayError},
    export::Exporters,
    observe::{Event, Summary},
    pipeline::Pipeline,
};

/// Makes the spans of a recording or a capture.
///
/// # Errors
/// When it cannot be read to its end; what could be read has been exported then.
pub fn replay(settings: Settings<args::Replayed>, file: &Path) -> Result<Exit, CliError> {
    let session = Session::open(settings)?;
    let mut source = Replayed::open(file).map_err(anyhow::Error::from)?;
    let mut replay = Replay {
        session: &session,
        pipeline: Pipeline::new(if source.is_capture() {
            session.options.pipeline_of_capture()
        } else {
            session.options.pipeline()
        }),
        exporters: None,
        spans: 0,
    };
    let read = replay.all(&mut source)?;
    if let Some(offset) = source.cut_off() {
        let file = file.display();
        session.log.say(&Event::Remark(format!(
            "capture {file} is cut off at byte {offset}, in the middle of a packet; everything before was read"
        )));
    }
    replay.close(&source)?;
    read.map_err(anyhow::Error::from)?;
    Ok(Exit::Done)
}

struct Replay<'a> {
    session: &'a Session,
    pipeline: Pipeline,
    /// They need to know the host, which is the first input.
    exporters: Option<Exporters>,
    spans: u64,
}

impl Replay<'_> {
    /// Everything that can be read, and whether that was all.
    fn all(&mut self, source: &mut Replayed) -> Result<Result<(), ReplayError>, CliError> {
        let mut read = Ok(());
        let mut is_ended = false;
        loop {
            let input = match source.next_input() {
                Ok(Some(input)) => input,
                Ok(None) => break,
                Err(error) => {
                    read = Err(error);
                    continue;
                }
            };
            if let (Input::Host(host), None) = (&input, &self.exporters) {
                self.start(host)?;
            }
            is_ended |= matches!(input, Input::End(_));
            self.push(&input);
        }
        if !is_ended {
            // A recording that was cut off has no end of its own.
            self.push(&Input::End(self.pipeline.latest()));
        }
        Ok(read)
    }

    fn start(&mut self, host: &HostInfo) -> Result<(), CliError> {
        self.exporters = Some(self.session.exporters(Pace::Replay, host, || ())?);
        Ok(())
    }

    fn push(&mut self, input: &Input<'_>) {
        let mut spans = Vec::new();
        self.pipeline.push(input, &mut spans);
        if let (Some(exporters), false) = (&self.exporters, spans.is_empty()) {
            self.spans += spans.len() as u64;
            exporters.send_waiting(spans);
        }
    }

    /// Says what came of it.
    fn close(mut self, source: &Replayed) -> Result<(), CliError> {
        let Some(exporters) = self.exporters.take() else {
            return Ok(());
        };
        let of_capture = source.counters();
        let of_capture = of_capture
            .by_cause()
            .map(|(what, count)| ("capture", what, count));
        let counters = of_capture.chain(self.pipeline.counters());
        let summary = Summary::new(self.spans, counters);
        self.session.close(exporters, summary);
        Ok(())
    }
}
