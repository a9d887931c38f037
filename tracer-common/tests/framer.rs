//! The framer over whole conversations, cut into calls and buffers in every way.

use proptest::prelude::*;
use tracer_common::{
    Loss,
    framer::{self, HEAD_MAX, HEAD_SEARCH_MAX, Waiting},
    lane::{State, fact},
    record::{DataRecord, data_flags as flag},
    testing::Stream,
};

/// A message as the agent will see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    head: Vec<u8>,
    body: u64,
    ended: bool,
}

fn messages(records: &[(DataRecord, Vec<u8>)]) -> Vec<Message> {
    let mut all = Vec::<Message>::new();
    let mut offset = 0;
    for (record, captured) in records {
        assert_eq!(record.offset, offset, "records cover the stream without holes");
        assert_eq!(record.size as usize, size_of::<DataRecord>() + captured.len());
        assert!(captured.len() as u64 <= record.len);
        offset += record.len;
        if record.flags & flag::HEAD_START != 0 {
            all.push(Message::default());
        }
        if let Some(message) = all.last_mut().filter(|message| !message.ended) {
            if record.flags & flag::HEAD != 0 {
                message.head.extend(captured);
            } else {
                message.body += record.len;
            }
            message.ended = record.flags & flag::MESSAGE_END != 0;
        }
    }
    all
}

/// The exchanges of the head pieces.
fn exchanges(stream: &Stream) -> Vec<u32> {
    let heads = stream
        .records
        .iter()
        .filter(|(record, _)| record.flags & flag::HEAD != 0);
    heads.map(|(record, _)| record.exchange).collect()
}

fn one_call(bytes: &[u8]) -> Stream {
    let mut stream = Stream::new(false);
    stream.call(bytes, &[], &mut Waiting::default());
    stream
}

fn message(head: &str, body: u64) -> Message {
    Message {
        head: head.as_bytes().to_vec(),
        body,
        ended: true,
    }
}

#[test]
fn a_request_without_a_body_is_one_record() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let stream = one_call(head.as_bytes());
    assert_eq!(messages(&stream.records), [message(head, 0)]);
    assert_eq!(stream.records.len(), 1);
}

#[test]
fn body_bytes_are_never_captured() {
    for text in [
        "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nsecret",
        "POST / HTTP/1.1\r\ncontent-LENGTH:\t6 \r\n\r\nsecret",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding:gzip, Chunked\r\n\r\n6;x=secret\r\nsecret\r\n0\r\nsecret: secret\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nsecret",
    ] {
        let stream = one_call(text.as_bytes());
        for (_, captured) in &stream.records {
            assert!(!captured.windows(6).any(|window| window == b"secret"), "{text:?}");
        }
        assert_eq!(messages(&stream.records).len(), 1, "{text:?}");
        assert_eq!(
            messages(&stream.records)[0].ended,
            !text.starts_with("HTTP"),
            "{text:?}"
        );
    }
}

#[test]
fn what_is_not_http_never_leaves() {
    for text in [
        &b"*1\r\n$4\r\nPING\r\n"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x51\0\x03\0\0user",
        b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"hello secret world of text without an end",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ] {
        let stream = one_call(text);
        assert_eq!(stream.lane.state, State::OPAQUE, "{text:?}");
        assert!(
            stream.records.iter().all(|(_, captured)| captured.is_empty()),
            "{text:?}"
        );
        assert!(
            stream
                .records
                .iter()
                .any(|(record, _)| record.flags & flag::OPAQUE != 0),
            "{text:?}"
        );
    }
}

#[test]
fn of_what_begins_as_tls_nothing_is_told() {
    let stream = one_call(b"\x16\x03\x01\x02\x00secret");
    assert_eq!(stream.lane.state, State::OPAQUE);
    assert!(stream.records.is_empty(), "{:?}", stream.records);
}

#[test]
fn the_response_body_depends_on_the_request() {
    let mut waiting = Waiting::default();
    let mut requests = Stream::new(false);
    requests.call(
        b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        &[],
        &mut waiting,
    );
    let mut responses = Stream::new(false);
    let (a, b) = (
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    );
    responses.call(
        format!("{a}HTTP/1.1 100 Continue\r\n\r\n{b}xyz").as_bytes(),
        &[],
        &mut waiting,
    );
    assert_eq!(
        messages(&responses.records),
        [
            message(a, 0),
            message("HTTP/1.1 100 Continue\r\n\r\n", 0),
            message(b, 3)
        ]
    );
    assert_eq!((waiting.pushed, waiting.popped), (2, 2));
}

#[test]
fn an_upgrade_and_a_tunnel_end_the_conversation() {
    for (request, response) in [
        (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ),
        (
            "CONNECT a:443 HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 Connection established\r\n\r\n",
        ),
    ] {
        let mut waiting = Waiting::default();
        Stream::new(false).call(request.as_bytes(), &[], &mut waiting);
        let mut responses = Stream::new(false);
        responses.call(format!("{response}secret").as_bytes(), &[], &mut waiting);
        assert_eq!(responses.lane.state, State::OPAQUE);
        assert_eq!(messages(&responses.records), [message(response, 0)]);
    }
}

