//! Spans as OTLP/JSON, one `ExportTraceServiceRequest` a line, as the Collector's file exporter writes them.
//!
//! Written here rather than by the derives of `opentelemetry-proto`, which print every empty field.
//! Rules of the encoding (OTLP specification, "JSON Protobuf Encoding", and proto3's JSON mapping): ids in
//! hex, 64-bit numbers as text, enums as numbers, lowerCamelCase keys, empty fields left out.

use std::{
    fs::File,
    io::{self, Seek as _, Write},
    path::PathBuf,
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span::Link},
};

use super::{
    batch::Queue,
    otlp::mapping,
    report::{Counters, DropCause},
};
use crate::capture::input::HostInfo;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonDestination {
    /// Standard output (`json=-`).
    Stdout,
    /// A file, emptied at start.
    File(PathBuf),
}

impl JsonDestination {
    /// The destination of `--export json=TEXT`.
    pub fn parse(text: &str) -> Self {
        match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

/// The exporter to one file.
pub(crate) struct JsonExporter {
    host: HostInfo,
    output: Option<Output>,
}

enum Output {
    Stdout,
    /// The file, and its length up to the last whole line.
    File(File, u64),
}

impl JsonExporter {
    pub(crate) fn open(destination: &JsonDestination, host: &HostInfo) -> io::Result<Self> {
        let output = match destination {
            JsonDestination::Stdout => Output::Stdout,
            JsonDestination::File(path) => Output::File(File::create(path)?, 0),
        };
        Ok(Self {
            host: host.clone(),
            output: Some(output),
        })
    }

    /// Writes until the queue is closed and empty. A failure costs its batch; the next one is tried again,
    /// because a full disk may be emptied.
    pub(crate) async fn run(mut self, queue: &Queue, counters: &Arc<Counters>) {
        while let Some(spans) = queue.next_batch().await {
            let count = spans.len() as u64;
            let mut line = encode(&mapping::request(spans, &self.host));
            line.push(b'\n');
            let Some(mut output) = self.output.take() else {
                return;
            };
            // A pipe or a disk may block: not on the thread of the other exporters.
            let written = tokio::task::spawn_blocking(move || {
                let result = output.write_line(&line);
                (output, result)
            });
            let Ok((output, result)) = written.await else {
                return;
            };
            self.output = Some(output);
            match result {
                Ok(()) => counters.deliver(count),
                Err(error) => {
                    counters.drop_spans(DropCause::WriteFailed, count);
                    counters.notice(format!("{count} spans not written: {error}"));
                }
            }
        }
    }
}

impl Output {
    /// Writes the line or nothing: what a full disk took of it is cut off again.
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line)?;
                stdout.flush()
            }
            Self::File(file, whole) => match file.write_all(line) {
                Ok(()) => {
                    *whole += line.len() as u64;
                    Ok(())
                }
                Err(error) => {
                    cut(file, *whole);
                    Err(error)
                }
            },
        }
    }
}

/// Takes the file back to this length. Not every output can be cut (a pipe, `/dev/full`); the error that led
/// here is the one to report.
fn cut(file: &mut File, length: u64) {
    let _ = file.set_len(length);
    let _ = file.seek(io::SeekFrom::Start(length));
}

/// The request in OTLP/JSON, without a line feed.
pub fn encode(request: &ExportTraceServiceRequest) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    object(&mut out, |fields| {
        fields.list("resourceSpans", &request.resource_spans, resource_spans)
    });
    out
}

fn resource_spans(out: &mut Vec<u8>, group: &ResourceSpans) {
    object(out, |fields| {
        if let Some(resource) = &group.resource {
            fields.object("resource", |fields| {
                fields.list("attributes", &resource.attributes, key_value);
                fields.number("droppedAttributesCount", resource.dropped_attributes_count.into());
            });
        }
        fields.list("scopeSpans", &group.scope_spans, scope_spans);
        fields.text("schemaUrl", &group.schema_url);
    });
}

