//! Connections in HTTP/2 that are right: frames, and calls by gRPC of which it is known what must come out.

use tracer_agent::testing::hpack::{Encoder, Wish};
use tracer_common::record::frame as kind;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What both ends send first, and the client after its preface.
pub const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// What passes first at an end of a connection, and whether that is sent.
pub fn begun(is_server: bool) -> [(bool, &'static [u8]); 3] {
    [
        (!is_server, PREFACE),
        (!is_server, SETTINGS),
        (is_server, SETTINGS),
    ]
}

/// Flags of frames (RFC 9113 §6).
const END_STREAM: u8 = 1 << 0;
const PADDED: u8 = 1 << 3;
const PRIORITY: u8 = 1 << 5;

/// Calls that run at the same time.
const RUNNING_MAX: usize = 24;
/// Calls of one connection.
const CALLS_MAX: usize = 200;

/// Decisions, one a byte; all are 0 where there are no more.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }
}

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Which of both ends says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Client,
    Server,
}

/// A call as its ends know it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    stream: u32,
    pub sent: u64,
    pub answered: u64,
    has_sent_all: bool,
    has_answer: bool,
    /// Trailers said it.
    pub grpc_status: Option<u32>,
    pub reset: Option<u32>,
    /// Padding is among its bytes, so their number cannot be known.
    pub is_padded: [bool; 2],
    /// Its response was whole, or it was reset.
    pub is_over: bool,
    /// Its request was whole when it was over.
    pub was_sent: bool,
}

impl Call {
    /// Its path, which no other call has.
    pub fn path(number: usize) -> String {
        format!("/shop.Cart/M{number}")
    }
}

/// Fields beside those that a call must have.
const FIELDS: [(&str, &str); 10] = [
    ("te", "trailers"),
    ("user-agent", "grpc-go/1.60.1"),
    ("grpc-timeout", "10S"),
    ("grpc-trace-bin", "AAAK92UZFs1D3YhEHrgiEDGcAbetaxaSAzMxAgE"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "a=b,c=d"),
    ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"),
    ("x-request-id", "7e1a7dc2-8b5f-4a33-91d2-000000000000"),
    ("authorization", "Bearer hunter2"),
    ("x-\u{1}\u{fc}-bin", "\u{1}\u{7f}hunter2\u{fc}"),
];

/// Both ends of a connection, which say what was chosen.
#[derive(Default)]
pub struct Conversation {
    client: Encoder,
    server: Encoder,
    pub calls: Vec<Call>,
}

impl Conversation {
    /// The next thing that one of them says, which may be nothing.
    pub fn says(&mut self, choices: &mut Choices<'_>) -> (By, Vec<u8>) {
        match choices.below(8) {
            0 | 1 => (By::Client, self.begin(choices)),
            2 => (By::Client, self.send(choices)),
            3 => (By::Server, self.answer(choices)),
            4 => (By::Server, self.message(choices)),
            5 => (By::Server, self.trailers(choices)),
            6 => self.reset(choices),
            _ => noise(choices),
        }
    }

    fn begin(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let running = self.calls.iter().filter(|call| !call.is_over).count();
        if running >= RUNNING_MAX || self.calls.len() >= CALLS_MAX {
            return Vec::new();
        }
        let stream = self.calls.len() as u32 * 2 + 1;
        let path = Call::path(self.calls.len());
        let must = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path.as_str()),
            (":authority", "shop:80"),
            ("content-type", "application/grpc+proto"),
        ];
        let block = block(&mut self.client, &must, choices);
        let is_all = choices.below(8) == 0;
        self.calls.push(Call {
            stream,
            has_sent_all: is_all,
            ..Call::default()
        });
        headers(stream, is_all, &block, choices)
    }

    fn running(&mut self, choices: &mut Choices<'_>, is_wanted: impl Fn(&Call) -> bool) -> Option<&mut Call> {
        let place = choices.byte();
        let mut wanted: Vec<_> = self
            .calls
            .iter_mut()
            .filter(|call| !call.is_over && is_wanted(call))
            .collect();
        let place = usize::from(place).checked_rem(wanted.len())?;
        Some(wanted.swap_remove(place))
    }

    /// A message of the client, with its length before it.
    fn send(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let Some(call) = self.running(choices, |call| !call.has_sent_all) else {
            return Vec::new();
        };
        call.has_sent_all = choices.below(2) == 0;
        let (frame, len) = message(call.stream, call.has_sent_all, choices);
        call.sent += len.unwrap_or_default();
        call.is_padded[0] |= len.is_none();
        frame
    }

    fn answer(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let Some(call) = self.running(choices, |call| !call.has_answer) else {
            return Vec::new();
        };
        call.has_answer = true;
        let stream = call.stream;
        let must = [(":status", "200"), ("content-type", "application/grpc+proto")];
        let block = block(&mut self.server, &must, choices);
        headers(stream, false, &block, choices)
    }

    fn message(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let Some(call) = self.running(choices, |call| call.has_answer) else {
            return Vec::new();
        };
        let (frame, len) = message(call.stream, false, choices);
        call.answered += len.unwrap_or_default();
        call.is_padded[1] |= len.is_none();
        frame
    }

    /// How the call went, behind its messages or instead of them.
    fn trailers(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let Some(call) = self.running(choices, |_| true) else {
            return Vec::new();
        };
        let status = choices.below(17) as u32;
        call.grpc_status = Some(status);
        call.is_over = true;
        call.was_sent = call.has_sent_all;
        let (stream, is_only) = (call.stream, !call.has_answer);
        let status = status.to_string();
        let mut must = vec![("grpc-status", status.as_str()), ("grpc-message", "no hunter2")];
        if is_only {
            must.splice(..0, [(":status", "200"), ("content-type", "application/grpc")]);
        }
        let block = block(&mut self.server, &must, choices);
        headers(stream, true, &block, choices)
    }

    fn reset(&mut self, choices: &mut Choices<'_>) -> (By, Vec<u8>) {
        let by = [By::Client, By::Server][choices.below(2)];
        let code = u32::from(choices.byte()) % 14;
        let Some(call) = self.running(choices, |_| true) else {
            return (by, Vec::new());
        };
        call.reset = Some(code);
        call.is_over = true;
        call.was_sent = call.has_sent_all;
        (by, frame(kind::RST_STREAM, 0, call.stream, &code.to_be_bytes()))
    }
}

