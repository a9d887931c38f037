//! Conversations in HTTP/2, made of random numbers, with a secret wherever one can be.

use tracer_common::record::frame as kind;

use crate::protocols::http2::{
    hpack::tests::encoder::{Encoder, Wish},
    tests::wire::{END_STREAM, Talk, data as body, frame, reset},
};

/// What must not be in a recording.
pub const SECRET: &str = "hunter2";

/// Each field that may be said: its name, its value, and whether it is in requests, responses and trailers.
const FIELDS: &[(&str, &str, [bool; 3])] = &[
    (
        ":path",
        "/cart/7?user=hunter2&hunter2&t=hunter2#hunter2",
        [true, false, false],
    ),
    (":path", "/shop.Cart/Add", [true, false, false]),
    (
        ":path",
        "http://hunter2:hunter2@shop/a?hunter2",
        [true, false, false],
    ),
    (":method", "POST", [true, false, false]),
    (":method", "GET", [true, false, false]),
    (":scheme", "https", [true, false, false]),
    (":authority", "shop.example:8080", [true, false, false]),
    (":authority", "me:hunter2@shop:80", [true, false, false]),
    (":status", "200", [false, true, false]),
    (":status", "418", [false, true, false]),
    ("user-agent", "grpc-go/1.60.1", [true, false, false]),
    ("content-type", "application/grpc+proto", [true, true, false]),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        [true, false, false],
    ),
    (
        "x-request-id",
        "7e1a7dc2-8b5f-4a33-91d2-000000000000",
        [true, false, false],
    ),
    ("te", "trailers", [true, false, false]),
    ("authorization", "Bearer hunter2", [true, true, true]),
    ("cookie", "sid=hunter2; hunter2", [true, true, false]),
    ("referer", "http://shop/?q=hunter2", [true, false, false]),
    ("x-own-bin", "AAhunter2", [true, true, true]),
    ("hunter2", "hunter2", [true, true, true]),
    ("x-\u{1}\u{fc}", "\u{1}\u{7f}hunter2\u{fc}", [true, true, true]),
    ("hostile", "hunter2", [true, true, true]),
    ("grpc-message", "no hunter2", [false, true, true]),
    ("grpc-status", "7", [false, false, true]),
    ("set-cookie", "sid=hunter2", [false, true, false]),
];

/// Makes blocks out of random numbers.
struct Speaker {
    encoder: Encoder,
    numbers: Box<dyn Iterator<Item = u16>>,
}

impl Speaker {
    fn new(numbers: Vec<u16>) -> Self {
        Self {
            encoder: Encoder::new(),
            numbers: Box::new(numbers.into_iter().cycle()),
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        usize::from(self.numbers.next().unwrap()) % below
    }

    /// A block for one of `FIELDS`' places, with these fields in it whatever else is.
    fn block(&mut self, place: usize, always: &[(&str, &str)]) -> Vec<u8> {
        let some: Vec<_> = FIELDS.iter().filter(|(_, _, places)| places[place]).collect();
        let mut said = always.to_vec();
        for _ in 0..self.pick(8) {
            let (name, value, _) = some[self.pick(some.len())];
            said.push((name, value));
        }
        let wishes: Vec<_> = said
            .iter()
            .map(|(name, value)| {
                let coded = self.pick(4);
                Wish {
                    name: name.as_bytes().to_vec(),
                    value: value.as_bytes().to_vec(),
                    way: self.pick(1 << 16),
                    coded_name: coded & 1 == 0,
                    coded_value: coded & 2 == 0,
                }
            })
            .collect();
        let sizes: &[usize] = match self.pick(12) {
            0 => &[0, 300],
            1 => &[200],
            2 => &[4_096],
            _ => &[],
        };
        self.encoder.block(sizes, &wishes).0
    }

    /// A block in frames, with padding, priority and in parts, or without.
    fn frames(&mut self, of: u8, flags: u8, stream: u32, before: &[u8], block: &[u8]) -> Vec<u8> {
        let (mut flags, mut payload, mut padding) = (flags, Vec::new(), 0);
        if self.pick(3) == 0 {
            flags |= 0x8;
            padding = self.pick(9);
            payload.push(u8::try_from(padding).unwrap());
        }
        payload.extend(before);
        if of == kind::HEADERS && self.pick(3) == 0 {
            flags |= 0x20;
            payload.extend([0, 0, 0, 3, 200]);
        }
        let cut = match self.pick(3) {
            0 => self.pick(block.len() + 1),
            _ => block.len(),
        };
        let (first, rest) = block.split_at(cut);
        payload.extend(first);
        payload.extend(SECRET.bytes().cycle().take(padding));
        if rest.is_empty() {
            return frame(of, flags | kind::END_HEADERS, stream, &payload);
        }
        let mut frames = frame(of, flags, stream, &payload);
        let (second, third) = rest.split_at(self.pick(rest.len()));
        frames.extend(frame(kind::CONTINUATION, 0, stream, second));
        frames.extend(frame(kind::CONTINUATION, kind::END_HEADERS, stream, third));
        frames
    }
}

/// What both ends say, as whole writes in order; the client's are marked.
pub fn said(numbers: &[u16]) -> Vec<(bool, Vec<u8>)> {
    let mut client = Speaker::new(numbers.to_vec());
    let mut server = Speaker::new(numbers.iter().rev().copied().collect());
    let mut said = Vec::new();
    for stream in (0..u32::try_from(numbers.len()).unwrap() / 6).map(|place| place * 2 + 1) {
        let block = client.block(0, &[(":method", "POST"), (":path", "/a/b?k=hunter2")]);
        said.push((true, client.frames(kind::HEADERS, 0, stream, &[], &block)));
        said.push((true, body(stream, END_STREAM, 20)));
        if server.pick(5) == 0 {
            let block = server.block(0, &[(":path", "/style?v=hunter2")]);
            let promised = (stream + 1).to_be_bytes();
            said.push((
                false,
                server.frames(kind::PUSH_PROMISE, 0, stream, &promised, &block),
            ));
        }
        if server.pick(6) == 0 {
            said.push((false, reset(stream, 8)));
            continue;
        }
        let block = server.block(1, &[(":status", "200")]);
        said.push((false, server.frames(kind::HEADERS, 0, stream, &[], &block)));
        said.push((false, body(stream, 0, 30)));
        let block = server.block(2, &[("grpc-status", "5"), ("grpc-message", "hunter2")]);
        said.push((
            false,
            server.frames(kind::HEADERS, END_STREAM, stream, &[], &block),
        ));
    }
    said
}

pub fn talk(said: &[(bool, Vec<u8>)], cuts: &[usize]) -> Talk {
    said.iter()
        .fold(Talk::server().cut(cuts), |talk, (by_client, bytes)| {
            if *by_client {
                talk.request(bytes.clone())
            } else {
                talk.response(bytes.clone())
            }
        })
}
