//! The one way into the core: whatever is told here is recorded too, in the same order.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    io, mem,
    os::fd::BorrowedFd,
    time::Duration,
};

use tracer_common::Loss;

use crate::{
    capture::{
        Input, ProcessInfo, Record,
        input::{AttributeValue, HostInfo, Shed},
        record::{Change, Comm, ProcessEvent},
        recording::{Recording, WriteError},
    },
    discovery::Discovery,
    guard::{
        self,
        panics::{self, Borne, Panic},
    },
    ids::BootNanos,
    metrics::{Board, Family, own},
    observe::{Event, Log},
    spans::Span,
    symbols::{Go, Runtime},
};

/// Inputs to spans.
pub trait Core {
    /// Takes one input; finished spans are added to `out`.
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>);
    /// When it wants to be told the time, even if nothing happens.
    fn next_deadline(&self) -> Option<BootNanos>;
    /// Everything that it has counted up to this time.
    fn families(&mut self, now: BootNanos) -> Vec<Family>;
}

impl<C: Core> Core for &mut C {
    fn push(&mut self, input: &Input<'_>, out: &mut Vec<Span>) {
        (**self).push(input, out);
    }

    fn next_deadline(&self) -> Option<BootNanos> {
        (**self).next_deadline()
    }

    fn families(&mut self, now: BootNanos) -> Vec<Family> {
        (**self).families(now)
    }
}

/// Who a process is.
pub trait Processes {
    /// What is known of it; `comm` is what the kernel calls it.
    fn lookup(&self, pid: u32, comm: &str) -> ProcessInfo;
    /// The Go program that it runs.
    fn go(&self, pid: u32) -> Option<Go>;
    /// What it runs, if that is known.
    fn runtime(&self, _pid: u32) -> Option<Runtime> {
        None
    }
    /// Whether it runs the tasks of tokio.
    fn has_tasks(&self, _pid: u32) -> bool {
        false
    }
    /// A process made another, which is what it is until it is looked up itself.
    fn forked(&self, _parent: u32, _child: u32) {}
    /// A process is gone.
    fn ended(&self, _pid: u32) {}
    /// Those that were looked up, and of which more is known since that was asked for: all that is known now.
    fn known_better(&self) -> Vec<ProcessInfo> {
        Vec::new()
    }
    /// Readable when there may be such, if there ever are.
    fn learnt(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Processes for &Discovery {
    fn lookup(&self, pid: u32, comm: &str) -> ProcessInfo {
        Discovery::lookup(self, pid, comm)
    }

    fn go(&self, pid: u32) -> Option<Go> {
        Discovery::go(self, pid)
    }

    fn runtime(&self, pid: u32) -> Option<Runtime> {
        Discovery::runtime(self, pid)
    }

    fn has_tasks(&self, pid: u32) -> bool {
        Discovery::has_tasks(self, pid)
    }

    fn forked(&self, parent: u32, child: u32) {
        Discovery::forked(self, parent, child);
    }

    fn ended(&self, pid: u32) {
        Discovery::ended(self, pid);
    }

    fn known_better(&self) -> Vec<ProcessInfo> {
        Discovery::known_better(self)
    }

    fn learnt(&self) -> Option<BorrowedFd<'_>> {
        Discovery::learnt(self)
    }
}

/// Keeps the inputs of a run.
pub trait Recorder {
    /// Keeps one input.
    ///
    /// # Errors
    /// When it cannot be written, once; from then on inputs are only counted as missing.
    fn write(&mut self, input: &Input<'_>) -> Result<(), WriteError>;
    /// Makes sure that everything is in its place.
    ///
    /// # Errors
    /// When it cannot be written, if that was not said before.
    fn finish(&mut self) -> Result<(), WriteError>;
    /// Inputs that are not in the recording.
    fn missing(&self) -> u64;
}

impl<W: io::Write> Recorder for Recording<W> {
    fn write(&mut self, input: &Input<'_>) -> Result<(), WriteError> {
        Self::write(self, input)
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        Self::finish(self)
    }

