//! Messages of every shape, with nothing lost.

use tracer_common::record::data_flags;

use super::{Outcome, run};
use crate::{
    protocols::exchange::Side,
    testing::{
        End,
        Way::{Received, Sent},
    },
};

#[test]
fn a_request_received_is_inbound_and_ends_with_the_last_byte_of_its_response() {
    let end = End::accepted(2).receive("POST /a HTTP/1.1|Host: shop|Content-Length: 3", 3);
    let started = end.now();
    let end = end.send("HTTP/1.1 201 Created|Content-Length: 7", 7);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 201 3 7"]);
    let (exchange, ending) = outcome.ended()[0];
    assert_eq!(exchange.side, Side::Inbound);
    assert_eq!(exchange.request.method, "POST");
    assert_eq!(exchange.request.host.as_deref(), Some("shop"));
    assert_eq!(exchange.pid().0, 100);
    assert!(exchange.start.0 < started && exchange.start == exchange.head_end);
    assert_eq!(ending.end.0, end.now() - crate::testing::STEP_NS);
    assert_eq!(ending.response_task, Some(exchange.task));
}

#[test]
fn a_request_sent_is_outbound() {
    let end = End::connected(3)
        .send("GET /a HTTP/1.1|Host: b", 0)
        .receive("HTTP/1.1 204 No Content", 0);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 204 0 0"]);
    assert_eq!(outcome.begun()[0].side, Side::Outbound);
}

#[test]
fn bodies_are_counted_by_the_bytes_that_passed() {
    for (request, request_body, response, response_body, line) in [
        (
            "GET /a HTTP/1.1",
            0,
            "HTTP/1.1 200 OK|Content-Length: 0",
            0,
            "/a 200 0 0",
        ),
        (
            "HEAD /a HTTP/1.1",
            0,
            "HTTP/1.1 200 OK|Content-Length: 99",
            0,
            "/a 200 0 0",
        ),
        (
            "GET /a HTTP/1.1",
            0,
            "HTTP/1.1 304 Not Modified|Content-Length: 99",
            0,
            "/a 304 0 0",
        ),
        (
            "PUT /a HTTP/1.1|Transfer-Encoding: chunked",
            29,
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked",
            11,
            "/a 200 29 11",
        ),
        (
            "POST /a HTTP/1.1|Content-Length: 4, 4",
            4,
            "HTTP/1.1 200 OK|content-length:2",
            2,
            "/a 200 4 2",
        ),
        (
            "POST /a HTTP/1.1|Content-Length: 5",
            4,
            "HTTP/1.1 200 OK|Content-Length: 2",
            2,
            "/a 200 4 2 incomplete",
        ),
        (
            "get /a HTTP/1.0",
            0,
            "HTTP/1.0 200 OK|Content-Length: 2",
            2,
            "/a 200 0 2",
        ),
        (
            "PURGE * HTTP/1.1",
            0,
            "HTTP/1.1 200|Content-Length: 2",
            2,
            "* 200 0 2",
        ),
        (
            "GET http://h/p HTTP/1.1|Host: h",
            0,
            "HTTP/1.1 200 |Content-Length: 2",
            2,
            "http://h/p 200 0 2",
        ),
    ] {
        let end = End::accepted(2)
            .receive(request, request_body)
            .send(response, response_body);
        assert_eq!(run(&end).lines(), [line], "{request} / {response}");
    }
}

#[test]
fn a_length_that_is_not_that_of_the_body_is_counted() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 9", 8);
    assert_eq!(run(&end).counters.length_disagreements, 1);
}

#[test]
fn exchanges_follow_each_other_on_one_connection() {
    let mut end = End::connected(3);
    for _ in 0..3 {
        end = end
            .send("GET /a HTTP/1.1", 0)
            .receive("HTTP/1.1 200 OK|Content-Length: 2", 2);
    }
    assert_eq!(run(&end).lines(), ["/a 200 0 2"; 3]);
}

#[test]
fn pipelined_requests_are_paired_in_order() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .same_call()
        .receive("GET /b HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 1", 1)
        .receive("GET /c HTTP/1.1", 0)
        .send("HTTP/1.1 404 Not Found|Content-Length: 2", 2)
        .send("HTTP/1.1 500 Oops|Content-Length: 3", 3);
    assert_eq!(run(&end).lines(), ["/a 200 0 1", "/b 404 0 2", "/c 500 0 3"]);
}

#[test]
fn interim_responses_belong_to_the_exchange() {
    let end = End::connected(3)
        .begin(Sent, "PUT /a HTTP/1.1|Expect: 100-continue|Content-Length: 9")
        .receive("HTTP/1.1 100 Continue", 0)
        .receive("HTTP/1.1 103 Early Hints|Link: x", 0)
        .last(Sent, 9)
        .receive("HTTP/1.1 200 OK|Content-Length: 2", 2);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 200 9 2"]);
    assert_eq!(outcome.counters.informational_responses, 2);
}

