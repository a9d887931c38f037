//! Exchanges that go wrong, and connections that are not what they seem.

use tracer_common::record::{data_flags, open_flags};

use super::{Outcome, Stages, run, settings};
use crate::{
    protocols::{
        Settings,
        exchange::{Failure, OtherEnd},
    },
    testing::{
        End,
        Way::{Received, Sent},
    },
};

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_connection_closed_before_the_response_fails_the_exchange_at_the_close() {
    let end = End::connected(3).send("GET /a HTTP/1.1", 0);
    let closed_at = end.now();
    let outcome = run(&end.close());
    assert_eq!(outcome.lines(), ["/a - 0 - closed"]);
    assert_eq!(outcome.ended()[0].1.end.0, closed_at);
}

#[test]
fn the_errno_of_the_close_says_how_the_exchange_failed() {
    for (errno, failure) in [
        (104, Failure::Reset),
        (32, Failure::Reset),
        (110, Failure::Errno(110)),
        (0, Failure::Closed),
    ] {
        let mut stages = Stages::new(settings());
        stages.feed(
            &End::connected(3)
                .send("GET /a HTTP/1.1", 0)
                .close_with(errno, false),
        );
        let outcome = stages.finish();
        assert_eq!(outcome.ended()[0].1.failure, Some(failure), "errno {errno}");
    }
}

#[test]
fn a_response_that_is_cut_is_there_and_failed() {
    for head in [
        "HTTP/1.1 200 OK|Content-Length: 100",
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked",
    ] {
        let end = End::connected(3)
            .send("GET /a HTTP/1.1", 0)
            .begin(Received, head)
            .body(Received, 10)
            .close();
        assert_eq!(run(&end).lines(), ["/a 200 0 - closed"], "{head}");
    }
}

#[test]
fn a_response_whose_head_is_cut_has_the_status_that_was_sent() {
    let part = |text: &[u8]| {
        End::connected(3)
            .send("GET /a HTTP/1.1", 0)
            .data(
                Received,
                text,
                text.len() as u64,
                data_flags::HEAD | data_flags::HEAD_START,
            )
            .close()
    };
    assert_eq!(
        run(&part(b"HTTP/1.1 502 Bad\r\nServ")).lines(),
        ["/a 502 0 - closed incomplete"]
    );
    assert_eq!(run(&part(b"HTTP/1.1 50")).lines(), ["/a - 0 - closed"]);
}

#[test]
fn a_response_without_length_is_whole_after_an_orderly_close() {
    let end = End::connected(3)
        .send("GET /a HTTP/1.0", 0)
        .begin(Received, "HTTP/1.0 200 OK")
        .body(Received, 50);
    let last_byte = end.now() - crate::testing::STEP_NS;
    let end = end.wait(SECOND);
    let outcome = run(&end.clone().close());
    assert_eq!(outcome.lines(), ["/a 200 0 50"]);
    assert_eq!(outcome.ended()[0].1.end.0, last_byte);
    let mut stages = Stages::new(settings());
    stages.feed(&end.close_with(104, false));
    assert_eq!(stages.finish().lines(), ["/a 200 0 - reset"]);
}

#[test]
fn bytes_told_of_after_an_error_are_still_taken() {
    let end = End::connected(3).send("GET /a HTTP/1.1", 0);
    let whole = end
        .clone()
        .receive("HTTP/1.1 200 OK|Content-Length: 2", 2)
        .close_with(104, false);
    let mut records: Vec<_> = whole.records().collect();
    let close = records.pop().unwrap();
    records.insert(2, close);
    let mut stages = Stages::new(settings());
    for record in &records {
        stages
            .protocols
            .push(stages.connections.apply(record), &mut stages.events);
    }
    assert_eq!(stages.so_far().lines(), ["/a 200 0 2"]);
}

#[test]
fn an_upload_cut_by_a_reset_fails() {
    let end = End::accepted(2)
        .begin(Received, "POST /a HTTP/1.1|Content-Length: 100")
        .body(Received, 10)
        .close_with(104, false);
    let mut stages = Stages::new(settings());
    stages.feed(&end);
    assert_eq!(stages.finish().lines(), ["/a - - - reset"]);
}

#[test]
fn a_connect_that_fails_is_told_with_its_errno() {
    let end = End::connected(3).close_with(111, true);
    let outcome = run(&end);
    let failures = outcome.connect_failures();
    assert_eq!(failures[0].errno, 111);
    assert_eq!(failures[0].task.tid, 101);
    assert_eq!(failures[0].peer, ([10, 9, 9, 9], 80).into());
    assert!(failures[0].start < failures[0].end);
}

