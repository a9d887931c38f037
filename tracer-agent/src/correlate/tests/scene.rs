//! Scenes: exchanges of a few processes, written down briefly.

use std::{collections::BTreeMap, num::NonZeroU64};

use crate::{
    capture::ProcessInfo,
    capture::record::{Change, Comm, CoroutineMade, ProcessEvent},
    correlate::{Correlator, Counters, Evidence, Linked, Observed, Settings, identity::Identity},
    ids::{BootNanos, ConnectionId, Coroutine, Maker, Moment, Pid, SpanId, Task, TraceId},
    protocols::{
        Exchange, ExchangeEvent, ExchangeId,
        exchange::{
            ConnectFailure, ContextFormat, Cover, Ending, Failure, OtherEnd, RemoteParent, Request, Response,
            Sampled, Side, WireContext, Worker,
        },
        propagation::RequestId,
    },
};

const SEED: [u64; 2] = [11, 22];
pub const MILLISECOND: u64 = 1_000_000;
/// Where scenes begin.
const DAWN: u64 = 1_000_000 * MILLISECOND;

/// An exchange before it begins.
#[derive(Clone)]
pub struct Draft(pub Exchange);

pub fn inbound(pid: u32, tid: u32) -> Draft {
    draft(Side::Inbound, task(pid, tid))
}

pub fn outbound(pid: u32, tid: u32) -> Draft {
    draft(Side::Outbound, task(pid, tid))
}

pub fn task(pid: u32, tid: u32) -> Task {
    Task::thread(Pid(pid), tid)
}

pub fn goroutine(pid: u32, number: u64) -> Task {
    Task::goroutine(Pid(pid), number)
}

pub fn trace(number: u128) -> TraceId {
    TraceId::new(number.to_be_bytes()).unwrap()
}

pub fn span(number: u64) -> SpanId {
    SpanId::new(number.to_be_bytes()).unwrap()
}

/// A sampled W3C context.
pub fn context(trace_number: u128, span_number: u64) -> RemoteParent {
    RemoteParent {
        trace: trace(trace_number),
        span: Some(span(span_number)),
        sampled: Sampled::Yes,
        format: ContextFormat::W3c,
    }
}

fn draft(side: Side, task: Task) -> Draft {
    let address = ([10, 0, 0, 1], 1).into();
    Draft(Exchange {
        id: ExchangeId(0),
        side,
        connection: ConnectionId(0),
        local: address,
        peer: address,
        path: None,
        netns: 1,
        request_seq: 0,
        cover: Cover::None,
        start: BootNanos(0),
        task,
        maker: None,
        coroutine: None,
        handed: false,
        multiplexed: false,
        moment: None,
        head_end: BootNanos(0),
        request: Request {
            method: "GET".into(),
            target: "/".into(),
            ..Request::default()
        },
        context: WireContext::default(),
        other_end: OtherEnd::Untraced,
        unseen: false,
        incomplete: false,
        rule: None,
    })
}

impl Draft {
    /// The same number at both ends makes them ends of one exchange; each end expects the other.
    pub fn wire(mut self, number: u16) -> Self {
        let client = ([10, 0, 0, 1], 20_000 + number).into();
        let server = ([10, 0, 0, 2], 80).into();
        (self.0.local, self.0.peer) = match self.0.side {
            Side::Inbound => (server, client),
            Side::Outbound => (client, server),
        };
        self.0.request_seq = u32::from(number) * 1_000;
        self.0.other_end = OtherEnd::Traced;
        self
    }

    /// With this `x-request-id`.
    pub fn named(mut self, text: &str) -> Self {
        self.0.context.request_ids = [RequestId::of(text.as_bytes()), None];
        self
    }

    /// By this goroutine, whatever thread it runs in.
    pub fn by(mut self, number: u64) -> Self {
        self.0.task = goroutine(self.0.task.pid.0, number);
        self
    }

    /// That goroutine was made by this one.
    pub fn made_by(mut self, number: u64) -> Self {
        self.0.maker = NonZeroU64::new(number).map(Maker::Goroutine);
        self
    }

    /// This thread has taken the connection for it.
    pub fn taken_by(mut self, taker: u32) -> Self {
        self.0.maker = Some(Maker::took(taker));
        self
    }

    /// This thread has woken another at this millisecond, which has taken the connection.
    pub fn woken_by(mut self, taker: u32, waker: u32, at: u64) -> Self {
        let at = BootNanos(DAWN + at * MILLISECOND);
        self.0.maker = Some(Maker::Thread { taker, waker, at });
        self
    }

    /// It has another write.
    pub fn handed(mut self) -> Self {
        self.0.handed = true;
        self
    }

    /// On a connection with many others.
    pub fn multiplexed(mut self) -> Self {
        self.0.multiplexed = true;
        self
    }

    pub fn with(mut self, context: impl Into<Option<RemoteParent>>) -> Self {
        self.0.context.parent = context.into();
        self
    }

