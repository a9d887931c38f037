//! Spans as OTLP/JSON, which the agent writes and Jaeger answers with.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The trace and the span, in hex.
pub type SpanId = (String, String);

/// A span. What is compared is all that was exported; what is looked at by itself comes from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub parent: String,
    pub service: String,
    pub is_server: bool,
    pub is_error: bool,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    /// Whether there was an answer over HTTP.
    pub is_answered: bool,
    whole: Value,
}

pub type Spans = BTreeMap<SpanId, Span>;

impl Span {
    #[expect(
        clippy::cast_precision_loss,
        reason = "spans of a test are far shorter than 2^52 ns"
    )]
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }
}

/// The spans of these requests, each an `ExportTraceServiceRequest` or what has its fields.
pub fn read(requests: impl IntoIterator<Item = Value>) -> Result<Spans> {
    let mut spans = Spans::new();
    for mut request in requests {
        sort_attributes(&mut request);
        for of_resource in list(&request, "resourceSpans") {
            let resource = of_resource.get("resource").context("no resource")?;
            for of_scope in list(of_resource, "scopeSpans") {
                for span in list(of_scope, "spans") {
                    let whole = json!({"resource": resource, "scope": of_scope.get("scope"), "span": span});
                    let id = (text(span, "traceId").to_owned(), text(span, "spanId").to_owned());
                    let read = read_span(resource, span, whole);
                    spans.insert(id, read.with_context(|| format!("span {span}"))?);
                }
            }
        }
    }
    Ok(spans)
}

fn read_span(resource: &Value, span: &Value, whole: Value) -> Result<Span> {
    let service = attribute(resource, "service.name").context("no name of a service")?;
    Ok(Span {
        parent: text(span, "parentSpanId").to_owned(),
        service: text(service, "stringValue").to_owned(),
        is_server: span.get("kind") == Some(&json!(2)),
        is_error: span.pointer("/status/code") == Some(&json!(2)),
        start: text(span, "startTimeUnixNano").parse()?,
        end: text(span, "endTimeUnixNano").parse()?,
        is_answered: attribute(span, "http.response.status_code").is_some(),
        whole,
    })
}

/// Their traces, each with how many of these spans it has.
pub fn traces(spans: &Spans) -> BTreeMap<String, usize> {
    let mut traces = BTreeMap::new();
    for (trace, _) in spans.keys() {
        *traces.entry(trace.clone()).or_default() += 1;
    }
    traces
}

fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    list(of, "attributes")
        .find(|attribute| text(attribute, "key") == key)?
        .get("value")
}

/// Their order says nothing.
fn sort_attributes(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(sort_attributes),
        Value::Object(fields) => {
            if let Some(Value::Array(attributes)) = fields.get_mut("attributes") {
                attributes.sort_by(|one, other| text(one, "key").cmp(text(other, "key")));
            }
            fields.values_mut().for_each(sort_attributes);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of one span with these attributes under this parent.
    fn request(parent: &str, keys: [&str; 2]) -> Value {
        let attributes = keys.map(|key| json!({"key": key, "value": {"intValue": "200"}}));
        json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"scope": {}, "spans": [{
                "traceId": "01", "spanId": "02", "parentSpanId": parent, "kind": 2, "status": {"code": 2},
                "startTimeUnixNano": "1000", "endTimeUnixNano": "501000", "attributes": attributes,
            }]}],
        }]})
    }

    #[test]
    fn spans_are_the_same_in_whatever_order_their_attributes_are() {
        let code = "http.response.status_code";
        let spans = read([request("03", [code, "a"])]).unwrap();
        assert_eq!(spans, read([request("03", ["a", code])]).unwrap());
        assert_ne!(spans, read([request("04", [code, "a"])]).unwrap());
        assert_ne!(spans, read([request("03", [code, "b"])]).unwrap());
        let span = &spans[&("01".to_owned(), "02".to_owned())];
        assert!(span.is_server && span.is_error && span.is_answered);
        assert_eq!((span.service.as_str(), span.parent.as_str()), ("shop", "03"));
        assert_eq!(span.seconds(), 0.0005);
        assert_eq!(traces(&spans), BTreeMap::from([("01".to_owned(), 1)]));
    }
}
