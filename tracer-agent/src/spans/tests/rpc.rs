//! Calls by gRPC, made in either way.

use super::{Grpc, Side, answer, attributes, exchange, span, value};
use crate::{
    protocols::{
        Exchange,
        exchange::{Ending, Failure, Version},
    },
    spans::{Span, span::SpanStatus},
};

fn call(side: Side, grpc: Grpc) -> Exchange {
    let mut call = exchange(side, "POST", "/a.b.Shop/Buy", Some("shop.example:8080"));
    call.request.grpc = Some(grpc);
    call
}

fn answered(status: u16, grpc_status: Option<u32>) -> Ending {
    let mut ending = answer(status);
    if let Some(response) = &mut ending.response {
        response.grpc_status = grpc_status;
    }
    ending
}

#[test]
fn a_call_by_grpc_web_is_told_as_one_by_grpc_with_the_status_of_http() {
    let of = |grpc, status| span(call(Side::Inbound, grpc), answered(200, status));
    let (native, web) = (of(Grpc::Native, Some(5)), of(Grpc::Web, Some(5)));
    assert_eq!((&*native.name, &*web.name), ("a.b.Shop/Buy", "a.b.Shop/Buy"));
    let mut of_web = attributes(&web);
    of_web.retain(|line| line != "http.response.status_code=200");
    assert_eq!(of_web.len() + 1, attributes(&web).len());
    assert_eq!(of_web, attributes(&native));
    assert_eq!(value(&web, "rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(
        value(&web, "rpc.response.status_code").as_deref(),
        Some("NOT_FOUND")
    );
    // Metrics know calls from requests by this.
    assert_eq!(value(&web, "network.protocol.version"), None);
}

#[test]
fn a_status_that_stands_in_the_body_is_absent_and_nothing_is_said_to_be_lost() {
    for side in [Side::Inbound, Side::Outbound] {
        let span = span(call(side, Grpc::Web), answered(200, None));
        for key in ["rpc.response.status_code", "error.type", "tracer.incomplete"] {
            assert_eq!(value(&span, key), None, "{key}");
        }
        assert_eq!(span.status, SpanStatus::Unset);
        assert_eq!(value(&span, "http.response.status_code").as_deref(), Some("200"));
    }
}

#[test]
fn a_call_by_grpc_web_fails_by_what_is_known_of_it() {
    let error = |side, ending: Ending| -> (Option<String>, Span) {
        let span = span(call(side, Grpc::Web), ending);
        (value(&span, "error.type"), span)
    };
    for (side, status, grpc_status, is) in [
        (Side::Outbound, 503, None, Some("503")),
        (Side::Inbound, 503, None, Some("503")),
        (Side::Outbound, 415, None, Some("415")),
        (Side::Inbound, 415, None, None),
        (Side::Outbound, 200, Some(14), Some("UNAVAILABLE")),
        (Side::Inbound, 200, Some(14), Some("UNAVAILABLE")),
        (Side::Outbound, 200, Some(0), None),
    ] {
        let (told, span) = error(side, answered(status, grpc_status));
        assert_eq!(told.as_deref(), is, "{side:?} {status} {grpc_status:?}");
        assert_eq!(span.status == SpanStatus::Error, is.is_some());
    }
    let cut = Ending {
        response: None,
        failure: Some(Failure::Reset),
        ..answer(200)
    };
    let (told, span) = error(Side::Outbound, cut);
    assert_eq!(told.as_deref(), Some("connection_reset"));
    assert_eq!(value(&span, "http.response.status_code"), None);
}

/// A proxy takes it in one way and calls in the other.
#[test]
fn each_side_of_a_proxy_that_translates_is_told_as_it_was_made() {
    let taken = span(call(Side::Inbound, Grpc::Web), answered(200, None));
    let mut made = call(Side::Outbound, Grpc::Native);
    made.request.version = Version::Http2;
    let made = span(made, answered(200, Some(15)));
    for span in [&taken, &made] {
        assert_eq!(&*span.name, "a.b.Shop/Buy");
        assert_eq!(value(span, "rpc.method").as_deref(), Some("a.b.Shop/Buy"));
    }
    let status = |span| value(span, "rpc.response.status_code");
    assert_eq!(
        (status(&taken), status(&made).as_deref()),
        (None, Some("DATA_LOSS"))
    );
    assert_eq!(
        (taken.status, made.status),
        (SpanStatus::Unset, SpanStatus::Error)
    );
    assert_eq!(value(&made, "http.response.status_code"), None);
}