    pub fn malformed(mut self) -> Self {
        self.0.context = WireContext {
            malformed: true,
            ..WireContext::default()
        };
        self
    }

    /// Left uncaptured, since its caller does not sample it.
    pub fn unseen(mut self) -> Self {
        self.0.unseen = true;
        self.0.context = WireContext {
            decision: Some(Sampled::No),
            ..WireContext::default()
        };
        self
    }

    pub fn other_end(mut self, other_end: OtherEnd) -> Self {
        self.0.other_end = other_end;
        self
    }

    pub fn connection(mut self, number: u64) -> Self {
        self.0.connection = ConnectionId(number);
        self
    }

    pub fn posts_to(mut self, target: &str) -> Self {
        self.0.request.method = "POST".into();
        self.0.request.target = target.into();
        self
    }

    /// When it began, in milliseconds of the scene, whenever it is told.
    pub fn at(mut self, millisecond: u64) -> Self {
        self.0.start = time(millisecond);
        self.0.head_end = self.0.start;
        self
    }
}

fn time(millisecond: u64) -> BootNanos {
    BootNanos(DAWN + millisecond * MILLISECOND)
}

/// How an exchange without fault ends.
pub fn answer(end: BootNanos, task: Task) -> Ending {
    Ending {
        end,
        response: Some(Response {
            status: 200,
            ..Response::default()
        }),
        response_task: Some(task),
        coroutine: None,
        maker: None,
        moment: None,
        request_body: Some(0),
        response_body: Some(0),
        failure: None,
        incomplete: false,
    }
}

/// What must be true of an exchange in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not given out.
    Absent,
    /// The root of a trace of its own.
    Root,
    /// A child of another exchange.
    Under(ExchangeId, Evidence),
    /// A child of a span named on the wire.
    UnderWire(SpanId),
    /// In a trace named on the wire, without parent.
    InTrace(TraceId),
}

/// Exchanges as they go on; every step takes a millisecond.
pub struct Scene {
    pub correlator: Correlator,
    pub out: Vec<Linked>,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    now: u64,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Where times tell nothing.
    pub fn without_timing() -> Self {
        Self::with(Settings {
            wait_timing_ns: 0,
            ..Settings::default()
        })
    }

    pub fn with(settings: Settings) -> Self {
        Self {
            correlator: Correlator::new(settings, SEED),
            out: Vec::new(),
            exchanges: BTreeMap::new(),
            now: 0,
        }
    }

    /// The millisecond of the last step.
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn begin(&mut self, draft: Draft) -> ExchangeId {
        self.now += 1;
        let mut exchange = draft.0;
        exchange.id = ExchangeId(self.exchanges.len() as u64 + 1);
        if exchange.start == BootNanos(0) {
            exchange.start = time(self.now);
            exchange.head_end = time(self.now);
        }
        if exchange.connection == ConnectionId(0) {
            exchange.connection = ConnectionId(1_000 + exchange.id.0);
        }
        let id = exchange.id;
        self.exchanges.insert(id, exchange.clone());
        self.tell(ExchangeEvent::Begun(Box::new(exchange)));
        id
    }

    pub fn end(&mut self, id: ExchangeId) {
        self.end_by(id, self.exchanges[&id].task);
    }

    pub fn end_by(&mut self, id: ExchangeId, task: Task) {
        self.now += 1;
        self.tell(ExchangeEvent::Ended(id, answer(time(self.now), task)));
    }

    /// At this millisecond of the scene, whenever it is told.
    pub fn end_by_at(&mut self, id: ExchangeId, task: Task, millisecond: u64) {
        self.now += 1;
        self.tell(ExchangeEvent::Ended(id, answer(time(millisecond), task)));
    }

    /// Answered by a thread that another has just woken for that.
    pub fn end_woken_by(&mut self, id: ExchangeId, tid: u32, waker: u32) {
        let woken = Maker::Thread {
            taker: tid,
            waker,
            at: time(self.now),
        };
        self.now += 1;
        let pid = self.exchanges[&id].pid();
        let ending = Ending {
            maker: Some(woken),
            ..answer(time(self.now), Task::thread(pid, tid))
        };
        self.tell(ExchangeEvent::Ended(id, ending));
    }

    /// In an event loop: answered, or its answer read, at this moment.
    pub fn end_at(&mut self, id: ExchangeId, moment: Moment) {
        self.now += 1;
        let ending = Ending {
            moment: Some(moment),
            ..answer(time(self.now), self.exchanges[&id].task)
        };
        self.tell(ExchangeEvent::Ended(id, ending));
    }

    /// The same, answered by this coroutine.
    pub fn end_in(&mut self, id: ExchangeId, coroutine: Coroutine, moment: Moment) {
        self.now += 1;
        let ending = Ending {
            moment: Some(moment),
            coroutine: Some(coroutine),
            ..answer(time(self.now), self.exchanges[&id].task)
        };
        self.tell(ExchangeEvent::Ended(id, ending));
    }

