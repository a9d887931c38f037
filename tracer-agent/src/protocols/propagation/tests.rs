mod formats;
mod properties;
mod w3c_conformance;

use super::extract;
use crate::protocols::exchange::{ContextFormat, RemoteParent, Sampled, WireContext};

/// Reads the context of a request with these headers, in this order.
fn context(headers: &[(&str, &str)]) -> WireContext {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    extract(&headers)
}

/// A parent in words: `format trace span decision`, `-` for no span, `?` for a deferred decision.
fn words(parent: &RemoteParent) -> String {
    let format = match parent.format {
        ContextFormat::W3c => "w3c",
        ContextFormat::B3Single => "b3",
        ContextFormat::B3Multi => "b3-multi",
        ContextFormat::Jaeger => "jaeger",
        ContextFormat::Datadog => "datadog",
        ContextFormat::AwsXray => "aws",
        ContextFormat::GoogleCloud => "google",
        ContextFormat::GrpcTraceBin => "grpc",
    };
    let span = parent.span.map_or("-".to_owned(), |span| span.to_string());
    let sampled = match parent.sampled {
        Sampled::Yes => "yes",
        Sampled::No => "no",
        Sampled::Deferred => "?",
    };
    format!("{format} {} {span} {sampled}", parent.trace)
}
