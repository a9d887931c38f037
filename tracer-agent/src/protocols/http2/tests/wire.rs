//! A connection in HTTP/2 as bytes, and what comes of it.

use tracer_common::{
    framer::Waiting,
    record::{DataRecord, frame},
    testing::{Delivered, Stream},
};

use crate::{
    capture::record::Record,
    connections::{Connections, Limits},
    ids::BootNanos,
    protocols::{
        Exchange, ExchangeEvent, ProtocolCounters, Protocols, Settings,
        exchange::{Ending, Failure},
    },
    testing::End,
};

pub const END_STREAM: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header fields in one frame.
pub fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(frame::HEADERS, flags | frame::END_HEADERS, stream, block)
}

/// Bytes of a body.
pub fn data(stream: u32, flags: u8, len: usize) -> Vec<u8> {
    frame(frame::DATA, flags, stream, &vec![b'.'; len])
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(frame::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A field, which goes into the table or not.
pub fn field(indexed: bool, name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![if indexed { 0x40 } else { 0 }];
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
    block
}

/// `METHOD TARGET`, a status, or nothing, then `name: value` behind `|`: a block that needs no table.
pub fn fields(text: &str) -> Vec<u8> {
    let mut parts = text.split('|');
    let first = parts.next().unwrap();
    let mut block = match first.split_once(' ') {
        Some((method, target)) => [
            field(false, ":method", method),
            field(false, ":path", target),
            field(false, ":scheme", "http"),
            field(false, ":authority", "shop:80"),
        ]
        .concat(),
        None if first.is_empty() => Vec::new(),
        None => field(false, ":status", first),
    };
    for part in parts {
        let (name, value) = part.split_once(": ").unwrap();
        block.extend(field(false, name, value));
    }
    block
}

/// One end of a connection.
pub struct Talk {
    open: End,
    lanes: [Stream; 2],
    is_server: bool,
    cuts: Vec<usize>,
    now: u64,
    records: Vec<Vec<u8>>,
}

impl Talk {
    /// What a server sees, after the beginning of a connection.
    pub fn server() -> Self {
        Self::new(End::accepted(1), true).begun()
    }

    /// What a client sees, after the beginning of a connection.
    pub fn client() -> Self {
        Self::new(End::connected(1), false).begun()
    }

    /// What is seen of a connection that a server had before.
    pub fn joined() -> Self {
        let mut talk = Self::new(End::joined(1), true);
        for lane in &mut talk.lanes {
            lane.lane.state = tracer_common::lane::State::SEEK;
        }
        talk
    }

    fn new(open: End, is_server: bool) -> Self {
        let identity = DataRecord {
            connection: 1,
            tgid: 101,
            tid: 101,
            ..DataRecord::default()
        };
        let mut lanes = [Stream::new(false), Stream::new(true)];
        for lane in &mut lanes {
            lane.identify(identity);
        }
        Self {
            records: open.encoded().to_vec(),
            open,
            lanes,
            is_server,
            cuts: Vec::new(),
            now: 2_000_000,
        }
    }

    /// What a server sees whose client asks for HTTP/2 in HTTP/1.
    pub fn upgraded(request: &str) -> Self {
        let head = |text: &str| format!("{text}\r\n\r\n").replace('|', "\r\n").into_bytes();
        Self::new(End::accepted(1), true)
            .request(head(request))
            .response(head(
                "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: h2c",
            ))
            .begun()
    }

    fn begun(self) -> Self {
        self.request(PREFACE.to_vec())
            .request(SETTINGS.to_vec())
            .response(SETTINGS.to_vec())
    }

    /// What follows comes in calls of so many bytes, and the rest at once.
    pub fn cut(mut self, cuts: &[usize]) -> Self {
        self.cuts = cuts.to_vec();
        self
    }

    /// The client says something.
    pub fn request(self, bytes: Vec<u8>) -> Self {
        let lane = usize::from(!self.is_server);
        self.says(lane, &bytes)
    }

    /// The server says something.
    pub fn response(self, bytes: Vec<u8>) -> Self {
        let lane = usize::from(self.is_server);
        self.says(lane, &bytes)
    }

    fn says(mut self, lane: usize, bytes: &[u8]) -> Self {
        let mut rest = bytes;
        for cut in self.cuts.clone() {
            let (call, after) = rest.split_at(cut.min(rest.len()));
            self.call(lane, call);
            rest = after;
        }
        self.call(lane, rest);
        self
    }

    fn call(&mut self, lane: usize, bytes: &[u8]) {
        self.now += 1_000;
        let stream = &mut self.lanes[lane];
        stream.now = self.now;
        stream.call(bytes, &[], &mut Waiting::default());
        let records = std::mem::take(&mut stream.records);
        self.records.extend(records.iter().map(encoded));
    }

    /// A goroutine tells that it works on a stream, or had it sent.
    pub fn taken(mut self, stream: u32, goroutine: u64) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(tracer_common::record::kind::STREAM.to_ne_bytes());
        bytes.extend(48_u32.to_ne_bytes());
        for word in [1, self.now, goroutine, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([101, stream].map(u32::to_ne_bytes).concat());
        self.records.push(bytes);
        self
    }

    /// Time passes.
    pub fn wait(mut self, nanos: u64) -> Self {
        self.now += nanos;
        self
    }

    /// The last record does not arrive.
    pub fn lost(mut self) -> Self {
        self.records.pop();
        self
    }

    /// The last two records arrive the other way round.
    pub fn swapped(mut self) -> Self {
        let last = self.records.len() - 1;
        self.records.swap(last - 1, last);
        self
    }

    /// What came out, with the connection as it is.
    pub fn outcome(self) -> Outcome {
        self.after(0, false)
    }

    /// What came out when so much time had passed.
    pub fn later(self, nanos: u64) -> Outcome {
        self.after(nanos, false)
    }

    /// What came out once the connection was closed.
    pub fn closed(self) -> Outcome {
        self.after(0, true)
    }

    fn after(mut self, nanos: u64, is_closed: bool) -> Outcome {
        let records = self.take_records(is_closed);
        drop(self.open);
        Outcome::of(&records, self.now + nanos)
    }

    /// All that was told of the connection up to its end, as records.
    pub fn records(mut self) -> Vec<Vec<u8>> {
        self.take_records(true)
    }

    fn take_records(&mut self, is_closed: bool) -> Vec<Vec<u8>> {
        let mut records = std::mem::take(&mut self.records);
        if is_closed {
            let [received, sent] = self.lanes.each_ref().map(|lane| lane.lane.offset);
            records.push(close(received, sent, self.now + 1_000));
        }
        records
    }
}

fn encoded((record, captured): &Delivered) -> Vec<u8> {
    let words = [
        record.connection,
        record.offset,
        record.len,
        record.start_ns,
        record.end_ns,
        record.task,
    ];
    let halves = [
        record.tgid,
        record.tid,
        record.seq,
        record.flags,
        record.captured,
        record.exchange,
    ];
    let mut bytes = Vec::new();
    bytes.extend(record.kind.to_ne_bytes());
    bytes.extend(record.size.to_ne_bytes());
    words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    halves.iter().for_each(|half| bytes.extend(half.to_ne_bytes()));
    bytes.extend([0; 16]);
    bytes.extend(captured);
    bytes
}

fn close(received: u64, sent: u64, at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(tracer_common::record::kind::CLOSE.to_ne_bytes());
    bytes.extend(64_u32.to_ne_bytes());
    for word in [1, at, received, sent, at, at, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// What came out.
pub struct Outcome {
    events: Vec<ExchangeEvent>,
    pub counters: ProtocolCounters,
}

impl Outcome {
    /// What comes of records, at a time.
    pub fn of(records: &[Vec<u8>], now: u64) -> Self {
        let mut connections = Connections::new(Limits::default());
        let mut protocols = Protocols::new(Settings::default());
        let mut events = Vec::new();
        for record in records {
            let record = Record::decode(record).unwrap();
            protocols.push(connections.apply(&record), &mut events);
        }
        protocols.tick(BootNanos(now), &mut events);
        Self {
            events,
            counters: *protocols.counters(),
        }
    }

    pub fn into_events(self) -> Vec<ExchangeEvent> {
        self.events
    }

    pub fn begun(&self) -> Vec<&Exchange> {
        let mut begun = Vec::new();
        for event in &self.events {
            if let ExchangeEvent::Begun(exchange) = event {
                begun.push(&**exchange);
            }
        }
        begun
    }

    /// Target of a request and the goroutine that works on it.
    pub fn taken(&self) -> Vec<(&str, u64)> {
        let begun = self.begun();
        let target = |id| {
            begun
                .iter()
                .find(|begun| begun.id == id)
                .unwrap()
                .request
                .target
                .as_str()
        };
        let mut taken = Vec::new();
        for event in &self.events {
            if let ExchangeEvent::Taken(id, worker) = event {
                taken.push((target(*id), worker.task.context));
            }
        }
        taken
    }

    pub fn endings(&self) -> Vec<&Ending> {
        let mut endings = Vec::new();
        for event in &self.events {
            if let ExchangeEvent::Ended(_, ending) = event {
                endings.push(ending);
            }
        }
        endings
    }

    /// One line an exchange that ended, in the order of their requests: its number on the connection times two less one, method,
    /// target, status, request body, response body, what went wrong.
    pub fn lines(&self) -> Vec<String> {
        let number = |size: Option<u64>| size.map_or("-".to_owned(), |size| size.to_string());
        let mut lines = Vec::new();
        for (place, exchange) in self.begun().into_iter().enumerate() {
            let ending = self.events.iter().find_map(|event| match event {
                ExchangeEvent::Ended(id, ending) if *id == exchange.id => Some(ending),
                _ => None,
            });
            let Some(ending) = ending else { continue };
            let status = ending
                .response
                .as_ref()
                .map_or("-".to_owned(), |head| head.status.to_string());
            let failure = match ending.failure {
                None => String::new(),
                Some(Failure::Closed) => " closed".to_owned(),
                Some(Failure::Unanswered) => " unanswered".to_owned(),
                Some(Failure::StreamReset(code)) => format!(" reset {code}"),
                Some(other) => format!(" {other:?}"),
            };
            let incomplete = if exchange.incomplete || ending.incomplete {
                " incomplete"
            } else {
                ""
            };
            let (request, response) = (number(ending.request_body), number(ending.response_body));
            lines.push(format!(
                "{} {} {} {status} {request} {response}{failure}{incomplete}",
                place * 2 + 1,
                exchange.request.method,
                exchange.request.target
            ));
        }
        lines
    }
}