    /// A coroutine makes another.
    pub fn makes(&mut self, pid: u32, maker: Coroutine, coroutine: Coroutine) {
        self.now += 1;
        self.tell(ExchangeEvent::Made(CoroutineMade {
            at: time(self.now),
            thread: task(pid, pid),
            coroutine,
            maker,
        }));
    }

    /// By whoever writes for all.
    pub fn end_stream(&mut self, id: ExchangeId) {
        self.now += 1;
        let ending = Ending {
            response_task: None,
            coroutine: None,
            maker: None,
            ..answer(time(self.now), task(0, 0))
        };
        self.tell(ExchangeEvent::Ended(id, ending));
    }

    /// This goroutine works on it, or had it sent.
    pub fn taken(&mut self, id: ExchangeId, number: u64, maker: Option<u64>) {
        let worker = self.worker(self.exchanges[&id].pid(), number, maker);
        self.tell(ExchangeEvent::Taken(id, worker));
    }

    /// This goroutine is about to make one that sends for it.
    pub fn calls(&mut self, pid: u32, number: u64, maker: u64) {
        let worker = self.worker(Pid(pid), number, Some(maker));
        self.tell(ExchangeEvent::Calls(worker));
    }

    fn worker(&mut self, pid: Pid, number: u64, maker: Option<u64>) -> Worker {
        self.now += 1;
        Worker {
            task: Task::goroutine(pid, number),
            maker: maker.map(|maker| Task::goroutine(pid, maker)),
        }
    }

    pub fn fail(&mut self, id: ExchangeId, failure: Failure) {
        self.now += 1;
        let ending = Ending {
            response: None,
            response_task: None,
            coroutine: None,
            maker: None,
            moment: None,
            failure: Some(failure),
            ..answer(time(self.now), task(0, 0))
        };
        self.tell(ExchangeEvent::Ended(id, ending));
    }

    pub fn fail_connect(&mut self, task: Task) -> ExchangeId {
        self.now += 1;
        let id = ExchangeId(1_000_000 + self.now);
        self.tell(ExchangeEvent::ConnectFailed(Box::new(ConnectFailure {
            id,
            connection: ConnectionId(id.0),
            task,
            peer: ([10, 0, 0, 9], 80).into(),
            start: time(self.now),
            end: time(self.now + 1),
            errno: 111,
            rule: None,
        })));
        id
    }

    pub fn process(&mut self, pid: u32, change: Change) {
        self.now += 1;
        let event = ProcessEvent {
            at: time(self.now),
            pid: Pid(pid),
            change,
            comm: Comm::default(),
        };
        self.correlator.on_process(&event, &mut self.out);
    }

    /// A process is written in Go.
    pub fn is_go(&mut self, pid: u32) {
        self.correlator.on_process_info(&ProcessInfo {
            pid,
            has_goroutines: true,
            ..ProcessInfo::default()
        });
    }

    pub fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.correlator.tick(time(self.now), &mut self.out);
    }

    /// Whether it was given out.
    pub fn is_out(&self, id: ExchangeId) -> bool {
        self.out.iter().any(|linked| id_of(linked) == id)
    }

    fn tell(&mut self, event: ExchangeEvent) {
        self.correlator.on_event(event, &mut self.out);
    }

    /// Ends the input.
    pub fn finish(mut self) -> Tree {
        self.correlator.finish(time(self.now), &mut self.out);
        Tree {
            counters: *self.correlator.counters(),
            spans: self.out,
        }
    }
}

/// What came of a scene.
pub struct Tree {
    pub spans: Vec<Linked>,
    pub counters: Counters,
}

impl Tree {
    pub fn linked(&self, id: ExchangeId) -> Option<&Linked> {
        self.spans.iter().find(|linked| id_of(linked) == id)
    }

    pub fn place(&self, id: ExchangeId) -> Place {
        let Some(linked) = self.linked(id) else {
            return Place::Absent;
        };
        match (linked.parent, linked.evidence) {
            (None, None) => Place::Root,
            (None, Some(_)) => Place::InTrace(linked.trace),
            (Some(parent), evidence) => {
                let known = self.spans.iter().find(|other| other.span == parent.span);
                match known {
                    Some(other) => Place::Under(id_of(other), evidence.expect("a link has evidence")),
                    None => Place::UnderWire(parent.span),
                }
            }
        }
    }

    pub fn trace(&self, id: ExchangeId) -> TraceId {
        self.linked(id).expect("it is given out").trace
    }
}

pub fn id_of(linked: &Linked) -> ExchangeId {
    match &linked.observed {
        Observed::Exchange(exchange, _) => exchange.id,
        Observed::ConnectFailed(failure) => failure.id,
    }
}

pub fn span_of(id: ExchangeId) -> SpanId {
    Identity::new(SEED).span(id)
}