    fn missing(&self) -> u64 {
        self.summary().lost
    }
}

/// What went over the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of the kernel side.
    pub records: u64,
    /// Spans that were made.
    pub spans: u64,
    /// Inputs that are missing from the recording.
    pub unrecorded: u64,
    /// How often the core has panicked.
    pub panics: u64,
    /// What the guard has done.
    pub guard: guard::Tally,
    /// Traced processes that were alive at the end, as far as their birth was seen.
    pub alive: Vec<u32>,
}

/// Processes that are remembered as told or alive; past it all are forgotten, which costs a second look and the
/// list of survivors, but no truth.
const MAX_PROCESSES: usize = 65_536;

/// What a seed is changed by: odd, and as many ones as zeroes.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The way into the core.
pub struct Feed<'a, C, D> {
    core: C,
    processes: D,
    recording: Option<Box<dyn Recorder + 'a>>,
    resource: Vec<(String, String)>,
    deliver: Box<dyn FnMut(Vec<Span>) + 'a>,
    log: &'a Log,
    /// Processes that were told, and whether their event loops were looked at.
    known: HashMap<u32, bool>,
    alive: HashSet<u32>,
    spans: Vec<Span>,
    /// Processes that became or ceased to be Go programs, since that was asked for.
    turned: Vec<(u32, Option<Go>)>,
    /// Processes that were told, since that was asked for.
    begun: Vec<u32>,
    /// Processes whose runtime tells something, since that was asked for: they run event loops, or Java.
    loops: Vec<u32>,
    /// Processes of Java of which nothing was seen yet, and which may have loaded little of it.
    launched: HashSet<u32>,
    tally: Tally,
    lag: Lag,
    host: HostInfo,
    now: BootNanos,
    borne: Borne,
    /// The panic that was one too many.
    broken: Option<Panic>,
    shed: Shed,
}

