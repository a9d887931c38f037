//! What is missing damages what it may have been part of, and nothing else.

use super::wire::{END_STREAM, Talk, data, field, fields, frame, headers};

/// The newest entry of the dynamic table.
const NEWEST: u8 = 0x80 | 62;

fn with(method: &str, path: &[u8]) -> Vec<u8> {
    [field(false, ":method", method), path.to_vec()].concat()
}

#[test]
fn a_lost_record_makes_what_is_running_incomplete_and_what_comes_later_is_whole() {
    let outcome = Talk::server()
        .request(headers(1, 0, &fields("POST /hit")))
        .request(data(1, END_STREAM, 100))
        .lost()
        .request(headers(3, END_STREAM, &fields("GET /whole")))
        .response(headers(1, END_STREAM, &fields("200")))
        .response(headers(3, END_STREAM, &fields("200")))
        .outcome();
    assert_eq!(
        outcome.lines(),
        ["1 POST /hit 200 - 0 incomplete", "3 GET /whole 200 0 0"]
    );
}

#[test]
fn a_field_that_was_lost_is_absent_until_it_is_said_anew() {
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &with("GET", &field(true, ":path", "/a"))))
        .request(headers(3, END_STREAM, &with("GET", &field(true, ":path", "/b"))))
        .lost()
        .request(headers(5, END_STREAM, &with("PUT", &[NEWEST])))
        .request(headers(7, END_STREAM, &with("PUT", &field(true, ":path", "/c"))))
        .request(headers(9, END_STREAM, &with("GET", &[NEWEST])))
        .outcome();
    let said: Vec<_> = outcome
        .begun()
        .iter()
        .map(|begun| {
            (
                begun.request.method.clone(),
                begun.request.target.clone(),
                begun.incomplete,
            )
        })
        .collect();
    let said: Vec<_> = said
        .iter()
        .map(|(m, t, i)| (m.as_str(), t.as_str(), *i))
        .collect();
    assert_eq!(
        said,
        [
            ("GET", "/a", false),
            ("PUT", "", true),
            ("PUT", "/c", false),
            ("GET", "/c", false)
        ]
    );
}

#[test]
fn trailers_whose_status_is_not_known_make_their_call_incomplete() {
    let call = |stream| {
        headers(
            stream,
            END_STREAM,
            &fields("POST /a/b|content-type: application/grpc"),
        )
    };
    let outcome = Talk::server()
        .request([call(1), call(3), call(5)].concat())
        .response(headers(1, 0, &fields("200")))
        .response(headers(1, END_STREAM, &field(true, "grpc-status", "11")))
        .lost()
        // What the table has is lost with the record that brought it, also to calls that begin after it.
        .request(call(7))
        .response(headers(7, 0, &fields("200")))
        .response(headers(7, END_STREAM, &[NEWEST]))
        .request(call(9))
        .response(headers(9, 0, &fields("200")))
        .response(headers(
            9,
            END_STREAM,
            &[vec![NEWEST], field(false, "grpc-status", "5")].concat(),
        ))
        .request(call(11))
        .response(headers(11, 0, &fields("200")))
        .response(headers(11, END_STREAM, &[0xff; 30]))
        .outcome();
    let told: Vec<_> = outcome
        .endings()
        .iter()
        .map(|ending| {
            let status = ending.response.as_ref().and_then(|response| response.grpc_status);
            (status, ending.incomplete)
        })
        .collect();
    assert_eq!(told, [(None, true), (Some(5), false), (None, true)]);
}

#[test]
fn who_joins_late_knows_what_is_said_since() {
    let outcome = Talk::joined()
        .request(frame(tracer_common::record::frame::PING, 0, 0, &[0; 8]))
        .response(headers(5, END_STREAM, &fields("200")))
        .request(headers(7, END_STREAM, &with("GET", &[NEWEST])))
        .request(headers(9, END_STREAM, &with("GET", &field(true, ":path", "/b"))))
        .response(headers(9, END_STREAM, &fields("200")))
        .response(headers(7, END_STREAM, &fields("404")))
        .closed();
    assert_eq!(outcome.lines(), ["1 GET  404 0 0 incomplete", "3 GET /b 200 0 0"]);
    assert_eq!(outcome.counters.responses_without_request, 1);
}

#[test]
fn a_block_that_is_not_hpack_makes_no_exchange() {
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &[0xff; 30]))
        .request(headers(3, END_STREAM, &fields("GET /next")))
        .response(headers(3, END_STREAM, &fields("200")))
        .outcome();
    assert_eq!(outcome.lines(), ["1 GET /next 200 0 0"]);
    assert_eq!(outcome.counters.requests_unparsable, 1);
}
