//! Looking for what is left of a secret.

use tracer_common::record::frame as kind;

use crate::{
    capture::record::{Direction, Record},
    protocols::http2::hpack::{Decoder, tests::encoder::huffman},
};

/// All that the fields of both directions say.
fn all_fields(records: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for direction in [Direction::Received, Direction::Sent] {
        let mut bytes = Vec::new();
        for record in records {
            if let Ok(Record::Data(data)) = Record::decode(record)
                && data.direction == direction
            {
                bytes.extend_from_slice(data.captured);
            }
        }
        let mut decoder = Decoder::new(true);
        let (mut rest, mut block) = (bytes.as_slice(), Vec::new());
        while let [_, b, c, of, flags, reserved, _, _, _, after @ ..] = rest {
            rest = after;
            if reserved & kind::KEPT == 0 {
                continue;
            }
            let len = usize::from(*b) << 8 | usize::from(*c);
            let (payload, after) = rest.split_at(len);
            rest = after;
            if *of == kind::RST_STREAM {
                continue;
            }
            let is_padded = *of != kind::CONTINUATION && flags & 0x8 != 0;
            let padding = if is_padded { usize::from(payload[0]) } else { 0 };
            let before = usize::from(is_padded)
                + if flags & 0x20 != 0 { 5 } else { 0 }
                + if *of == kind::PUSH_PROMISE { 4 } else { 0 };
            block.extend_from_slice(&payload[before..len - padding]);
            if flags & kind::END_HEADERS != 0 {
                let read = decoder.block(&block, |field| {
                    all.extend_from_slice(field.name.unwrap_or_default());
                    all.push(b'\n');
                    all.extend_from_slice(field.value.unwrap_or_default());
                    all.push(b'\n');
                });
                assert_eq!(read, Ok(()));
                block.clear();
            }
        }
    }
    all
}

fn bits(bytes: &[u8]) -> Vec<bool> {
    let of = |byte: &u8| {
        (0..8)
            .rev()
            .map(move |place| byte >> place & 1 == 1)
            .collect::<Vec<_>>()
    };
    bytes.iter().flat_map(of).collect()
}

pub fn holds<T: PartialEq>(all: &[T], part: &[T]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// A part of the secret is in no byte and no code, wherever that begins.
pub fn assert_nothing_leaks(records: &[Vec<u8>]) {
    let fields = all_fields(records);
    for part in ["hunt", "unte", "nter", "ter2"] {
        assert!(!holds(&fields, part.as_bytes()), "{}", fields.escape_ascii());
        let mut code = bits(&huffman(part.as_bytes()));
        code.truncate(22);
        for record in records {
            assert!(!holds(record, part.as_bytes()), "{}", record.escape_ascii());
            assert!(!holds(&bits(record), &code), "{part}: {}", record.escape_ascii());
        }
    }
}