/// How late records were taken.
#[derive(Default)]
struct Lag {
    /// The oldest head of those that were taken together.
    oldest: Option<BootNanos>,
    /// The longest wait since that was told.
    longest: Duration,
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
            known: HashMap::new(),
            alive: HashSet::new(),
            spans: Vec::new(),
            turned: Vec::new(),
            begun: Vec::new(),
            loops: Vec::new(),
            launched: HashSet::new(),
            tally: Tally::default(),
            lag: Lag::default(),
            host: HostInfo::default(),
            now: BootNanos::default(),
            borne: Borne::default(),
            broken: None,
            shed: Shed::default(),
        }
    }

    /// The core, for what is no input.
    pub(super) fn core(&mut self) -> &mut C {
        &mut self.core
    }

    /// Tells the host: first of all, and once.
    pub fn host(&mut self, host: HostInfo) {
        self.host = host.clone();
        self.push(&Input::Host(host));
    }

    /// Tells how much detail is left out from now on.
    pub fn shed(&mut self, shed: Shed) {
        self.shed = shed;
        self.push(&Input::Shed(shed));
    }

    /// Has the core drop what it holds and begin anew, with other ids than before. It is told again who each process is.
    pub fn begin_anew(&mut self) {
        let [key, offset] = self.host.id_seed;
        // Another key is another function of the same exchanges; the offset keeps apart what the key does not.
        self.host.id_seed = [key.rotate_left(1) ^ SEED_STEP, offset.wrapping_add(SEED_STEP)];
        self.known.clear();
        self.push(&Input::Host(self.host.clone()));
        if self.shed != Shed::default() {
            self.push(&Input::Shed(self.shed));
        }
    }

    /// The core has panicked more often than can be borne: it is told nothing any more.
    pub fn broken(&self) -> Option<&Panic> {
        self.broken.as_ref()
    }

    /// Tells a record; before it the process that it is about, if that is new; after it the program that a process
    /// has become.
    pub fn record(&mut self, bytes: &[u8]) {
        self.tally.records += 1;
        match Record::decode(bytes) {
            Ok(Record::Data(data)) => {
                // Other bytes may be told long after they have passed.
                if data.marks.head_end() {
                    self.lag.oldest = Some(self.lag.oldest.map_or(data.end, |oldest| oldest.min(data.end)));
                }
                let pid = data.task.pid.0;
                if data.moment.is_some() || (!self.launched.is_empty() && self.launched.remove(&pid)) {
                    self.introduce_loop(pid);
                } else {
                    self.introduce(pid, Comm::default());
                }
            }
            Ok(Record::Open(open)) => self.introduce(open.pid.0, open.comm),
            Ok(Record::Process(event)) => {
                self.push(&Input::Record(bytes));
                return self.follow(&event);
            }
            Ok(Record::Close(_) | Record::Stream(_) | Record::Coroutine(_)) => {}
            Err(error) => self.log.say(&Event::MalformedRecord(error)),
        }
        // The core counts what is malformed, and the recording is to show it.
        self.push(&Input::Record(bytes));
    }

    /// Tells a loss.
    pub fn lost(&mut self, cause: Loss, count: u64) {
        self.push(&Input::Lost {
            cause: cause as u32,
            count,
        });
    }

    /// Tells the time, if the core waits for it.
    pub fn tick(&mut self, now: BootNanos) {
        self.now = now;
        if let Some(oldest) = self.lag.oldest.take() {
            self.lag.longest = self.lag.longest.max(Duration::from_nanos(now.since(oldest)));
        }
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.push(&Input::Tick(now));
            self.deliver();
        }
    }

    /// Tells processes again of which more is known than when they were told.
    pub fn learn(&mut self) {
        for info in self.processes.known_better() {
            // Of one that is gone, what it was told as is all there is.
            if self.known.contains_key(&info.pid) {
                self.tell(info);
            }
        }
    }

    /// Readable when there may be more to tell of processes.
    pub fn learnt(&self) -> Option<BorrowedFd<'_>> {
        self.processes.learnt()
    }

    /// Processes that became or ceased to be Go programs, in order.
    pub fn turned(&mut self) -> Vec<(u32, Option<Go>)> {
        mem::take(&mut self.turned)
    }

    /// Processes that run a new program, or were seen for the first time, in order.
    pub fn begun(&mut self) -> Vec<u32> {
        mem::take(&mut self.begun)
    }

    /// What processes run that have begun to run event loops with it, in order.
    pub fn runtimes(&mut self) -> Vec<(u32, Runtime)> {
        let loops = mem::take(&mut self.loops).into_iter();
        loops
            .filter_map(|pid| Some((pid, self.processes.runtime(pid)?)))
            .collect()
    }

    /// What a process runs.
    pub fn runtime(&self, pid: u32) -> Option<Runtime> {
        self.processes.runtime(pid)
    }

    /// The Go program that a process runs.
    pub fn go(&self, pid: u32) -> Option<Go> {
        self.processes.go(pid)
    }

    /// When the core waits for the time.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.core.next_deadline()
    }

    /// Takes note of what the guard has done.
    pub fn guarded(&mut self, guard: guard::Tally) {
        self.tally.guard = guard;
    }

    /// Hands over the spans that are finished.
    pub fn deliver(&mut self) {
        if !self.spans.is_empty() {
            self.tally.spans += self.spans.len() as u64;
            (self.deliver)(mem::take(&mut self.spans));
        }
    }

    /// Puts on the board what was counted up to now.
    pub fn publish(&mut self, board: &Board, now: BootNanos) {
        let mut families = match panics::caught(|| self.core.families(now)) {
            Ok(families) => families,
            Err(panic) => {
                self.panicked(panic);
                Vec::new()
            }
        };
        families.extend(own::of_guard(self.shed, self.tally.guard, self.tally.panics));
        families.extend(own::of_way(&self.tally, mem::take(&mut self.lag.longest)));
        board.publish(families);
    }

    /// Tells the end and delivers the rest; a last time to the board too.
    pub fn end(mut self, now: BootNanos, board: Option<&Board>) -> Tally {
        self.push(&Input::End(now));
        self.deliver();
        if let Some(board) = board {
            self.publish(board, now);
        }
        if let Some(mut recording) = self.recording.take() {
            if let Err(error) = recording.finish() {
                self.log.say(&Event::Recording(error));
            }
            self.tally.unrecorded = recording.missing();
        }
        self.tally.alive = self.alive.into_iter().collect();
        self.tally.alive.sort_unstable();
        self.tally
    }

    fn follow(&mut self, event: &ProcessEvent) {
        let pid = event.pid.0;
        if self.alive.len() >= MAX_PROCESSES {
            self.alive.clear();
        }
        match event.change {
            Change::Exited => {
                self.known.remove(&pid);
                self.alive.remove(&pid);
                self.launched.remove(&pid);
                self.processes.ended(pid);
                self.turned.push((pid, None));
            }
            // To the core a child is what its parent is, until it becomes another program.
            Change::Forked(parent) => {
                self.alive.insert(pid);
                if self.known.contains_key(&parent.0) {
                    self.remember(pid);
                    self.processes.forked(parent.0, pid);
                } else {
                    self.known.remove(&pid);
                }
            }
            Change::Executed => {
                self.alive.insert(pid);
                self.known.remove(&pid);
                self.turned.push((pid, None));
                self.introduce(pid, event.comm);
            }
            Change::Selected => {
                self.alive.insert(pid);
                self.introduce(pid, event.comm);
            }
        }
    }

    fn introduce(&mut self, pid: u32, comm: Comm) {
        if !self.remember(pid) {
            return;
        }
        self.begun.push(pid);
        let info = self.processes.lookup(pid, &comm.name());
        if info.has_goroutines {
            let go = self.processes.go(pid);
            self.turned.push((pid, go));
        }
        if info.exe.as_deref().is_some_and(Runtime::is_java) {
            self.loops.push(pid);
            self.launched.insert(pid);
        }
        // Breakpoints take a while: here they are there before it serves.
        if self.processes.has_tasks(pid) {
            self.introduce_loop(pid);
        }
        self.tell(info);
    }

    fn tell(&mut self, mut info: ProcessInfo) {
        for (key, value) in &self.resource {
            if !info.resource.iter().any(|(known, _)| known == key) {
                info.resource
                    .push((key.clone(), AttributeValue::Text(value.clone().into())));
            }
        }
        self.push(&Input::Process(Box::new(info)));
    }

    /// False if the process was known.
    fn remember(&mut self, pid: u32) -> bool {
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        match self.known.entry(pid) {
            Entry::Occupied(_) => false,
            Entry::Vacant(new) => {
                new.insert(false);
                true
            }
        }
    }

    /// One that runs an event loop.
    fn introduce_loop(&mut self, pid: u32) {
        match self.known.get_mut(&pid) {
            Some(true) => {}
            Some(was_looked_at) => {
                *was_looked_at = true;
                self.loops.push(pid);
            }
            None => {
                self.introduce(pid, Comm::default());
                self.introduce_loop(pid);
            }
        }
    }

    fn push(&mut self, input: &Input<'_>) {
        if let Some(recording) = &mut self.recording
            && let Err(error) = recording.write(input)
        {
            self.log.say(&Event::Recording(error));
        }
        if self.broken.is_some() {
            return;
        }
        let (core, spans) = (&mut self.core, &mut self.spans);
        if let Err(panic) = panics::caught(|| core.push(input, spans)) {
            self.panicked(panic);
        }
    }

    /// What the core held may be anything now.
    fn panicked(&mut self, panic: Panic) {
        let is_borne = self.borne.bears(self.now);
        self.tally.panics = self.borne.total();
        self.log.say(&Event::BegunAnew(panic.clone()));
        if is_borne {
            self.begin_anew();
        } else {
            self.broken = Some(panic);
        }
    }
}
