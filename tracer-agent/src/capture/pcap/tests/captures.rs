//! Whole files: what is passed over, what is missing, where they stop.

use super::{
    Capture, CaptureCounters, CaptureError, Input, one_exchange, served, spans, spans_of, whole,
    wire::{self, Conversation, START, STEP, Sent},
};
use std::path::Path;

/// A file of whatever frames; their times go on.
fn file(frames: Vec<Vec<u8>>) -> Vec<u8> {
    wire::pcap(
        frames
            .into_iter()
            .zip(0..)
            .map(|(frame, place)| (START + place * STEP, frame)),
    )
}

fn frames(segments: &[Sent]) -> Vec<Vec<u8>> {
    segments.iter().map(Sent::packet).collect()
}

#[test]
fn what_is_passed_over_is_counted_by_its_cause() {
    let udp = wire::ipv4([[10, 0, 0, 1], [10, 0, 0, 2]], 17, 0, &[0, 53, 0, 53, 0, 8, 0, 0]);
    let tcp = one_exchange().segments[3].tcp();
    let fragment = wire::ipv4([[10, 0, 0, 1], [10, 0, 0, 2]], 6, 0x2000, &tcp);
    let frames = vec![
        wire::ethernet(0x0806, &[0; 28]),
        wire::ethernet(0x88cc, &[0; 28]),
        wire::ethernet(0x0800, &udp),
        wire::ethernet(0x0800, &fragment),
        wire::ethernet(0x0800, &wire::ipv4([[10, 0, 0, 1]; 2], 6, 0, &tcp[..12])),
        vec![0; 9],
    ];
    let (spans, counters) = spans_of(&file(frames));
    assert!(spans.is_empty());
    let expected = CaptureCounters {
        packets: 6,
        not_ip: 2,
        not_tcp: 1,
        fragments: 1,
        bad_headers: 2,
        ..CaptureCounters::default()
    };
    assert_eq!(counters, expected);
}

#[test]
fn a_file_that_stops_anywhere_gives_what_was_whole() {
    let all = file(frames(&one_exchange().finished().segments));
    for len in 24..all.len() {
        let mut capture = Capture::start(&all[..len], Path::new("cut.pcap")).unwrap();
        let mut ends = 0;
        while let Some(input) = capture.next_input().unwrap() {
            ends += u32::from(matches!(input, Input::End(_)));
        }
        assert_eq!(ends, 1);
        let packets = capture.counters().packets;
        let whole: usize = one_exchange().finished().segments[..usize::try_from(packets).unwrap()]
            .iter()
            .map(|sent| 16 + sent.packet().len())
            .sum();
        let stops_within = 24 + whole < len;
        assert_eq!(
            capture.cut_off(),
            stops_within.then(|| u64::try_from(len).unwrap())
        );
        assert_eq!(capture.counters().cut_off, u64::from(stops_within));
    }
}

#[test]
fn what_was_read_before_a_corrupt_place_is_given_and_the_place_is_named() {
    let mut all = file(frames(&one_exchange().segments));
    let place = all.len();
    all.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]);
    let mut capture = Capture::start(all.as_slice(), Path::new("x.pcap")).unwrap();
    let mut error = None;
    let mut records = 0;
    loop {
        match capture.next_input() {
            Ok(Some(input)) => records += u32::from(matches!(input, Input::Record(_))),
            Ok(None) => break,
            Err(met) => error = Some(met),
        }
    }
    assert!(records > 4);
    let error = error.unwrap();
    assert!(
        matches!(&error, CaptureError::Corrupt { offset, .. } if *offset == u64::try_from(place).unwrap())
    );
    assert_eq!(
        error.to_string(),
        format!(
            "capture x.pcap is corrupt at byte {place}: a packet is longer than any can be; everything before was read"
        )
    );
}

