//! The spans of a json export, as far as the judge looks at them.

use std::fmt;

use serde::Deserialize;

use super::Claim;

/// One exported span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSpan {
    /// Its trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// The parent it names, in hex.
    pub parent: Option<String>,
    /// Which end of the call it is.
    pub kind: Kind,
    /// What the link to its parent was found by: `tracer.link.evidence`.
    pub evidence: Option<String>,
    /// How likely that link says to be right: `tracer.link.confidence`.
    pub claim: Option<Claim>,
    /// What it may belong under, where no parent was sure enough: the span, in hex, and how likely.
    pub candidates: Vec<(String, Claim)>,
    /// The path that was called: `url.path`, the path of `url.full`, or that of a method of gRPC.
    pub path: Option<String>,
}

/// Which end of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// OTLP `SPAN_KIND_SERVER`
    Server,
    /// OTLP `SPAN_KIND_CLIENT`
    Client,
}

/// A line that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Not OTLP/JSON.
    #[error("a line of the export is not OTLP/JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A span of a kind that this agent never exports.
    #[error("span {id} has kind {kind}, neither server (2) nor client (3)")]
    Kind {
        /// The span, in hex.
        id: String,
        /// Its kind.
        kind: u32,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

impl SeenSpan {
    pub(super) fn is(&self, (path, kind): (&str, Kind)) -> bool {
        self.path.as_deref() == Some(path) && self.kind == kind
    }

    pub(super) fn told(&self) -> String {
        format!("{} {}", self.kind, self.path.as_deref().unwrap_or("without path"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    #[serde(default)]
    kind: u32,
    #[serde(default)]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    span_id: String,
    #[serde(default)]
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    string_value: Option<String>,
    /// A number, or the name of what is none.
    double_value: Option<serde_json::Value>,
}

fn text<'value>(attributes: &'value [KeyValue], key: &str) -> Option<&'value str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.string_value.as_deref()
}

fn claim(attributes: &[KeyValue]) -> Option<Claim> {
    let mut all = attributes.iter();
    let attribute = all.find(|attribute| attribute.key == "tracer.link.confidence")?;
    Claim::new(attribute.value.double_value.as_ref()?.as_f64()?)
}

/// Adds the spans of one line.
pub(super) fn read_line(line: &str, spans: &mut Vec<SeenSpan>) -> Result<(), ExportError> {
    let request: Request = serde_json::from_str(line)?;
    let groups = request
        .resource_spans
        .into_iter()
        .flat_map(|group| group.scope_spans);
    for span in groups.flat_map(|group| group.spans) {
        let kind = match span.kind {
            2 => Kind::Server,
            3 => Kind::Client,
            kind => {
                return Err(ExportError::Kind {
                    id: span.span_id,
                    kind,
                });
            }
        };
        let text = |key| text(&span.attributes, key);
        let candidates = span.links.iter();
        let candidates = candidates.filter_map(|link| Some((link.span_id.clone(), claim(&link.attributes)?)));
        let path = text("url.path").or_else(|| path_of(text("url.full")?));
        let method = || text("rpc.method").map(|method| format!("/{method}"));
        spans.push(SeenSpan {
            path: path.map(ToOwned::to_owned).or_else(method),
            evidence: text("tracer.link.evidence").map(ToOwned::to_owned),
            claim: claim(&span.attributes),
            candidates: candidates.collect(),
            trace: span.trace_id,
            parent: Some(span.parent_span_id).filter(|parent| !parent.is_empty()),
            id: span.span_id,
            kind,
        });
    }
    Ok(())
}

/// `http://host:port/path?query`
fn path_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.get(rest.find('/')?..)?;
    path.split(['?', '#']).next()
}