/// A block of these fields and some others, said in any way.
fn block(encoder: &mut Encoder, must: &[(&str, &str)], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut said = must.to_vec();
    for _ in 0..choices.below(4) {
        said.push(FIELDS[choices.below(FIELDS.len())]);
    }
    let wishes: Vec<_> = said
        .iter()
        .map(|(name, value)| {
            let [way, coded] = [choices.byte(), choices.byte()];
            Wish {
                name: name.as_bytes().to_vec(),
                value: value.as_bytes().to_vec(),
                way: usize::from(way),
                coded_name: coded & 1 != 0,
                coded_value: coded & 2 != 0,
            }
        })
        .collect();
    let sizes: &[usize] = match choices.below(32) {
        1 => &[0, 300],
        2 => &[200],
        3 => &[4_096],
        _ => &[],
    };
    encoder.block(sizes, &wishes).0
}

/// A block in frames, with padding, priority and in parts, or without.
fn headers(stream: u32, ends_stream: bool, block: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let how = choices.byte();
    let mut flags = if ends_stream { END_STREAM } else { 0 };
    let mut payload = Vec::new();
    let mut padding = 0;
    if how & 1 != 0 {
        flags |= PADDED;
        padding = choices.byte();
        payload.push(padding);
    }
    if how & 2 != 0 {
        flags |= PRIORITY;
        payload.extend([0, 0, 0, 3, 200]);
    }
    let cut = if how & 4 == 0 {
        block.len()
    } else {
        choices.below(block.len() + 1)
    };
    let (first, rest) = block.split_at(cut);
    payload.extend(first);
    payload.extend(vec![b'.'; usize::from(padding)]);
    if how & 4 == 0 {
        return frame(kind::HEADERS, flags | kind::END_HEADERS, stream, &payload);
    }
    let (second, third) = rest.split_at(choices.below(rest.len() + 1));
    [
        frame(kind::HEADERS, flags, stream, &payload),
        frame(kind::CONTINUATION, 0, stream, second),
        frame(kind::CONTINUATION, kind::END_HEADERS, stream, third),
    ]
    .concat()
}

/// A message in one frame, and its bytes unless there is padding among them.
fn message(stream: u32, ends_stream: bool, choices: &mut Choices<'_>) -> (Vec<u8>, Option<u64>) {
    let len = choices.below(64) * choices.below(64);
    let mut payload = vec![0];
    payload.extend((len as u32).to_be_bytes());
    payload.resize(payload.len() + len, b'.');
    let mut flags = if ends_stream { END_STREAM } else { 0 };
    let mut known = Some(payload.len() as u64);
    if choices.below(8) == 7 {
        flags |= PADDED;
        payload.splice(..0, [3]);
        payload.extend([0; 3]);
        known = None;
    }
    (frame(kind::DATA, flags, stream, &payload), known)
}

/// What is of no call.
fn noise(choices: &mut Choices<'_>) -> (By, Vec<u8>) {
    let by = [By::Client, By::Server][choices.below(2)];
    let said = match choices.below(5) {
        0 => frame(kind::PING, choices.byte() & 1, 0, &[7; 8]),
        1 => frame(kind::WINDOW_UPDATE, 0, u32::from(choices.byte()), &[0, 0, 1, 0]),
        2 => frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        3 => SETTINGS.to_vec(),
        // A kind that is not known must be passed over.
        _ => frame(0x20 + choices.byte() % 64, choices.byte(), 0, &[9; 5]),
    };
    (by, said)
}