fn scope_spans(out: &mut Vec<u8>, group: &ScopeSpans) {
    object(out, |fields| {
        if let Some(scope) = &group.scope {
            fields.object("scope", |fields| {
                fields.text("name", &scope.name);
                fields.text("version", &scope.version);
                fields.list("attributes", &scope.attributes, key_value);
                fields.number("droppedAttributesCount", scope.dropped_attributes_count.into());
            });
        }
        fields.list("spans", &group.spans, span);
        fields.text("schemaUrl", &group.schema_url);
    });
}

fn span(out: &mut Vec<u8>, span: &OtlpSpan) {
    object(out, |fields| {
        fields.hex("traceId", &span.trace_id);
        fields.hex("spanId", &span.span_id);
        fields.text("traceState", &span.trace_state);
        fields.hex("parentSpanId", &span.parent_span_id);
        fields.number("flags", span.flags.into());
        fields.text("name", &span.name);
        fields.number("kind", span.kind.into());
        fields.long("startTimeUnixNano", span.start_time_unix_nano);
        fields.long("endTimeUnixNano", span.end_time_unix_nano);
        fields.list("attributes", &span.attributes, key_value);
        fields.number("droppedAttributesCount", span.dropped_attributes_count.into());
        fields.number("droppedEventsCount", span.dropped_events_count.into());
        fields.list("links", &span.links, link);
        fields.number("droppedLinksCount", span.dropped_links_count.into());
        // The Collector writes the status even if it is unset.
        fields.object("status", |fields| {
            let Some(Status { message, code }) = &span.status else {
                return;
            };
            fields.text("message", message);
            fields.number("code", (*code).into());
        });
    });
}

fn link(out: &mut Vec<u8>, link: &Link) {
    object(out, |fields| {
        fields.hex("traceId", &link.trace_id);
        fields.hex("spanId", &link.span_id);
        fields.text("traceState", &link.trace_state);
        fields.list("attributes", &link.attributes, key_value);
        fields.number("droppedAttributesCount", link.dropped_attributes_count.into());
        fields.number("flags", link.flags.into());
    });
}

fn key_value(out: &mut Vec<u8>, attribute: &KeyValue) {
    object(out, |fields| {
        fields.text("key", &attribute.key);
        if let Some(value) = &attribute.value {
            fields.key("value");
            any_value(fields.out, value);
        }
    });
}

fn any_value(out: &mut Vec<u8>, value: &AnyValue) {
    object(out, |fields| match &value.value {
        Some(Value::StringValue(text)) => {
            fields.key("stringValue");
            string(fields.out, text);
        }
        Some(Value::BoolValue(value)) => {
            fields.key("boolValue");
            fields
                .out
                .extend_from_slice(if *value { b"true" } else { b"false" });
        }
        Some(Value::IntValue(value)) => {
            fields.key("intValue");
            fields.out.extend_from_slice(format!("\"{value}\"").as_bytes());
        }
        Some(Value::DoubleValue(value)) => {
            fields.key("doubleValue");
            let text = match value {
                value if value.is_nan() => "\"NaN\"".to_owned(),
                value if value.is_infinite() && *value > 0.0 => "\"Infinity\"".to_owned(),
                value if value.is_infinite() => "\"-Infinity\"".to_owned(),
                value => value.to_string(),
            };
            fields.out.extend_from_slice(text.as_bytes());
        }
        Some(Value::ArrayValue(array)) => {
            fields.object("arrayValue", |fields| {
                fields.list("values", &array.values, any_value)
            });
        }
        // The mapping makes no others.
        Some(Value::KvlistValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_)) | None => {}
    });
}

fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Fields<'_>)) {
    out.push(b'{');
    fill(&mut Fields { out, is_first: true });
    out.push(b'}');
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing text to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// The fields of one JSON object; empty ones are left out.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl Fields<'_> {
    /// Keys are literals without characters to escape.
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.key(key);
            string(self.out, text);
        }
    }

    fn number(&mut self, key: &str, number: i64) {
        if number != 0 {
            self.key(key);
            self.out.extend_from_slice(number.to_string().as_bytes());
        }
    }

    fn long(&mut self, key: &str, number: u64) {
        if number != 0 {
            self.key(key);
            self.out.extend_from_slice(format!("\"{number}\"").as_bytes());
        }
    }

    fn hex(&mut self, key: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(key);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            string(self.out, &hex);
        }
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
        if items.is_empty() {
            return;
        }
        self.key(key);
        for (place, item) in items.iter().enumerate() {
            self.out.push(if place == 0 { b'[' } else { b',' });
            write(self.out, item);
        }
        self.out.push(b']');
    }

    fn object(&mut self, key: &str, fill: impl FnOnce(&mut Fields<'_>)) {
        self.key(key);
        object(self.out, fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::input::AttributeValue,
        export::tests::{checkout, host, process, span, text},
        spans::span::{SpanKind, SpanStatus},
    };

    #[test]
    fn a_line_is_otlp_json_to_the_letter() {
        let mut full = span(2, 1, &process(7, "shop"), SpanKind::Server, "/\"é\u{1}", (0, 1));
        full.tracestate = "a=b".into();
        full.status = SpanStatus::Error;
        full.attributes.push(("double", AttributeValue::Double(0.5)));
        full.attributes.push(("nan", AttributeValue::Double(f64::NAN)));
        full.attributes.push(("bool", AttributeValue::Bool(false)));
        full.attributes.push(("empty", text("")));
        full.attributes
            .push(("list", AttributeValue::List(["a".into(), String::new()].into())));
        let line = String::from_utf8(encode(&mapping::request(vec![full], &HostInfo::default()))).unwrap();
        let expected = concat!(
            r#"{"resourceSpans":[{"resource":{"attributes":["#,
            r#"{"key":"service.name","value":{"stringValue":"shop"}},"#,
            r#"{"key":"process.pid","value":{"intValue":"7"}},"#,
            r#"{"key":"process.executable.name","value":{"stringValue":"python3"}},"#,
            r#"{"key":"telemetry.distro.name","value":{"stringValue":"tracer-agent"}},"#,
            r#"{"key":"telemetry.distro.version","value":{"stringValue":""#,
            env!("CARGO_PKG_VERSION"),
            r#""}}]},"scopeSpans":[{"scope":{"name":"tracer-agent","version":""#,
            env!("CARGO_PKG_VERSION"),
            r#""},"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","#,
            r#""traceState":"a=b","parentSpanId":"0101010101010101","flags":769,"name":"GET","kind":2,"#,
            r#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000001000000","attributes":["#,
            r#"{"key":"http.request.method","value":{"stringValue":"GET"}},"#,
            r#"{"key":"http.response.status_code","value":{"intValue":"200"}},"#,
            r#"{"key":"url.path","value":{"stringValue":"/\"é\u0001"}},"#,
            r#"{"key":"double","value":{"doubleValue":0.5}},{"key":"nan","value":{"doubleValue":"NaN"}},"#,
            r#"{"key":"bool","value":{"boolValue":false}},{"key":"empty","value":{"stringValue":""}},"#,
            r#"{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":""}]}}}],"#,
            r#""status":{"code":2}}]}]}]}"#,
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn the_derives_of_the_official_messages_read_the_line_back() {
        let request = mapping::request(checkout(), &host());
        let mut read: ExportTraceServiceRequest = serde_json::from_slice(&encode(&request)).unwrap();
        let spans = read
            .resource_spans
            .iter_mut()
            .flat_map(|group| &mut group.scope_spans[0].spans);
        // `"status":{}` is an unset status, written out.
        spans.for_each(|span| span.status = span.status.take().filter(|status| *status != Status::default()));
        assert_eq!(read, request);
    }

    #[test]
    fn what_a_full_disk_took_of_a_line_is_cut_off_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.json");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{}\n{\"resourceSp").unwrap();
        cut(&mut file, 3);
        assert_eq!(std::fs::read(&path).unwrap(), b"{}\n");
        Output::File(file, 3).write_line(b"{\"next\":1}\n").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"{}\n{\"next\":1}\n");
    }
}
