//! What becomes of streams.

use tracer_common::record::frame;

use crate::protocols::Grpc;

use super::wire::{END_STREAM, Talk, data, fields, frame as any_frame, headers, reset};

const SECOND: u64 = 1_000_000_000;

fn call(stream: u32, method: &str) -> Vec<u8> {
    let block = fields(&format!(
        "POST /chain.Echo/{method}|content-type: application/grpc+proto"
    ));
    [headers(stream, 0, &block), data(stream, END_STREAM, 12)].concat()
}

#[test]
fn streams_are_answered_in_any_order() {
    let outcome = Talk::client()
        .request(headers(1, END_STREAM, &fields("GET /slow")))
        .request(headers(3, END_STREAM, &fields("GET /fast")))
        .response(headers(3, END_STREAM, &fields("204")))
        .response([headers(1, 0, &fields("200")), data(1, END_STREAM, 5)].concat())
        .outcome();
    assert_eq!(outcome.lines(), ["1 GET /slow 200 0 5", "3 GET /fast 204 0 0"]);
    let ends: Vec<_> = outcome.endings().iter().map(|ending| ending.end).collect();
    assert!(ends[0] < ends[1], "the fast one ends first");
}

#[test]
fn a_stream_is_taken_by_who_says_so_before_or_after_its_request_and_never_when_it_is_over() {
    let outcome = Talk::client()
        .taken(3, 40)
        .request(headers(1, END_STREAM, &fields("GET /first")))
        .request(headers(3, END_STREAM, &fields("GET /second")))
        .taken(1, 41)
        .response(headers(1, END_STREAM, &fields("200")))
        .taken(1, 42)
        .taken(7, 43)
        .request(headers(5, END_STREAM, &fields("GET /third")))
        .outcome();
    assert_eq!(outcome.taken(), [("/second", 40), ("/first", 41)]);
}

#[test]
fn of_streams_that_are_taken_and_never_begin_the_oldest_are_forgotten() {
    let mut talk = Talk::client();
    for stream in 0..300 {
        talk = talk.taken(2 * stream + 1, u64::from(stream) + 1);
    }
    let outcome = talk
        .request(headers(1, END_STREAM, &fields("GET /first")))
        .request(headers(599, END_STREAM, &fields("GET /last")))
        .outcome();
    assert_eq!(outcome.taken(), [("/last", 300)]);
}

#[test]
fn the_status_of_a_call_is_in_its_trailers_or_in_its_only_fields() {
    let outcome = Talk::server()
        .request(call(1, "Unary"))
        .request(call(3, "Missing"))
        .response(headers(1, 0, &fields("200|content-type: application/grpc")))
        .response(data(1, 0, 20))
        .response(headers(3, END_STREAM, &fields("200|grpc-status: 5")))
        .response(headers(1, END_STREAM, &fields("|grpc-status: 0")))
        .outcome();
    assert!(
        outcome
            .begun()
            .iter()
            .all(|begun| begun.request.grpc == Some(Grpc::Native))
    );
    let status = |ending: &crate::protocols::exchange::Ending| ending.response.as_ref()?.grpc_status;
    let statuses: Vec<_> = outcome.endings().into_iter().map(status).collect();
    assert_eq!(statuses, [Some(5), Some(0)]);
}

#[test]
fn the_status_of_a_call_by_grpc_web_is_known_where_it_is_in_the_fields_and_else_nothing_is_missed() {
    let call = |stream, method| {
        let fields = fields(&format!(
            "POST /chain.Echo/{method}|content-type: application/grpc-web-text"
        ));
        [headers(stream, 0, &fields), data(stream, END_STREAM, 12)].concat()
    };
    let outcome = Talk::server()
        .request(call(1, "Unary"))
        .request(call(3, "Missing"))
        .response(headers(3, END_STREAM, &fields("200|grpc-status: 5")))
        .response(headers(
            1,
            0,
            &fields("200|content-type: application/grpc-web-text"),
        ))
        .response(data(1, END_STREAM, 40))
        .outcome();
    assert!(
        outcome
            .begun()
            .iter()
            .all(|begun| begun.request.grpc == Some(Grpc::Web))
    );
    let told = |ending: &crate::protocols::exchange::Ending| {
        (ending.response.as_ref().unwrap().grpc_status, ending.incomplete)
    };
    let told: Vec<_> = outcome.endings().into_iter().map(told).collect();
    assert_eq!(told, [(Some(5), false), (None, false)]);
}

#[test]
fn a_reset_ends_a_stream_and_what_comes_for_it_later_is_nothing() {
    for (talk, is_by_client) in [(Talk::client(), true), (Talk::server(), false)] {
        let talk = talk.request(call(1, "Slow"));
        let talk = match is_by_client {
            true => talk.request(reset(1, 8)),
            false => talk.response(reset(1, 8)),
        };
        let outcome = talk
            .response(headers(1, END_STREAM, &fields("200|grpc-status: 1")))
            .request(headers(3, END_STREAM, &fields("GET /next")))
            .response(headers(3, END_STREAM, &fields("200")))
            .closed();
        assert_eq!(
            outcome.lines(),
            ["1 POST /chain.Echo/Slow - 12 - reset 8", "3 GET /next 200 0 0"]
        );
        assert_eq!(outcome.counters.responses_without_request, 0);
    }
}

