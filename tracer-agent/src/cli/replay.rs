//! `replay`: the same pipeline over a recording.

use std::path::Path;

use super::{
    CliError, Exit,
    args::{Replayed, Settings},
    session::{Pace, Session},
};
use crate::{
    capture::{
        HostInfo, Input, Record,
        recording::{ReadError, Reader},
    },
    export::Exporters,
    ids::BootNanos,
    observe::Summary,
    pipeline::Pipeline,
};

/// Makes the spans of a recording.
///
/// # Errors
/// When it cannot be read to its end; what could be read has been exported then.
pub fn replay(settings: Settings<Replayed>, file: &Path) -> Result<Exit, CliError> {
    let session = Session::open(settings)?;
    let mut reader = Reader::open(file).map_err(anyhow::Error::from)?;
    let mut replay = Replay {
        session: &session,
        pipeline: Pipeline::new(session.options.pipeline()),
        exporters: None,
        last: BootNanos(0),
        spans: 0,
    };
    let read = replay.all(&mut reader);
    replay.close(read.is_err())?;
    read.map_err(|error| match error {
        Stopped::Read(error) => anyhow::Error::from(error).into(),
        Stopped::Export(error) => error,
    })?;
    Ok(Exit::Done)
}

struct Replay<'a> {
    session: &'a Session,
    pipeline: Pipeline,
    /// They need to know the host, which is the first input.
    exporters: Option<Exporters>,
    /// The latest time that was read: when a recording that is cut off ended.
    last: BootNanos,
    spans: u64,
}

enum Stopped {
    Read(ReadError),
    Export(CliError),
}

impl Replay<'_> {
    fn all(&mut self, reader: &mut Reader) -> Result<(), Stopped> {
        while let Some(input) = reader.next_input().map_err(Stopped::Read)? {
            if let (Input::Host(host), None) = (&input, &self.exporters) {
                self.start(host).map_err(Stopped::Export)?;
            }
            self.last = self.last.max(time(&input));
            self.push(&input);
        }
        Ok(())
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

    /// Flushes; a recording that was cut off has no end of its own.
    fn close(mut self, cut_off: bool) -> Result<(), CliError> {
        if cut_off {
            self.push(&Input::End(self.last));
        }
        let Some(exporters) = self.exporters.take() else {
            return Ok(());
        };
        let summary = Summary::new(self.spans, self.pipeline.counters());
        self.session.close(exporters, summary);
        Ok(())
    }
}

fn time(input: &Input<'_>) -> BootNanos {
    match input {
        Input::Tick(at) | Input::End(at) => *at,
        Input::Record(bytes) => match Record::decode(bytes) {
            Ok(Record::Data(data)) => data.end,
            Ok(Record::Open(open)) => open.established.unwrap_or(open.start),
            Ok(Record::Close(close)) => close.at,
            Ok(Record::Process(event)) => event.at,
            Err(_) => BootNanos(0),
        },
        Input::Host(_) | Input::Process(_) | Input::Lost { .. } => BootNanos(0),
    }
}