#[test]
fn a_request_that_is_never_answered_is_given_up_after_the_bound() {
    let end = End::connected(3).send("GET /a HTTP/1.1", 0);
    let last_byte = end.now() - crate::testing::STEP_NS;
    let mut stages = Stages::new(settings());
    stages.feed(&end);
    assert_eq!(
        stages.protocols.next_deadline().unwrap().0,
        last_byte + 60 * SECOND
    );
    stages.tick(last_byte + 60 * SECOND - 1);
    assert!(stages.events.len() == 1);
    stages.tick(last_byte + 60 * SECOND);
    let outcome = stages.so_far();
    assert_eq!(outcome.lines(), ["/a - 0 - unanswered"]);
    assert_eq!(outcome.ended()[0].1.end.0, last_byte + 60 * SECOND);
}

#[test]
fn a_byte_in_time_puts_the_bound_off() {
    let end = End::connected(3)
        .begin(Sent, "POST /a HTTP/1.1|Content-Length: 20")
        .wait(50 * SECOND)
        .body(Sent, 10);
    let mut stages = Stages::new(settings());
    stages.feed(&end);
    stages.tick(100 * SECOND);
    assert_eq!(stages.events.len(), 1);
    assert!(stages.protocols.next_deadline().unwrap().0 > 100 * SECOND);
}

#[test]
fn a_late_response_is_counted_and_the_next_exchange_is_right() {
    let end = End::connected(3).send("GET /a HTTP/1.1", 0);
    let mut stages = Stages::new(settings());
    stages.feed(&end);
    stages.tick(100 * SECOND);
    let opened = end.encoded().len();
    let rest = end
        .wait(200 * SECOND)
        .receive("HTTP/1.1 200 OK|Content-Length: 1", 1)
        .send("GET /b HTTP/1.1", 0)
        .receive("HTTP/1.1 404 OK|Content-Length: 2", 2);
    for record in rest.records().skip(opened) {
        stages
            .protocols
            .push(stages.connections.apply(&record), &mut stages.events);
    }
    let outcome = stages.so_far();
    assert_eq!(outcome.lines(), ["/a - 0 - unanswered", "/b 404 0 2"]);
    assert_eq!(outcome.counters.responses_late, 1);
}

#[test]
fn a_stream_that_pauses_after_its_head_is_not_unanswered() {
    let end = End::connected(3)
        .send("GET /events HTTP/1.1", 0)
        .begin(Received, "HTTP/1.1 200 OK|Transfer-Encoding: chunked");
    let mut stages = Stages::new(settings());
    stages.feed(&end);
    stages.tick(1000 * SECOND);
    assert_eq!(stages.events.len(), 1);
}

#[test]
fn the_end_of_the_run_ends_what_is_running_as_incomplete() {
    let mut stages = Stages::new(settings());
    stages.feed(&End::connected(3).send("GET /a HTTP/1.1", 0));
    stages.feed(
        &End::accepted(8)
            .receive("GET /b HTTP/1.1", 0)
            .begin(Sent, "HTTP/1.1 200 OK|Content-Length: 9"),
    );
    stages.feed(&End::accepted(6).data(Received, b"GET", 3, data_flags::HEAD | data_flags::HEAD_START));
    stages
        .protocols
        .finish(crate::ids::BootNanos(2_000_000), &mut stages.events);
    let outcome = stages.so_far();
    assert_eq!(outcome.lines(), ["/a - 0 - incomplete", "/b 200 0 - incomplete"]);
    assert_eq!(outcome.counters.heads_cut, 1);
}

#[test]
fn a_half_seen_exchange_has_no_span_and_the_next_is_whole() {
    let end = End::joined(3)
        .data(Received, &[], 700, data_flags::UNKNOWN)
        .receive("HTTP/1.1 500 Old|Content-Length: 1", 1)
        .send("GET /new HTTP/1.1", 0)
        .receive("HTTP/1.1 200 OK|Content-Length: 2", 2);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/new 200 0 2"]);
    assert_eq!(outcome.counters.responses_without_request, 1);
}

#[test]
fn a_response_that_nobody_asked_for_is_counted() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 0", 0)
        .send("HTTP/1.1 408 Request Timeout|Content-Length: 0", 0)
        .close();
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 200 0 0"]);
    assert_eq!(outcome.counters.responses_without_request, 1);
}

#[test]
fn garbage_gives_no_exchange_and_is_counted() {
    let end = End::accepted(2)
        .head(Received, b"\x16\x03\x01\0\0garbage\0\r\n\r\n", data_flags::OPAQUE)
        .close();
    let outcome = run(&end);
    assert!(outcome.events.is_empty());
    assert_eq!(outcome.counters.requests_unparsable, 1);
    assert_eq!(outcome.counters.opaque_connections, 1);
}

#[test]
fn an_unparsable_request_keeps_its_place() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 1", 1)
        .head(Received, b"GET /b\r\n\r\n", data_flags::MESSAGE_END)
        .receive("GET /c HTTP/1.1", 0)
        .send("HTTP/1.1 400 Bad|Content-Length: 2", 2)
        .send("HTTP/1.1 200 OK|Content-Length: 3", 3);
    assert_eq!(run(&end).lines(), ["/a 200 0 1", "/c 200 0 3"]);
}