#[test]
fn an_early_response_ends_the_exchange_and_leaves_the_next_one_right() {
    let end = End::accepted(2)
        .begin(Received, "POST /a HTTP/1.1|Content-Length: 1000")
        .body(Received, 10)
        .send("HTTP/1.1 413 Too Large|Content-Length: 2", 2)
        .last(Received, 990)
        .receive("GET /b HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 3", 3);
    assert_eq!(run(&end).lines(), ["/a 413 - 2", "/b 200 0 3"]);
}

#[test]
fn an_upgrade_ends_the_exchange_and_the_connection_is_opaque() {
    let end = End::accepted(2)
        .receive("GET /ws HTTP/1.1|Upgrade: websocket", 0)
        .head(
            Sent,
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            data_flags::OPAQUE,
        );
    let outcome = run(&end.close());
    assert_eq!(outcome.lines(), ["/ws 101 0 -"]);
    assert_eq!(outcome.counters.opaque_connections, 1);
}

#[test]
fn a_tunnel_ends_the_exchange_with_the_head_of_the_response() {
    let end = End::connected(3)
        .send("CONNECT example.org:443 HTTP/1.1|Host: example.org:443", 0)
        .head(Received, b"HTTP/1.1 200 Connection established\r\n\r\n", 0)
        .data(Received, &[], 5000, data_flags::OPAQUE);
    assert_eq!(run(&end).lines(), ["example.org:443 200 0 -"]);
}

#[test]
fn a_refused_tunnel_is_an_ordinary_exchange() {
    let end = End::connected(3)
        .send("CONNECT example.org:443 HTTP/1.1", 0)
        .receive("HTTP/1.1 407 No|Content-Length: 4", 4);
    assert_eq!(run(&end).lines(), ["example.org:443 407 0 4"]);
}

#[test]
fn a_head_may_be_split_anywhere() {
    let request = b"GET /split HTTP/1.1\r\nHost: a\r\nX-Id: 7\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nX-Id: 7\r\nContent-Length: 0\r\n\r\n";
    for at in 1..request.len() {
        let end = End::accepted(2)
            .split(Received, request, &[at, at + 1])
            .split(Sent, response, &[at]);
        let outcome = run(&end);
        assert_eq!(outcome.lines(), ["/split 200 0 0"], "split at {at}");
        assert_eq!(
            outcome.begun()[0].request.captured_headers,
            [("x-id".into(), "7".into())]
        );
    }
}

#[test]
fn a_split_head_begins_with_its_first_piece() {
    let end = End::accepted(2);
    let first = end.now();
    let end = end.split(Received, b"GET / HTTP/1.1\r\n\r\n", &[3, 9]);
    let outcome = run(&end);
    assert_eq!(outcome.begun()[0].start.0, first);
    assert_eq!(outcome.begun()[0].head_end.0, first + 2 * crate::testing::STEP_NS);
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let end = End::accepted(2)
        .body(Received, 2)
        .receive("GET /a HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 0", 0)
        .body(Received, 4)
        .receive("GET /b HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 0", 0);
    assert_eq!(run(&end).lines(), ["/a 200 0 0", "/b 200 0 0"]);
}

#[test]
fn a_truncated_head_tells_what_is_known_and_says_so() {
    let cut = b"GET /long HTTP/1.1\r\nHost: a\r\nCookie: aaaaaaa";
    let flags = data_flags::HEAD | data_flags::HEAD_START;
    let end = End::accepted(2)
        .data(Received, cut, cut.len() as u64, flags)
        .data(
            Received,
            &[],
            9000,
            data_flags::HEAD | data_flags::TRUNCATED | data_flags::HEAD_END | data_flags::MESSAGE_END,
        )
        .send("HTTP/1.1 200 OK|Content-Length: 0", 0);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/long 200 0 0 incomplete"]);
    assert!(outcome.begun()[0].incomplete);
    assert_eq!(outcome.begun()[0].request.host.as_deref(), Some("a"));
}

#[test]
fn both_directions_may_be_told_of_in_either_order() {
    // The reader's record overtakes the writer's.
    let request = End::connected(3).send("GET /a HTTP/1.1", 0);
    let response = End::new(3)
        .wait(10_000)
        .receive("HTTP/1.1 200 OK|Content-Length: 2", 2);
    let mut stages = super::Stages::new(super::settings());
    let (open, request) = (
        request.records().next().unwrap(),
        request.records().nth(1).unwrap(),
    );
    let response: Vec<_> = response.records().collect();
    for record in [open].iter().chain(&response).chain(&[request]) {
        stages
            .protocols
            .push(stages.connections.apply(record), &mut stages.events);
    }
    let outcome: Outcome = stages.so_far();
    assert_eq!(outcome.lines(), ["/a 200 0 2"]);
}