#[test]
fn interim_responses_are_not_the_response() {
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &fields("GET /")))
        .response(headers(1, 0, &fields("103")))
        .response(headers(1, END_STREAM, &fields("200")))
        .outcome();
    assert_eq!(outcome.lines(), ["1 GET / 200 0 0"]);
    assert_eq!(outcome.counters.informational_responses, 1);
}

#[test]
fn a_block_goes_on_in_frames_with_padding_and_priority_around_it() {
    let block = fields("GET /long|x-a: b|user-agent: here");
    let (first, rest) = block.split_at(7);
    let (second, third) = rest.split_at(11);
    let mut begun = vec![3, 0, 0, 0, 0, 16];
    begun.extend(first);
    begun.extend([0; 3]);
    let padded_with_priority = 0x28;
    let mut bytes = any_frame(frame::HEADERS, padded_with_priority | END_STREAM, 1, &begun);
    bytes.extend(any_frame(frame::CONTINUATION, 0, 1, second));
    bytes.extend(any_frame(frame::CONTINUATION, frame::END_HEADERS, 1, third));
    let outcome = Talk::server()
        .request(bytes)
        .response(headers(1, END_STREAM, &fields("200")))
        .outcome();
    assert_eq!(outcome.lines(), ["1 GET /long 200 0 0"]);
    assert_eq!(outcome.begun()[0].request.user_agent.as_deref(), Some("here"));
}

#[test]
fn a_block_of_64_kib_is_read_and_one_beyond_all_bounds_is_told() {
    let long = |count: usize| {
        let mut block = fields("GET /long");
        for _ in 0..count {
            block.extend(super::wire::field(false, "cookie", &"c".repeat(120)));
        }
        let mut frames = Vec::new();
        let chunks: Vec<_> = block.chunks(16_384).collect();
        for (place, chunk) in chunks.iter().enumerate() {
            let kind = [frame::HEADERS, frame::CONTINUATION][usize::from(place > 0)];
            let end = if place + 1 == chunks.len() {
                frame::END_HEADERS
            } else {
                0
            };
            frames.extend(any_frame(kind, end | END_STREAM, 1, chunk));
        }
        Talk::server()
            .request(frames)
            .response(headers(1, END_STREAM, &fields("200")))
            .request(headers(3, END_STREAM, &fields("GET /next")))
            .response(headers(3, END_STREAM, &fields("200")))
            .outcome()
    };
    assert_eq!(long(500).lines(), ["1 GET /long 200 0 0", "3 GET /next 200 0 0"]);
    let beyond = long(1200);
    assert_eq!(beyond.lines(), ["1 GET /next 200 0 0"]);
    assert_eq!(beyond.counters.requests_unparsable, 1);
}

#[test]
fn what_a_server_pushes_is_no_exchange() {
    let mut promise = 2_u32.to_be_bytes().to_vec();
    promise.extend(fields("GET /style.css"));
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &fields("GET /")))
        .response(any_frame(frame::PUSH_PROMISE, frame::END_HEADERS, 1, &promise))
        .response(headers(2, END_STREAM, &fields("200")))
        .response(headers(1, END_STREAM, &fields("200")))
        .closed();
    assert_eq!(outcome.lines(), ["1 GET / 200 0 0"]);
    assert_eq!(outcome.counters.responses_without_request, 0);
}

#[test]
fn a_request_that_asks_for_http_2_is_the_first_stream() {
    let outcome = Talk::upgraded("GET /first HTTP/1.1|Upgrade: h2c|HTTP2-Settings: AAMAAABk")
        .response([headers(1, 0, &fields("200")), data(1, END_STREAM, 5)].concat())
        .request(headers(3, END_STREAM, &fields("GET /second")))
        .response(headers(3, END_STREAM, &fields("404")))
        .closed();
    assert_eq!(outcome.lines(), ["1 GET /first 200 0 5", "3 GET /second 404 0 0"]);
    assert_eq!(outcome.counters.exchanges_incomplete, 0);
}

#[test]
fn a_response_may_be_told_before_its_request() {
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &fields("GET /")))
        .response(headers(1, END_STREAM, &fields("200")))
        .swapped()
        .outcome();
    assert_eq!(outcome.lines(), ["1 GET / 200 0 0"]);
}

#[test]
fn each_stream_waits_for_itself() {
    let talk = || {
        Talk::server()
            .request(headers(1, END_STREAM, &fields("GET /never")))
            .wait(40 * SECOND)
            .request(headers(3, END_STREAM, &fields("GET /later")))
    };
    assert!(talk().later(19 * SECOND).lines().is_empty());
    assert_eq!(
        talk().later(21 * SECOND).lines(),
        ["1 GET /never - 0 - unanswered"]
    );
    assert_eq!(talk().later(61 * SECOND).lines().len(), 2);
}

#[test]
fn a_response_that_began_is_waited_for_as_long_as_it_takes() {
    let outcome = Talk::server()
        .request(call(1, "Watch"))
        .response(headers(1, 0, &fields("200")))
        .later(600 * SECOND);
    assert!(outcome.lines().is_empty());
}

#[test]
fn a_close_ends_what_is_running() {
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &fields("GET /")))
        .request(call(3, "Watch"))
        .response(headers(3, 0, &fields("200")))
        .closed();
    assert_eq!(
        outcome.lines(),
        ["1 GET / - 0 - closed", "3 POST /chain.Echo/Watch 200 12 - closed"]
    );
}