#[test]
fn a_hundred_thousand_headers_are_taken_or_cut_but_never_hurt() {
    let head = [
        b"GET /many HTTP/1.1\r\n".to_vec(),
        b"a:b\r\n".repeat(100_000),
        b"\r\n".to_vec(),
    ]
    .concat();
    let outcome = run(&End::accepted(2).head(Received, &head, data_flags::MESSAGE_END));
    assert_eq!(outcome.begun()[0].request.target, "/many");
}

#[test]
fn data_without_an_open_record_makes_no_exchange() {
    let end = End::new(2)
        .receive("GET /a HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 0", 0);
    let outcome = run(&end);
    assert!(outcome.events.is_empty());
    assert_eq!(outcome.counters.requests_of_unknown_connection, 1);
}

#[test]
fn exchanges_with_the_agent_itself_are_left_out() {
    let mut stages = Stages::new(settings());
    stages.feed(
        &End::new(3)
            .between(([127, 0, 0, 1], 5), ([127, 0, 0, 1], 80))
            .open(open_flags::OWN),
    );
    let server = End::new(2)
        .between(([127, 0, 0, 1], 80), ([127, 0, 0, 1], 5))
        .open(open_flags::ACCEPTED);
    stages.feed(
        &server
            .receive("POST /v1/traces HTTP/1.1", 0)
            .send("HTTP/1.1 200 OK|Content-Length: 0", 0),
    );
    let outcome = stages.finish();
    assert!(outcome.events.is_empty());
    assert_eq!(outcome.counters.requests_of_agent, 1);
}

#[test]
fn the_other_end_is_known_by_its_addresses() {
    let (here, there) = (([127, 0, 0, 1], 80), ([127, 0, 0, 1], 5));
    let server = |end: End| end.open(open_flags::ACCEPTED).receive("GET /a HTTP/1.1", 0);
    let other_end = |client: Option<End>, server: End| {
        let mut stages = Stages::new(settings());
        client.iter().for_each(|client| stages.feed(client));
        stages.feed(&server);
        stages.so_far().begun()[0].other_end
    };
    let near = |netns| server(End::new(2).between(here, there).in_netns(netns));
    let client = End::new(3).between(there, here).open(open_flags::CONNECTED);
    assert_eq!(other_end(Some(client.clone()), near(1)), OtherEnd::Traced);
    assert_eq!(other_end(Some(client.close()), near(1)), OtherEnd::Traced);
    let elsewhere = End::new(3)
        .in_netns(2)
        .between(there, here)
        .open(open_flags::CONNECTED);
    assert_eq!(other_end(Some(elsewhere), near(1)), OtherEnd::Maybe);
    assert_eq!(other_end(None, server(End::accepted(2))), OtherEnd::Untraced);
    assert_eq!(
        other_end(None, End::joined(2).receive("GET /a HTTP/1.1", 0)),
        OtherEnd::Maybe
    );
}

#[test]
fn bounds_are_kept_and_what_is_past_them_is_counted() {
    let few = Settings {
        exchanges: 2,
        exchanges_per_connection: 3,
        ..settings()
    };
    let mut end = End::accepted(2);
    for _ in 0..5 {
        end = end.receive("GET /a HTTP/1.1", 0);
    }
    let mut stages = Stages::new(few);
    stages.feed(&end);
    let outcome: Outcome = stages.finish();
    assert_eq!(outcome.begun().len(), 2);
    assert_eq!(outcome.counters.requests_over_bound, 1);
    assert_eq!(outcome.counters.requests_unpairable, 2);
    assert_eq!(outcome.lines(), ["/a - 0 - incomplete"; 2]);
}

#[test]
fn a_truncated_response_head_leaves_open_whether_the_close_cut_its_body() {
    let flags = data_flags::HEAD | data_flags::HEAD_START | data_flags::HEAD_END | data_flags::TRUNCATED;
    let end = End::connected(3)
        .send("GET /a HTTP/1.1", 0)
        .data(Received, b"HTTP/1.1 200 OK\r\nX-Long: aaa", 9000, flags)
        .body(Received, 10)
        .close();
    assert_eq!(run(&end).lines(), ["/a 200 0 - incomplete"]);
}

#[test]
fn an_endless_head_in_small_pieces_is_bounded() {
    let small = Settings {
        unfinished_head_bytes: 64,
        ..settings()
    };
    let head = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n";
    let mut stages = Stages::new(small);
    stages.feed(
        &End::accepted(2)
            .split(Received, head, &[20, 40, 60, 80])
            .send("HTTP/1.1 200 OK|Content-Length: 0", 0),
    );
    let outcome = stages.finish();
    assert_eq!(outcome.lines(), ["/a 200 0 0 incomplete"]);
    assert_eq!(outcome.counters.heads_truncated, 1);
}
