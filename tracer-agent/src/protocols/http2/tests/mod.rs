//! The rules of HTTP/2 exchanges: bytes as both ends write them, framed as in the kernel.

mod losses;
mod streams;
pub(crate) mod wire;

use proptest::prelude::*;

use wire::{END_STREAM, Talk, data, fields, headers};

#[test]
fn a_stream_is_an_exchange_with_all_that_its_fields_say() {
    let outcome = Talk::server()
        .request(headers(
            1,
            END_STREAM,
            &fields("POST /shop?id=7|user-agent: curl"),
        ))
        .response(headers(1, 0, &fields("201")))
        .response(data(1, END_STREAM, 300))
        .outcome();
    assert_eq!(outcome.lines(), ["1 POST /shop?id=7 201 0 300"]);
    let begun = outcome.begun()[0];
    assert!(begun.multiplexed);
    assert_eq!(begun.request.host.as_deref(), Some("shop:80"));
    assert_eq!(begun.request.user_agent.as_deref(), Some("curl"));
    assert_eq!(begun.request.scheme, None);
    assert_eq!(begun.request.grpc, None);
}

#[test]
fn both_ends_give_a_request_the_same_place_in_the_stream() {
    let said = |talk: Talk| {
        talk.request(headers(1, END_STREAM, &fields("GET /a")))
            .request([headers(3, 0, &fields("POST /b")), data(3, END_STREAM, 9)].concat())
            .request(headers(5, END_STREAM, &fields("GET /c")))
            .outcome()
    };
    let seqs = |talk| -> Vec<_> { said(talk).begun().iter().map(|begun| begun.request_seq).collect() };
    let at_server = seqs(Talk::server());
    assert_eq!(at_server, seqs(Talk::client()));
    assert!(at_server.is_sorted_by(|a, b| a < b));
}

#[test]
fn trace_context_is_read_from_fields() {
    let context = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let outcome = Talk::server()
        .request(headers(1, END_STREAM, &fields(&format!("GET /|{context}"))))
        .outcome();
    let parent = outcome.begun()[0].context.parent.unwrap();
    assert_eq!(parent.span.unwrap().to_string(), "b7ad6b7169203331");
}

proptest! {
    #[test]
    fn any_cut_into_calls_gives_the_same_exchanges(cuts in proptest::collection::vec(1_usize..90, 0..80)) {
        let conversation = |cuts: &[usize]| {
            let mut request = headers(1, 0, &fields("POST /a"));
            request.extend(data(1, 0, 400));
            request.extend(headers(3, END_STREAM, &fields("GET /b")));
            request.extend(data(1, END_STREAM, 40));
            let mut response = headers(3, 0, &fields("200"));
            response.extend(headers(1, END_STREAM, &fields("404")));
            response.extend(data(3, END_STREAM, 70));
            Talk::server().cut(cuts).request(request).response(response).outcome()
        };
        prop_assert_eq!(conversation(&cuts).lines(), conversation(&[]).lines());
        prop_assert_eq!(conversation(&[]).lines(), ["1 POST /a 404 440 0", "3 GET /b 200 0 70"]);
    }
}
