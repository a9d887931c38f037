//! The exported spans as a test looks at them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// One exported span. Attributes are texts whatever their type is: a test compares them with what it knows.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    /// `service.name` of its resource.
    pub service: String,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Server,
    Client,
    Other,
}

impl Span {
    /// An attribute, empty where it is absent.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// `GET 200`, as a test lists its spans.
    pub fn summary(&self) -> String {
        let status = self.attribute("http.response.status_code");
        format!("{} {status}", self.attribute("http.request.method"))
    }
}

/// Reads the lines of a json export, each an `ExportTraceServiceRequest`.
pub fn read(export: &str) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for line in export.lines().filter(|line| !line.trim().is_empty()) {
        let request: Value = serde_json::from_str(line).context("a line of the export is not JSON")?;
        for resource in list(&request, "resourceSpans") {
            let attributes = attributes(resource.get("resource").unwrap_or(&Value::Null));
            let service = attributes.get("service.name").cloned().unwrap_or_default();
            for span in list(resource, "scopeSpans").flat_map(|scope| list(scope, "spans")) {
                spans.push(one(span, service.clone())?);
            }
        }
    }
    Ok(spans)
}

fn one(span: &Value, service: String) -> Result<Span> {
    let text = |key: &str| {
        span.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let time = |key: &str| -> Result<u64> {
        text(key)
            .parse()
            .with_context(|| format!("{key} is not a decimal text"))
    };
    Ok(Span {
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        kind: match span.get("kind").and_then(Value::as_u64) {
            Some(2) => Kind::Server,
            Some(3) => Kind::Client,
            _ => Kind::Other,
        },
        start: time("startTimeUnixNano")?,
        end: time("endTimeUnixNano")?,
        service,
        attributes: attributes(span),
    })
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    list(of, "attributes")
        .filter_map(|attribute| {
            let key = attribute.get("key")?.as_str()?;
            let (_, value) = attribute.get("value")?.as_object()?.iter().next()?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            Some((key.to_owned(), text))
        })
        .collect()
}

fn list<'value>(of: &'value Value, key: &str) -> impl Iterator<Item = &'value Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}
