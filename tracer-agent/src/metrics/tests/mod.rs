//! What is counted, told and served, end to end: spans in, texts and messages out.

mod counted;
mod served;
mod strict;
mod told;

use crate::{
    capture::input::AttributeValue,
    export::tests::{process, span, text},
    spans::{Span, span::SpanKind},
};

/// A request to `shop`, as the span builder describes one.
pub fn request(id: u8, parent: u8, status: i64, times: (u64, u64)) -> Span {
    let mut span = span(
        id,
        parent,
        &process(7, "shop"),
        SpanKind::Server,
        "/secret?key=1",
        times,
    );
    set(
        &mut span,
        "http.response.status_code",
        AttributeValue::Int(status),
    );
    set(&mut span, "network.protocol.version", text("1.1"));
    set(&mut span, "url.scheme", text("http"));
    span
}

/// A call by `web` to a server that it names.
pub fn call(id: u8, host: &str, times: (u64, u64)) -> Span {
    let mut span = span(
        id,
        0,
        &process(6, "web"),
        SpanKind::Client,
        "/secret?key=1",
        times,
    );
    set(&mut span, "network.protocol.version", text("1.1"));
    set(&mut span, "server.address", text(host));
    span
}

pub fn set(span: &mut Span, key: &'static str, value: AttributeValue) {
    span.attributes.retain(|(known, _)| *known != key);
    span.attributes.push((key, value));
}
