//! One request with its response on one connection, seen at one end.

use std::sync::Arc;

use compact_str::CompactString;

use crate::{
    capture::{
        address::Address,
        record::{CoroutineMade, Marks, StreamTask},
    },
    ids::{BootNanos, ConnectionId, Coroutine, Maker, Moment, Pid, SpanId, Task, TraceId},
    sampling::Action,
};

use super::{grpc::Grpc, propagation::RequestId};

/// An exchange, never reused while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// Which end of the exchange was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The process is the server.
    Inbound,
    /// The process is the client.
    Outbound,
}

/// What `protocols` tells `correlate`, in order for each connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ExchangeEvent {
    /// The head of a request is whole (or all of it that will ever be known).
    Begun(Box<Exchange>),
    /// The task read more of it, at this moment of its event loop: of the body of a request that came in, or the head of a response.
    Read(ExchangeId, Task, Moment),
    /// Of a connection that carries many requests at once: this task works on the request, or had it sent.
    Taken(ExchangeId, Worker),
    /// The task is about to have a request sent by a task that it makes.
    Calls(Worker),
    /// A coroutine has made another.
    Made(CoroutineMade),
    /// The exchange is over.
    Ended(ExchangeId, Ending),
    /// A `connect` failed before any request was made.
    ConnectFailed(Box<ConnectFailure>),
}

/// A task, as it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The task.
    pub task: Task,
    /// The one that made it, where that is known.
    pub maker: Option<Task>,
}

impl Worker {
    /// What this record says.
    pub fn of(taken: &StreamTask) -> Self {
        Self {
            task: taken.task,
            maker: taken.maker,
        }
    }
}

/// The part of an exchange that is known when its request head is.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Its id.
    pub id: ExchangeId,
    /// The end that was seen.
    pub side: Side,
    /// The connection end it was seen on.
    pub connection: ConnectionId,
    /// Address of the process that was seen.
    pub local: Address,
    /// Address of the other end.
    pub peer: Address,
    /// Of a Unix socket: what its server listens on.
    pub path: Option<Arc<str>>,
    /// Network namespace of the process (inode number).
    pub netns: u32,
    /// TCP sequence number of the request's first byte, or its place in the stream: equal at both ends, but for [`Cover::Apart`].
    pub request_seq: u32,
    /// What was around its bytes on the wire.
    pub cover: Cover,
    /// When the first byte of the request was read (inbound) or its write was begun (outbound).
    pub start: BootNanos,
    /// The task that read the last byte of the request's head (inbound), or wrote its first byte or had it written (outbound).
    pub task: Task,
    /// Who made the task, or had it send the request (outbound), where that is known.
    pub maker: Option<Maker>,
    /// The coroutine that wrote the first byte (outbound), where the language has such that are known.
    pub coroutine: Option<Coroutine>,
    /// The task had another write the request.
    pub handed: bool,
    /// The connection carries many requests at once, so that whoever reads or writes it does so for all of them: the task is not
    /// the one that works on the request.
    pub multiplexed: bool,
    /// In an event loop: when the task read the head (inbound), or asked for the request to be sent (outbound), by `connect` if it is
    /// the first on its connection.
    pub moment: Option<Moment>,
    /// When the last byte of the request head was read or written.
    pub head_end: BootNanos,
    /// The request as its head tells it.
    pub request: Request,
    /// Trace context found in the request head.
    pub context: WireContext,
    /// What is known of the other end of the connection.
    pub other_end: OtherEnd,
    /// Nothing but times and sizes was delivered, since the caller has decided that it is not sampled: it is there for
    /// what it causes.
    pub unseen: bool,
    /// Something of the request head is missing (truncated, lost).
    pub incomplete: bool,
    /// What the first sampling rule that fits says of it; told between this stage and the next.
    pub rule: Option<Action>,
}

/// What was around the bytes of an exchange on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cover {
    /// Nothing.
    #[default]
    None,
    /// TLS. Where the request begins is counted in what is in it, from the beginning of the connection.
    Tls,
    /// TLS that was there before it was looked into: where the request begins is not known.
    Apart,
}

impl Cover {
    /// What these marks say.
    pub fn of(marks: Marks) -> Self {
        match (marks.decrypted(), marks.apart()) {
            (false, _) => Self::None,
            (true, false) => Self::Tls,
            (true, true) => Self::Apart,
        }
    }
}

/// What is known of the other end of a connection when an exchange begins on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherEnd {
    /// This agent traces it too: the same exchange was or will be seen there.
    Traced,
    /// It was not seen so far and may yet be: the connection was open before it was first seen, or the peer's
    /// address is one of this host.
    Maybe,
    /// This agent does not trace it.
    Untraced,
}

impl Exchange {
    /// The process that was seen.
    pub fn pid(&self) -> Pid {
        self.task.pid
    }

    /// The goroutine that made the task, where that is known.
    pub fn made_by(&self) -> Option<Task> {
        match self.maker? {
            Maker::Goroutine(number) => Some(Task::goroutine(self.pid(), number.get())),
            Maker::Thread { .. } | Maker::Coroutine { .. } => None,
        }
    }

    /// The coroutine that handed something to the one which sends, and when, where that is known.
    pub fn handed_by(&self) -> Option<(Coroutine, BootNanos)> {
        match self.maker? {
            Maker::Coroutine { waker, at } => Some((waker?, at)),
            _ => None,
        }
    }

    /// Whether any thread may run what sends.
    pub const fn is_by_any_thread(&self) -> bool {
        matches!(self.maker, Some(Maker::Coroutine { .. }))
    }
}

