//! What a lost record does, and what it does not.

use proptest::prelude::*;
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
fn what_is_numbered_is_paired_whatever_was_lost() {
    let ok = |end: End| {
        end.head(
            Sent,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            data_flags::MESSAGE_END,
        )
    };
    let get = |end: End, target: &str| end.receive(&format!("GET {target} HTTP/1.1"), 0);
    let end = get(End::accepted(2).counted(), "/a").same_call();
    let end = ok(get(end, "/b")).lost().send(OK_2, 2);
    // Both are lost, then a request, then a response.
    let end = ok(get(end, "/lost").lost()).lost();
    let end = get(end, "/lost too").lost().send(OK_1, 1);
    let end = ok(get(end, "/c")).lost();
    let end = get(end, "/d").send(OK_3, 3);
    let outcome = run(&end);
    assert_eq!(
        outcome.lines(),
        [
            "/a - 0 - incomplete",
            "/b 202 0 2",
            "/c - 0 - incomplete",
            "/d 203 0 3"
        ]
    );
    assert_eq!(outcome.counters.responses_without_request, 1);
    assert_eq!(outcome.counters.connections_unpairable, 0);
}

#[test]
fn a_response_waits_for_the_request_of_its_number() {
    let stages = |end: &End| {
        let mut records: Vec<_> = end.encoded().to_vec();
        // The thread that reads was faster than the one that wrote.
        records.swap(1, 2);
        let mut stages = super::Stages::new(super::settings());
        stages.feed_encoded(&records);
        stages.so_far().lines()
    };
    let end = End::connected(3).counted().send("GET /a HTTP/1.1", 0).head(
        Received,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        data_flags::MESSAGE_END,
    );
    assert_eq!(stages(&end), ["/a 200 0 0"]);
}

proptest! {
    /// Of exchanges that follow each other, whole or in part behind each other, any records are lost.
    #[test]
    fn numbered_pairs_are_right_and_none_that_was_delivered_is_missed(
        lost in proptest::collection::vec(any::<[bool; 2]>(), 1..24),
        ahead in 1_usize..4,
    ) {
        let mut end = End::accepted(2).counted();
        for window in (0..lost.len()).collect::<Vec<_>>().chunks(ahead) {
            for at in window {
                end = end.receive(&format!("GET /{at} HTTP/1.1"), 0);
                end = if lost[*at][0] { end.lost() } else { end };
            }
            for at in window {
                let head = format!("HTTP/1.1 {} OK\r\nContent-Length: 0\r\n\r\n", 200 + at);
                end = end.head(Sent, head.as_bytes(), data_flags::MESSAGE_END);
                end = if lost[*at][1] { end.lost() } else { end };
            }
        }
        let mut stages = super::Stages::new(super::settings());
        stages.feed(&end.close());
        let mut expected: Vec<_> = lost.iter().enumerate().filter(|(_, [request, _])| !request).collect();
        let outcome = stages.finish();
        prop_assert_eq!(outcome.ended().len(), expected.len());
        for (exchange, ending) in outcome.ended() {
            let at: usize = exchange.request.target[1..].parse().unwrap();
            let status = ending.response.as_ref().map(|response| usize::from(response.status) - 200);
            prop_assert_eq!(status, (!lost[at][1]).then_some(at));
            expected.retain(|(number, _)| *number != at);
        }
        prop_assert!(expected.is_empty());
    }
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