#[test]
fn a_head_past_its_bound_is_cut_but_its_framing_is_not() {
    let long = "x".repeat(HEAD_MAX as usize + 700);
    let text =
        format!("POST / HTTP/1.1\r\nA: {long}\r\nContent-Length: 5\r\n\r\nbody!GET / HTTP/1.1\r\n\r\n");
    let stream = one_call(text.as_bytes());
    let messages = messages(&stream.records);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].head, &text.as_bytes()[..HEAD_MAX as usize]);
    assert_eq!((messages[0].body, messages[0].ended), (5, true));
    assert_eq!(messages[1], message("GET / HTTP/1.1\r\n\r\n", 0));
    assert_eq!(stream.lost, [Loss::HeadTruncated]);
}

#[test]
fn an_endless_head_makes_the_connection_opaque() {
    let mut stream = Stream::new(false);
    let mut waiting = Waiting::default();
    stream.call(b"GET / HTTP/1.1\r\n", &[], &mut waiting);
    for _ in 0..HEAD_SEARCH_MAX / 100 + 2 {
        stream.call(&[b'a'; 100], &[], &mut waiting);
    }
    assert_eq!(stream.lane.state, State::OPAQUE);
    assert_eq!(stream.lost, [Loss::HeadTruncated, Loss::HeadEndless]);
}

#[test]
fn an_impossible_chunk_size_loses_the_place_and_nothing_else() {
    let mut stream = Stream::new(false);
    let mut waiting = Waiting::default();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.call(
        format!("{head}ffffffffffffffff\r\nabc").as_bytes(),
        &[],
        &mut waiting,
    );
    assert_eq!(stream.lane.state, State::SEEK);
    let next = "HTTP/1.1 204 No Content\r\n\r\n";
    stream.call(next.as_bytes(), &[], &mut waiting);
    assert_eq!(messages(&stream.records).last(), Some(&message(next, 0)));
}

#[test]
fn unreadable_bytes_count_in_a_body_and_lose_the_place_outside() {
    let mut stream = Stream::new(false);
    let mut waiting = Waiting::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    stream.call(head.as_bytes(), &[], &mut waiting);
    stream.unseen(1000);
    assert_eq!(messages(&stream.records), [message(head, 1000)]);
    assert!(stream.lost.is_empty());
    stream.unseen(10);
    assert_eq!(stream.lost, [Loss::Unseen]);
    stream.call(b"not a start line HTTP/1.1\r\n", &[], &mut waiting);
    stream.call(head.as_bytes(), &[], &mut waiting);
    assert_eq!(messages(&stream.records).len(), 2);
}

#[test]
fn a_long_body_is_reported_before_it_ends() {
    let mut stream = Stream::new(false);
    let mut waiting = Waiting::default();
    stream.call(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        &[],
        &mut waiting,
    );
    stream.call(&[b'a'; 10], &[], &mut waiting);
    assert_eq!(stream.records.len(), 1);
    stream.now += framer::RUN_REPORT_NS + 1;
    stream.call(&[b'a'; 10], &[], &mut waiting);
    assert_eq!(stream.records.len(), 2);
    assert_eq!(stream.records[1].0.len, 20);
}

#[test]
fn more_requests_than_are_remembered_lose_their_methods_but_not_their_count() {
    let mut waiting = Waiting::default();
    let mut requests = Stream::new(false);
    requests.call("HEAD / HTTP/1.1\r\n\r\n".repeat(40).as_bytes(), &[], &mut waiting);
    let mut responses = Stream::new(false);
    responses.call(
        "HTTP/1.1 204 No Content\r\n\r\n".repeat(40).as_bytes(),
        &[],
        &mut waiting,
    );
    assert_eq!((waiting.pushed, waiting.popped), (40, 40));
}

#[test]
fn exchanges_are_numbered_as_long_as_every_byte_is_seen() {
    let mut waiting = Waiting::default();
    let (mut requests, mut responses) = (Stream::new(false), Stream::new(false));
    requests.call(
        b"GET /a HTTP/1.1\r\nA: b\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        &[],
        &mut waiting,
    );
    for piece in ["GET /c", " HTTP/1.1\r\nA:", " b\r\n\r\n"] {
        requests.call(piece.as_bytes(), &[], &mut waiting);
    }
    assert_eq!(exchanges(&requests), [1, 2, 0, 3, 3]);
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    responses.call(format!("{empty}{interim}{empty}").as_bytes(), &[], &mut waiting);
    responses.call(empty.as_bytes(), &[], &mut waiting);
    // One that is framed before its request, by a thread that was faster.
    responses.call(empty.as_bytes(), &[], &mut waiting);
    requests.call(b"GET /d HTTP/1.1\r\n\r\n", &[], &mut waiting);
    assert_eq!(exchanges(&responses), [1, 2, 2, 3, 4]);
    assert_eq!(exchanges(&requests).last(), Some(&4));
    responses.unseen(10);
    responses.call(empty.as_bytes(), &[], &mut waiting);
    responses.call(empty.as_bytes(), &[], &mut waiting);
    assert_eq!(exchanges(&responses)[5..], [0, 0]);
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>, bool),
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..700);
    prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Length),
        (proptest::collection::vec(bytes(), 0..4), any::<bool>())
            .prop_map(|(chunks, trailers)| Body::Chunked(chunks, trailers)),
    ]
}

