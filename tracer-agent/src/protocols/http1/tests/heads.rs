//! Heads as real programs send them.

use super::super::head::{Coding, Head, RequestHead, ResponseHead, read};
use crate::{
    ids::SpanId,
    protocols::{Grpc, Settings},
};

fn settings() -> Settings {
    Settings {
        captured_request_headers: vec!["x-id".into(), "cookie".into()],
        captured_response_headers: vec!["server".into()],
        ..Settings::default()
    }
}

fn request(head: &str) -> RequestHead {
    match read(head.as_bytes(), false, &settings()) {
        Some(Head::Request(head)) => head,
        other => panic!("{head:?} gave {other:?}"),
    }
}

fn response(head: &str) -> ResponseHead {
    match read(head.as_bytes(), false, &settings()) {
        Some(Head::Response(head)) => head,
        other => panic!("{head:?} gave {other:?}"),
    }
}

#[test]
fn methods_and_targets_are_kept_as_sent() {
    for (line, method, target) in [
        ("get /a HTTP/1.1", "get", "/a"),
        ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*"),
        ("CONNECT h:443 HTTP/1.1", "CONNECT", "h:443"),
        ("GET http://u:p@h/a?b#c HTTP/1.0", "GET", "http://u:p@h/a?b#c"),
        ("GET /a b HTTP/1.1", "GET", "/a b"),
        ("GET /a\u{7f}\"{}|é HTTP/1.1", "GET", "/a\u{7f}\"{}|é"),
        ("GET  /a  HTTP/1.1", "GET", "/a"),
    ] {
        let head = request(&format!("{line}\r\nHost: h\r\n\r\n"));
        assert_eq!(
            (head.request.method.as_str(), head.request.target.as_str()),
            (method, target),
            "{line}"
        );
        assert_eq!(head.request.host.as_deref(), Some("h"), "{line}");
    }
}

