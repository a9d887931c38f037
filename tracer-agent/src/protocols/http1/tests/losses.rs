//! What a lost record does, and what it does not.

use tracer_common::record::data_flags;

use super::run;
use crate::testing::{
    End,
    Way::{Received, Sent},
};

const OK_1: &str = "HTTP/1.1 200 OK|Content-Length: 1";
const OK_2: &str = "HTTP/1.1 202 OK|Content-Length: 2";
const OK_3: &str = "HTTP/1.1 203 OK|Content-Length: 3";

#[test]
fn a_lost_piece_of_a_known_body_damages_one_exchange_and_no_size() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .begin(Sent, "HTTP/1.1 200 OK|Content-Length: 30")
        .body(Sent, 10)
        .lost()
        .last(Sent, 20)
        .receive("GET /b HTTP/1.1", 0)
        .send(OK_2, 2);
    assert_eq!(run(&end).lines(), ["/a 200 0 30 incomplete", "/b 202 0 2"]);
}

#[test]
fn a_lost_end_of_a_known_body_is_noticed_at_the_next_message() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .begin(Sent, "HTTP/1.1 200 OK|Content-Length: 30")
        .last(Sent, 30)
        .lost()
        .receive("GET /b HTTP/1.1", 0)
        .send(OK_2, 2);
    assert_eq!(run(&end).lines(), ["/a 200 0 30 incomplete", "/b 202 0 2"]);
}

#[test]
fn a_lost_response_leaves_the_next_exchange_whole() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .head(
            Sent,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
        .lost()
        .receive("GET /b HTTP/1.1", 0)
        .send(OK_2, 2)
        .receive("GET /c HTTP/1.1", 0)
        .send(OK_3, 3);
    assert_eq!(
        run(&end).lines(),
        ["/a - 0 - incomplete", "/b 202 0 2", "/c 203 0 3"]
    );
}

#[test]
fn a_close_settles_what_follows_a_lost_response() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .head(
            Sent,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
        .lost()
        .receive("GET /b HTTP/1.1", 0)
        .send(OK_2, 2)
        .close();
    assert_eq!(run(&end).lines(), ["/a - 0 - incomplete", "/b 202 0 2"]);
}

#[test]
fn a_lost_request_does_not_lend_its_response_to_the_next() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .send(OK_1, 1)
        .receive("GET /lost HTTP/1.1", 0)
        .lost()
        .send(OK_2, 2)
        .receive("GET /c HTTP/1.1", 0)
        .send(OK_3, 3);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 200 0 1", "/c 203 0 3"]);
    assert_eq!(outcome.counters.responses_without_request, 1);
}

#[test]
fn a_lost_response_and_a_lost_request_do_not_meet() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .head(
            Sent,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
        .lost()
        .receive("GET /lost HTTP/1.1", 0)
        .lost()
        .send(OK_2, 2)
        .receive("GET /c HTTP/1.1", 0)
        .send(OK_3, 3);
    assert_eq!(run(&end).lines(), ["/a - 0 - incomplete", "/c 203 0 3"]);
}

#[test]
fn a_lost_piece_of_a_head_makes_it_incomplete() {
    let head = b"GET /a HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n";
    let end = End::accepted(2)
        .data(
            Received,
            &head[..30],
            30,
            data_flags::HEAD | data_flags::HEAD_START,
        )
        .data(Received, &head[30..35], 5, data_flags::HEAD)
        .lost()
        .data(
            Received,
            &head[35..],
            head.len() as u64 - 35,
            data_flags::HEAD | data_flags::HEAD_END | data_flags::MESSAGE_END,
        )
        .send(OK_1, 1);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a 200 - 1 incomplete"]);
    assert!(outcome.begun()[0].incomplete);
}

#[test]
fn bytes_that_could_not_be_read_are_as_good_as_lost() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .send(OK_1, 1)
        .data(Received, &[], 200, data_flags::UNKNOWN)
        .send(OK_2, 2)
        .receive("GET /c HTTP/1.1", 0)
        .send(OK_3, 3);
    assert_eq!(run(&end).lines(), ["/a 200 0 1", "/c 203 0 3"]);
}

#[test]
fn a_response_lost_at_the_end_is_not_a_failure() {
    let end = End::connected(3)
        .send("GET /a HTTP/1.1", 0)
        .head(
            Received,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
        .lost()
        .close();
    let mut stages = super::Stages::new(super::settings());
    stages.feed(&end);
    assert_eq!(stages.finish().lines(), ["/a - 0 - incomplete"]);
}

#[test]
fn a_body_lost_up_to_the_close_is_known_by_the_totals() {
    let end = End::connected(3)
        .send("GET /a HTTP/1.1", 0)
        .begin(Received, "HTTP/1.1 200 OK|Content-Length: 30")
        .last(Received, 30)
        .lost()
        .close();
    let mut stages = super::Stages::new(super::settings());
    stages.feed(&end);
    assert_eq!(stages.finish().lines(), ["/a 200 0 30 incomplete"]);
}

#[test]
fn pairing_is_given_up_when_a_pipelining_connection_loses_a_response() {
    let end = End::accepted(2)
        .receive("GET /a HTTP/1.1", 0)
        .same_call()
        .receive("GET /b HTTP/1.1", 0)
        .head(
            Sent,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
        .lost()
        .send(OK_2, 2)
        .receive("GET /c HTTP/1.1", 0)
        .send(OK_3, 3);
    let outcome = run(&end);
    assert_eq!(outcome.lines(), ["/a - 0 - incomplete", "/b - 0 - incomplete"]);
    assert_eq!(outcome.counters.requests_unpairable, 1);
    assert_eq!(outcome.counters.connections_unpairable, 1);
}