prop_compose! {
    fn request()(
        method in "(GET|POST|PURGE|M-SEARCH|get|X)",
        target in "/[a-z0-9/?=%]{0,900}",
        headers in proptest::collection::vec(("[A-Za-z-]{1,20}", "[ -~]{0,120}"), 0..12),
        body in body(),
        bare in any::<bool>(),
    ) -> (Vec<u8>, Message) {
        let end = if bare { "\n" } else { "\r\n" };
        let mut head = format!("{method} {target} HTTP/1.1{end}");
        for (name, value) in headers {
            // A prefix keeps a generated name from being one that frames.
            head += &format!("X-{name}: {value}{end}");
        }
        let mut content = Vec::new();
        match body {
            Body::None => {}
            Body::Length(bytes) => {
                head += &format!("Content-Length: {}{end}", bytes.len());
                content = bytes;
            }
            Body::Chunked(chunks, trailers) => {
                head += &format!("Transfer-Encoding: chunked{end}");
                for chunk in chunks {
                    content.extend(format!("{:X};ext=1\r\n", chunk.len()).into_bytes());
                    content.extend(chunk);
                    content.extend(b"\r\n");
                }
                content.extend(if trailers { &b"0\r\nDigest: x\r\n\r\n"[..] } else { b"0\r\n\r\n" });
            }
        }
        head += end;
        let message = message(&head, content.len() as u64);
        (head.into_bytes().into_iter().chain(content).collect(), message)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The messages are the same however the stream is cut into calls and buffers.
    #[test]
    fn cuts_do_not_matter(
        requests in proptest::collection::vec(request(), 1..5),
        calls in proptest::collection::vec(1usize..600, 0..60),
        buffers in proptest::collection::vec(1usize..200, 0..4),
    ) {
        let (bytes, wanted): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let bytes = bytes.concat();
        let mut stream = Stream::new(false);
        let mut waiting = Waiting::default();
        let mut rest = &bytes[..];
        for len in calls.into_iter().chain([usize::MAX]) {
            let (call, after) = rest.split_at(len.min(rest.len()));
            if !call.is_empty() {
                stream.call(call, &buffers, &mut waiting);
            }
            rest = after;
        }
        prop_assert_eq!(messages(&stream.records), wanted);
        prop_assert!(stream.lost.is_empty());
        prop_assert_eq!(stream.lane.state, State::IDLE);
        prop_assert!(!stream.lane.is(fact::RUN));
        prop_assert_eq!(stream.lane.offset, bytes.len() as u64);
    }

    /// One byte at a time is the hardest cut of all.
    #[test]
    fn single_bytes_do_not_matter((bytes, wanted) in request()) {
        let mut stream = Stream::new(false);
        for byte in bytes.chunks(1) {
            stream.call(byte, &[], &mut Waiting::default());
        }
        prop_assert_eq!(messages(&stream.records), [wanted]);
    }

    /// Whatever comes, every byte is covered once, in order, and nothing panics.
    #[test]
    fn hostile_bytes_are_covered_or_opaque(calls in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(HTTP/1.1 [0-9]{3}|GET / HTTP/1.1|Content-Length: [0-9]{1,22}|Transfer-Encoding: chunked|[0-9a-f]{1,20})?(\r\n){0,2}"
                .prop_map(String::into_bytes),
        ],
        1..20,
    )) {
        let mut stream = Stream::new(false);
        let mut waiting = Waiting::default();
        for call in &calls {
            stream.call(call, &[], &mut waiting);
        }
        let covered: u64 = stream.records.iter().map(|(record, _)| record.len).sum();
        messages(&stream.records);
        let held = if stream.lane.is(fact::RUN) { stream.lane.offset - stream.lane.run_offset } else { 0 };
        // What begins as TLS is not spoken of: something may tell what is in it.
        let first = calls.iter().find(|call| !call.is_empty());
        let is_tls = first.is_some_and(|call| call.starts_with(&[0x16, 3])) && stream.lane.state == State::OPAQUE;
        prop_assert_eq!(covered + held, if is_tls { 0 } else { stream.lane.offset });
    }
}
