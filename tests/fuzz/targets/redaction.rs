//! The masking of recordings: any records, and conversations in HTTP/1 and HTTP/2, right and wrong. What is masked is as long as it was and is
//! a record or none as it was, nothing more becomes of it when it is masked again, and where no string is cut in two a replay
//! gives the same spans but for what is masked; of a conversation that is right no secret is left.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use fuzz::http2::{By, Choices, Conversation, begun};
use fuzz::{Calls, Connection, Records, data, open};
use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::record::{Data, Record};
use tracer_agent::capture::recording::{Content, Reader, Recording};
use tracer_agent::capture::{HostInfo, Input};
use tracer_agent::ids::BootNanos;
use tracer_agent::pipeline::{Pipeline, Settings};
use tracer_agent::privacy::Privacy;
use tracer_agent::testing::hpack::huffman;

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let (is_server, is_cut) = (first & 4 != 0, first & 32 != 0);
    let calls = Calls(input).map(to_vec);
    let begun = begun(is_server).into_iter().map(to_vec);
    let records = match first & 3 {
        0 => Records(input).collect(),
        1 => told(is_server, calls),
        2 => told(is_server, begun.chain(calls)),
        _ => told(is_server, begun.chain(said(is_server, is_cut, input))),
    };
    let privacy = match first >> 3 & 3 {
        0 | 1 => Privacy::Default,
        2 => Privacy::Strict,
        _ => Privacy::Open,
    };
    let masked = replayed(&recorded(&records, Content::Redacted(privacy)));
    assert_eq!(masked.len(), records.len());
    for (masked, record) in masked.iter().zip(&records) {
        alike(masked, record);
    }
    let again = replayed(&recorded(&masked, Content::Redacted(privacy)));
    assert_eq!(again, masked, "it is masked once more");
    // Of a string in HTTP/2 that two records share less is kept.
    if first & 3 == 1 || first & 3 == 3 && !is_cut {
        // Without its path a call by gRPC is not told as one.
        let plain: &[&str] = if privacy == Privacy::Strict {
            &[INCOMPLETE]
        } else {
            &PLAIN
        };
        assert_eq!(spans(&masked, plain), spans(&records, plain));
    }
    if first & 3 == 3 {
        masked.iter().for_each(|record| holds_no_secret(record));
    }
});

fn to_vec((sent, bytes): (bool, &[u8])) -> (bool, Vec<u8>) {
    (sent, bytes.to_vec())
}

/// A conversation that is right, each thing said in a call, or where it is cut in two.
fn said(is_server: bool, is_cut: bool, input: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut choices = Choices::new(input);
    let mut conversation = Conversation::default();
    let mut said = Vec::new();
    while !choices.is_over() {
        let (by, bytes) = conversation.says(&mut choices);
        let sent = (by == By::Client) != is_server;
        let cut = if is_cut { choices.below(bytes.len() + 1) } else { 0 };
        let (first, rest) = bytes.split_at(cut);
        said.extend([(sent, first.to_vec()), (sent, rest.to_vec())]);
    }
    said
}

/// What is told of a connection.
fn told(is_server: bool, calls: impl Iterator<Item = (bool, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut records = vec![open(is_server)];
    let mut connection = Connection::new();
    for (sent, bytes) in calls {
        connection.call(sent, &bytes, &mut |record, captured| {
            records.push(data(record, captured));
        });
    }
    records
}

fn recorded(records: &[Vec<u8>], content: Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut recording = Recording::start(&mut bytes, Path::new("fuzzed"), content).expect("room");
    for record in records {
        recording.write(&Input::Record(record)).expect("room");
    }
    recording
        .write(&Input::End(BootNanos(u64::MAX / 2)))
        .expect("room");
    recording.finish().expect("room");
    drop(recording);
    bytes
}

fn replayed(recording: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::start(Cursor::new(recording), Path::new("fuzzed")).expect("a recording");
    let mut records = Vec::new();
    while let Some(input) = reader.next_input().expect("what was written") {
        if let Input::Record(record) = input {
            records.push(record.to_vec());
        }
    }
    records
}

/// Whether a record is as it was but for what it holds of a stream.
fn alike(masked: &[u8], record: &[u8]) {
    assert_eq!(masked.len(), record.len());
    match (Record::decode(masked), Record::decode(record)) {
        (Ok(Record::Data(masked)), Ok(Record::Data(record))) => {
            assert_eq!(masked.captured.len(), record.captured.len());
            let without = |data: &Data<'_>| {
                format!(
                    "{:?}",
                    Data {
                        captured: &[],
                        ..*data
                    }
                )
            };
            assert_eq!(without(&masked), without(&record));
        }
        (Ok(masked), Ok(record)) => assert_eq!(format!("{masked:?}"), format!("{record:?}")),
        (masked, record) => assert_eq!(masked.is_ok(), record.is_ok()),
    }
}

const INCOMPLETE: &str = "tracer.incomplete";

/// Attributes that no mask changes.
const PLAIN: [&str; 8] = [
    "http.request.method",
    "http.response.status_code",
    "http.request.body.size",
    "http.response.body.size",
    "rpc.system.name",
    "rpc.response.status_code",
    "error.type",
    INCOMPLETE,
];

/// What comes of records, but for what may be masked.
fn spans(records: &[Vec<u8>], plain: &[&str]) -> Vec<String> {
    let mut pipeline = Pipeline::new(Settings::default());
    let mut spans = Vec::new();
    pipeline.push(&Input::Host(HostInfo::default()), &mut spans);
    for record in records {
        pipeline.push(&Input::Record(record), &mut spans);
    }
    pipeline.push(&Input::End(BootNanos(u64::MAX / 2)), &mut spans);
    let shown = |span: &tracer_agent::spans::Span| {
        let attributes = span.attributes.iter().filter(|(key, _)| plain.contains(key));
        let attributes: Vec<_> = attributes.map(|attribute| format!("{attribute:?}")).collect();
        let times = [span.start_unix_ns, span.end_unix_ns];
        format!("{} {:?} {times:?} {attributes:?}", span.trace, span.kind)
    };
    spans.iter().map(shown).collect()
}

/// A part of the secret is in no byte and in no code, wherever that begins. It is one that nothing else ends up as: a name that is cut in two goes
/// on behind a frame's head, whose last byte is that of an odd number, which no `n` is.
fn holds_no_secret(record: &[u8]) {
    const PART: &[u8] = b"nter";
    const BITS: u32 = 22;
    assert!(
        !record.windows(PART.len()).any(|window| window == PART),
        "{record:?}"
    );
    let of = |bytes: &[u8]| {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1));
        bits.map(u32::from).collect::<Vec<_>>()
    };
    let push = |window: u32, bit: &u32| (window << 1 | bit) & ((1 << BITS) - 1);
    let code = of(&huffman(PART)).iter().take(BITS as usize).fold(0, push);
    let mut window = 0;
    for (place, bit) in of(record).iter().enumerate() {
        window = push(window, bit);
        assert!(place + 1 < BITS as usize || window != code, "{record:?}");
    }
}