#[test]
fn the_host_is_known_only_when_there_is_one() {
    for (headers, host) in [
        ("HOST:h:80", Some("h:80")),
        ("Host: \t h \t", Some("h")),
        ("Host:", None),
        ("Accept: */*", None),
        ("Host: a\r\nhost: a", None),
        ("Host: a\r\nhost: b\r\nHost: c", None),
        ("Host : a", None),
    ] {
        assert_eq!(
            request(&format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n"))
                .request
                .host
                .as_deref(),
            host,
            "{headers}"
        );
    }
}

#[test]
fn duplicates_are_kept_in_order_and_the_first_user_agent_counts() {
    let head = request(
        "GET / HTTP/1.1\r\nX-ID: 1\r\nUser-Agent: a\r\nx-id: 2\r\nuser-agent: b\r\nX-Id-Not: 3\r\n\r\n",
    );
    assert_eq!(
        head.request.captured_headers,
        [("x-id".into(), "1".into()), ("x-id".into(), "2".into())]
    );
    assert_eq!(head.request.user_agent.as_deref(), Some("a"));
}

#[test]
fn of_grpc_only_what_is_made_for_http_1_is_a_call_in_it() {
    for (headers, grpc) in [
        ("Content-Type: application/grpc-web+proto", Some(Grpc::Web)),
        ("content-type:application/grpc-web-text \t", Some(Grpc::Web)),
        ("CONTENT-TYPE: Application/GRPC-Web", Some(Grpc::Web)),
        ("Content-Type: application/grpc", None),
        ("Content-Type: application/json", None),
        ("Accept: application/grpc-web", None),
    ] {
        let head = request(&format!("POST /a.Shop/Buy HTTP/1.1\r\n{headers}\r\n\r\n"));
        assert_eq!(head.request.grpc, grpc, "{headers}");
    }
}

#[test]
fn the_status_of_a_call_is_read_from_the_head_of_its_response() {
    for (headers, status) in [
        ("grpc-status: 5", Some(5)),
        ("Grpc-Status:16 \t", Some(16)),
        ("grpc-status: 4294967296", None),
        ("grpc-status: ok", None),
        ("grpc-status:", None),
        ("grpc-message: 5", None),
    ] {
        let head = response(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n"));
        assert_eq!(head.response.grpc_status, status, "{headers}");
    }
}

#[test]
fn a_folded_header_is_one_value() {
    let folded = "GET / HTTP/1.1\r\nX-Id: a\r\n b\r\n\tc\r\ntraceparent:\r\n 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nHost: h\r\n\r\n";
    let head = request(folded);
    let words: Vec<_> = head.request.captured_headers[0]
        .1
        .split_ascii_whitespace()
        .collect();
    assert_eq!(words, ["a", "b", "c"]);
    assert_eq!(head.request.host.as_deref(), Some("h"));
    let span = SpanId::new([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(head.context.parent.unwrap().span, span);
}

#[test]
fn a_line_that_is_no_header_hides_no_other() {
    let head =
        request("GET / HTTP/1.1\r\nno colon\r\n: no name\r\nbad name: 1\r\nX-Id: a\0b\r\nHost: h\r\n\r\n");
    assert_eq!(head.request.host.as_deref(), Some("h"));
    assert_eq!(head.request.captured_headers, []);
}

#[test]
fn bare_line_feeds_end_lines() {
    let head = request("GET /a HTTP/1.1\nHost: h\nContent-Length: 4\n\n");
    assert_eq!(
        (head.request.host.as_deref(), head.body),
        (Some("h"), Coding::Length(4))
    );
}

#[test]
fn heads_with_very_many_headers_are_read_whole() {
    let many = "a:\n".repeat(2_700);
    assert_eq!(
        request(&format!("GET / HTTP/1.1\n{many}Host: h\n\n"))
            .request
            .host
            .as_deref(),
        Some("h")
    );
}

#[test]
fn the_length_of_a_body_is_taken_only_when_it_is_sound() {
    for (headers, coding) in [
        ("Content-Length: 5", Coding::Length(5)),
        ("content-length:5\r\nContent-Length: 5", Coding::Length(5)),
        ("Content-Length: 5, 5", Coding::Length(5)),
        ("Content-Length: 5\r\nContent-Length: 6", Coding::Unsaid),
        ("Content-Length: +5", Coding::Unsaid),
        ("Content-Length: ", Coding::Unsaid),
        ("Content-Length: 99999999999999999999", Coding::Unsaid),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Coding::Transfer,
        ),
        ("X: y", Coding::Unsaid),
    ] {
        assert_eq!(
            request(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")).body,
            coding,
            "{headers}"
        );
    }
}

#[test]
fn status_lines_are_read_as_clients_do() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.0 404", 404),
        ("HTTP/1.1  999  Odd", 999),
        ("HTTP/1.1 500 \u{1}\u{2}", 500),
    ] {
        let head = response(&format!("{line}\r\nServer : nginx\r\n folded\r\n\r\n"));
        assert_eq!(head.response.status, status, "{line}");
        assert!(head.response.captured_headers[0].1.starts_with("nginx"), "{line}");
    }
}

#[test]
fn what_has_no_start_line_is_no_head() {
    for head in [
        "",
        "\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 1000 High\r\n\r\n",
        "\0\0\0\0",
    ] {
        assert_eq!(read(head.as_bytes(), false, &settings()), None, "{head:?}");
    }
}

#[test]
fn of_a_cut_head_every_whole_line_counts_and_the_cut_one_does_not() {
    let cut = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Id: 12";
    let Some(Head::Request(head)) = read(cut, true, &settings()) else {
        panic!("the request line is whole");
    };
    assert_eq!(head.request.host.as_deref(), Some("h"));
    assert_eq!(head.request.captured_headers, []);
    assert_eq!(read(b"GET /aaaaaaaaaa", true, &settings()), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "(GET|HTTP/1.1) [ -~]{0,9} ?(HTTP/1.1|200)?(\r?\n[ -~\t]{0,12}){0,6}\r\n\r\n", cut: bool) {
        read(&bytes, cut, &settings());
        read(text.as_bytes(), cut, &settings());
    }
}