#[test]
fn packets_that_were_cut_short_are_bytes_that_were_not_seen() {
    let long = format!("GET /a HTTP/1.1\r\nhost: b\r\nx: {}\r\n\r\n", "y".repeat(200));
    let body = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n".as_slice(),
        &[b'x'; 500],
    ]
    .concat();
    let conversation = Conversation::begun().request(long.as_bytes()).response(&body);
    let cut = conversation.segments.iter().map(|sent| {
        let mut packet = sent.packet();
        packet.truncate(110);
        packet
    });
    let (spans, counters) = spans_of(&file(cut.collect()));
    // Of the request a header is missing; of the response nothing but its body.
    assert_eq!(served(&spans), [("GET".into(), "/a".into(), Some(200), true)]);
    assert_eq!(counters.cut_segments, 2);
    assert!(counters.missing_bytes > 600);
    assert_eq!(counters.holes, 0);
}

#[test]
fn a_body_in_which_bytes_are_missing_is_as_long_as_it_was() {
    let mut conversation = Conversation::begun()
        .request(b"GET /a HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n");
    for _ in 0..3 {
        conversation = conversation.response(&[b'x'; 300]);
    }
    let mut segments = conversation
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 204 \r\n\r\n")
        .segments;
    segments.remove(6);
    let (spans, counters) = spans(&segments);
    assert_eq!(served(&spans), [whole("GET", "/a", 200), whole("GET", "/b", 204)]);
    assert_eq!((counters.holes, counters.missing_bytes), (1, 300));
}

#[test]
fn a_response_that_is_missing_is_not_replaced_by_the_next() {
    let mut segments = one_exchange()
        .request(b"GET /b HTTP/1.1\r\n\r\n")
        .response(b"HTTP/1.1 201 OK\r\ncontent-length: 0\r\n\r\n")
        .segments;
    segments.remove(4);
    let (spans, _) = spans(&segments);
    assert_eq!(
        served(&spans),
        [("GET".into(), "/a".into(), None, true), whole("GET", "/b", 201)]
    );
}

#[test]
fn what_comes_too_early_is_bounded_and_counted() {
    let mut conversation = Conversation::begun().request(b"GET /a HTTP/1.1\r\n\r\n");
    conversation = conversation.response(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n");
    for _ in 0..100 {
        conversation = conversation.response(&[b'x'; 30_000]);
    }
    let mut segments = conversation.segments;
    segments.remove(5);
    segments
        .iter_mut()
        .enumerate()
        .for_each(|(place, sent)| sent.at = START + u64::try_from(place).unwrap());
    let (spans, counters) = spans(&segments);
    assert_eq!(served(&spans), [whole("GET", "/a", 200)]);
    assert_eq!((counters.holes, counters.early_over_bound), (1, 1));
}

#[test]
fn the_first_copy_of_a_byte_counts() {
    let mut segments = Conversation::begun()
        .request(b"GET /a HTTP/1.1\r\n")
        .request(b"host: x\r\n\r\n")
        .segments;
    let mut other = segments[3].clone();
    other.payload = b"GET /z HTTP/1.1\r\n".to_vec();
    // Once after the first copy was passed, once while both wait.
    segments.insert(4, other.clone());
    assert_eq!(served(&spans(&segments).0)[0].1, "/a");
    let [tail, late] = [8, 3].map(|from| Sent {
        seq: segments[3].seq + from,
        payload: segments[3].payload[usize::try_from(from).unwrap()..].to_vec(),
        ..segments[3].clone()
    });
    let mut early = segments[..3].to_vec();
    early.extend([
        tail,
        Sent {
            payload: b"xxxxxxxxxxxxxx".to_vec(),
            ..late
        },
    ]);
    early.push(Sent {
        payload: b"GET /".to_vec(),
        ..segments[3].clone()
    });
    early.push(segments[5].clone());
    // "GET" is of the last, " /" and what follows of the piece that came before it: what waits longest stands.
    let (waited, counters) = spans(&early);
    assert!(waited.is_empty() || served(&waited)[0].1 != "/z", "{counters:?}");
}
