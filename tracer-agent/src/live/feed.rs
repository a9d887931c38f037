//! The one way into the core: whatever is told here is recorded too, in the same order.

use std::{collections::HashSet, io, mem};

use tracer_common::Loss;

use crate::{
    capture::{
        Input, ProcessInfo, Record,
        input::{AttributeValue, HostInfo},
        record::{Change, Comm},
    },
    ids::BootNanos,
    observe::{Event, Log},
    spans::Span,
};

/// Inputs to spans.
pub trait Core {
    /// Takes one input; finished spans are added to `out`.
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>);
    /// When it wants to be told the time, even if nothing happens.
    fn next_deadline(&self) -> Option<BootNanos>;
}

/// Who a process is.
pub trait Processes {
    /// What is known of it; `comm` is what the kernel calls it.
    fn lookup(&self, pid: u32, comm: &str) -> ProcessInfo;
}

/// Keeps the inputs of a run.
pub trait Recorder {
    /// Keeps one input.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&mut self, input: &Input<'_>) -> io::Result<()>;
    /// Makes sure that everything is in its place.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(&mut self) -> io::Result<()>;
}

/// What went over the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of the kernel side.
    pub records: u64,
    /// Records that were none: a defect of the agent.
    pub malformed: u64,
    /// Spans that were made.
    pub spans: u64,
    /// What the kernel side lost, by cause.
    pub lost: Vec<(Loss, u64)>,
    /// Inputs that are missing from the recording.
    pub unrecorded: u64,
    /// Traced processes that were alive at the end, as far as their birth was seen.
    pub alive: Vec<u32>,
}

/// Processes that are remembered as told or alive; past it all are forgotten, which costs a second look and the
/// list of survivors, but no truth.
const MAX_PROCESSES: usize = 65_536;

/// The way into the core.
pub struct Feed<'a, C, D> {
    core: C,
    processes: D,
    recording: Option<Box<dyn Recorder + 'a>>,
    resource: Vec<(String, String)>,
    deliver: Box<dyn FnMut(Vec<Span>) + 'a>,
    log: &'a Log,
    known: HashSet<u32>,
    alive: HashSet<u32>,
    spans: Vec<Span>,
    tally: Tally,
}

impl<'a, C: Core, D: Processes> Feed<'a, C, D> {
    /// The way into `core` and `recording`, from there to `deliver`. `resource` is added to every process that does
    /// not say the same of itself.
    pub fn new(
        (core, processes): (C, D),
        recording: Option<Box<dyn Recorder + 'a>>,
        resource: Vec<(String, String)>,
        deliver: impl FnMut(Vec<Span>) + 'a,
        log: &'a Log,
    ) -> Self {
        Self {
            core,
            processes,
            recording,
            resource,
            deliver: Box::new(deliver),
            log,
            known: HashSet::new(),
            alive: HashSet::new(),
            spans: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Tells the host: first of all, and once.
    pub fn host(&mut self, host: HostInfo) {
        self.push(&Input::Host(host));
    }

    /// Tells a record, and before it the process that it is about, if that is new.
    pub fn record(&mut self, bytes: &[u8]) {
        self.tally.records += 1;
        match Record::decode(bytes) {
            Ok(record) => self.meet(&record),
            Err(error) => {
                self.tally.malformed += 1;
                self.log.say(&Event::MalformedRecord(error));
            }
        }
        // The core counts what is malformed too, and the recording is to show it.
        self.push(&Input::Record(bytes));
    }

    /// Tells a loss.
    pub fn lost(&mut self, cause: Loss, count: u64) {
        match self.tally.lost.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, sum)) => *sum += count,
            None => self.tally.lost.push((cause, count)),
        }
        self.push(&Input::Lost {
            cause: cause as u32,
            count,
        });
    }

    /// Tells the time, if the core waits for it.
    pub fn tick(&mut self, now: BootNanos) {
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.push(&Input::Tick(now));
            self.deliver();
        }
    }

    /// When the core waits for the time.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.core.next_deadline()
    }

    /// Hands over the spans that are finished.
    pub fn deliver(&mut self) {
        if !self.spans.is_empty() {
            self.tally.spans += self.spans.len() as u64;
            (self.deliver)(mem::take(&mut self.spans));
        }
    }

    /// Tells the end and delivers the rest.
    pub fn end(mut self, now: BootNanos) -> Tally {
        self.push(&Input::End(now));
        self.deliver();
        if let Some(mut recording) = self.recording.take()
            && let Err(error) = recording.finish()
        {
            self.tally.unrecorded += 1;
            self.log.say(&Event::RecordingFailed(error));
        }
        self.tally.alive = self.alive.into_iter().collect();
        self.tally.alive.sort_unstable();
        self.tally
    }

    fn meet(&mut self, record: &Record<'_>) {
        match record {
            Record::Data(data) => self.introduce(data.task.pid.0, Comm::default()),
            Record::Open(open) => self.introduce(open.pid.0, open.comm),
            Record::Close(_) => {}
            Record::Process(event) => {
                let pid = event.pid.0;
                match event.change {
                    Change::Exited => {
                        self.known.remove(&pid);
                        self.alive.remove(&pid);
                        return;
                    }
                    // It is another program now.
                    Change::Executed => _ = self.known.remove(&pid),
                    Change::Forked(_) | Change::Selected => {}
                }
                if self.alive.len() >= MAX_PROCESSES {
                    self.alive.clear();
                }
                self.alive.insert(pid);
                self.introduce(pid, event.comm);
            }
        }
    }

    fn introduce(&mut self, pid: u32, comm: Comm) {
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        if !self.known.insert(pid) {
            return;
        }
        let mut info = self.processes.lookup(pid, &comm.name());
        for (key, value) in &self.resource {
            if !info.resource.iter().any(|(known, _)| known == key) {
                info.resource
                    .push((key.clone(), AttributeValue::Text(value.clone())));
            }
        }
        self.push(&Input::Process(Box::new(info)));
    }

    fn push(&mut self, input: &Input<'_>) {
        match &mut self.recording {
            Some(recording) if self.tally.unrecorded == 0 => {
                if let Err(error) = recording.write(input) {
                    self.tally.unrecorded += 1;
                    self.log.say(&Event::RecordingFailed(error));
                }
            }
            // A recording with a hole would replay to something else: it ends where it failed.
            Some(_) => self.tally.unrecorded += 1,
            None => {}
        }
        self.core.push(input, &mut self.spans);
    }
}