/// The version of HTTP that a message was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0` is 0, `HTTP/1.1` is 1.
    Http1(u8),
    /// HTTP/2.
    Http2,
}

impl Default for Version {
    fn default() -> Self {
        Self::Http1(1)
    }
}

/// A request head.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Request {
    /// Method as sent, e.g. `GET`, `get`, `PURGE`; empty where it is not known.
    pub method: CompactString,
    /// Request target as sent: origin, absolute, authority or asterisk form, unredacted; empty where it is not known.
    pub target: CompactString,
    /// The version it was sent in.
    pub version: Version,
    /// `:scheme`, where it is not `http`.
    pub scheme: Option<CompactString>,
    /// It is a call by gRPC, made so: its `Content-Type` says so.
    pub grpc: Option<Grpc>,
    /// `Host` or `:authority`, if there is exactly one and it is not empty.
    pub host: Option<CompactString>,
    /// `User-Agent`, the first.
    pub user_agent: Option<CompactString>,
    /// Headers that were asked for by configuration, lower-case name, in order.
    pub captured_headers: Vec<(String, String)>,
}

/// A response head.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Response {
    /// Status code as sent, 100 to 999.
    pub status: u16,
    /// `grpc-status`, in the head or in the trailers. Of gRPC-Web, what stands in the body is not read.
    pub grpc_status: Option<u32>,
    /// Headers that were asked for by configuration, lower-case name, in order.
    pub captured_headers: Vec<(String, String)>,
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When: the last response byte, or the close, or the flush. For inbound the response's last byte is written, for outbound it is read.
    pub end: BootNanos,
    /// The final (not 1xx) response head, if one was seen.
    pub response: Option<Response>,
    /// The task that wrote (inbound) or read (outbound) the first byte of the response.
    pub response_task: Option<Task>,
    /// The coroutine that wrote it (inbound).
    pub coroutine: Option<Coroutine>,
    /// Who had that task write it (inbound).
    pub maker: Option<Maker>,
    /// In an event loop: when that task wrote the first byte (inbound) or read the last (outbound).
    pub moment: Option<Moment>,
    /// Bytes of the request body on the wire, after transfer coding (chunk framing included); `None` if not known.
    pub request_body: Option<u64>,
    /// Bytes of the response body on the wire; `None` if not known.
    pub response_body: Option<u64>,
    /// Why there was no whole response.
    pub failure: Option<Failure>,
    /// Bytes that belong to the exchange were lost: times and sizes that are not known are absent.
    pub incomplete: bool,
}

impl Ending {
    /// When the coroutine answered: of tasks that any thread may run, which need not wait for files, when it was done with that.
    pub fn answered_at(&self) -> Option<BootNanos> {
        let is_by_any_thread = matches!(self.maker, Some(Maker::Coroutine { .. }));
        let begun = self.moment.map(|moment| moment.at);
        begun.or_else(|| is_by_any_thread.then_some(self.end))
    }
}

/// Why an exchange has no whole response, or a connect no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `connection_reset`
    Reset,
    /// `connection_closed`
    Closed,
    /// `timeout_waiting`: never answered within the bound.
    Unanswered,
    /// The connection ended with this `errno` (its name is the `error.type`).
    Errno(u32),
    /// One end ended the stream of the exchange with this code (RFC 9113 §7; its name is the `error.type`).
    StreamReset(u32),
}

impl Failure {
    /// Of an exchange whose connection was closed, with this `errno`.
    pub(super) fn of_close(errno: Option<u32>) -> Self {
        const EPIPE: u32 = 32;
        const ECONNRESET: u32 = 104;
        match errno {
            None => Self::Closed,
            Some(ECONNRESET | EPIPE) => Self::Reset,
            Some(errno) => Self::Errno(errno),
        }
    }
}

/// A `connect` that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectFailure {
    /// Its id, of the same space as exchanges.
    pub id: ExchangeId,
    /// The connection end.
    pub connection: ConnectionId,
    /// The task that called `connect`.
    pub task: Task,
    /// Where to.
    pub peer: Address,
    /// When it began.
    pub start: BootNanos,
    /// When it failed.
    pub end: BootNanos,
    /// Why.
    pub errno: u32,
    /// As that of an exchange.
    pub rule: Option<Action>,
}

/// Trace context read off the wire.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WireContext {
    /// The context that counts: of the first format in the order of linking.md that is present and valid.
    pub parent: Option<RemoteParent>,
    /// The `tracestate` that goes with a valid `traceparent`, as the specification combines and truncates it.
    pub tracestate: Option<String>,
    /// The `traceparent` says that the right-most 7 bytes of the trace id are random (W3C level 2).
    pub random_trace_id: bool,
    /// A sampling decision that was sent without a trace (`b3: 0`): `parent` is `None` then.
    pub decision: Option<Sampled>,
    /// A context header was there but not valid: treated as none, counted.
    pub malformed: bool,
    /// Ids of the request, which are no trace context.
    pub request_ids: [Option<RequestId>; 2],
}

/// A parent named on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteParent {
    /// The trace.
    pub trace: TraceId,
    /// The span that sent the request. `None` where a format names a trace only.
    pub span: Option<SpanId>,
    /// The sampling decision that was sent along.
    pub sampled: Sampled,
    /// The format it was read from.
    pub format: ContextFormat,
}

/// The sampling decision of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// Recorded.
    Yes,
    /// Not recorded.
    No,
    /// The format allows to defer and the caller did.
    Deferred,
}

/// A format of trace context on the wire, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the formats")]
pub enum ContextFormat {
    W3c,
    B3Single,
    B3Multi,
    Jaeger,
    Datadog,
    AwsXray,
    GoogleCloud,
    GrpcTraceBin,
}
