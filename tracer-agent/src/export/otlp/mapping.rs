//! Spans to the messages of OTLP: grouped by process, which is the resource, under one scope. JSON is made from
//! them; [`super::encode`] writes the same in protobuf without them.

use std::{collections::HashMap, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span, status::StatusCode},
};

use crate::{
    capture::input::{AttributeValue, HostInfo, ProcessInfo},
    ids::SpanId,
    spans::{
        Span,
        span::{SpanKind, SpanLink, SpanStatus},
    },
};

/// Name of the instrumentation scope and of the distribution.
const NAME: &str = "tracer-agent";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`: the parent is remote.
const IS_REMOTE: u32 = 0x200;

/// The request that carries these spans; resources in the order in which their first spans come.
pub fn request(spans: Vec<Span>, host: &HostInfo) -> ExportTraceServiceRequest {
    let mut places = HashMap::<usize, usize, foldhash::fast::RandomState>::default();
    let mut groups: Vec<(Arc<ProcessInfo>, Vec<OtlpSpan>)> = Vec::new();
    for span in spans {
        let place = *places
            .entry(Arc::as_ptr(&span.process).addr())
            .or_insert_with(|| {
                groups.push((span.process.clone(), Vec::new()));
                groups.len() - 1
            });
        if let Some((_, group)) = groups.get_mut(place) {
            group.push(otlp_span(span));
        }
    }
    ExportTraceServiceRequest {
        resource_spans: groups
            .into_iter()
            .map(|(process, spans)| ResourceSpans {
                resource: Some(resource(&process, host)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            })
            .collect(),
    }
}

/// Who has made the spans.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: NAME.into(),
        version: VERSION.into(),
        ..Default::default()
    }
}

/// What the process says of itself wins over what is true of its host; no key comes twice.
///
/// There is no `telemetry.sdk.*`: it names the SDK inside the process, and there is none. The agent is
/// named by `telemetry.distro.*` and the scope.
pub(crate) fn resource(process: &ProcessInfo, host: &HostInfo) -> Resource {
    let mut attributes = Vec::with_capacity(process.resource.len() + 8);
    if !process.service_name.is_empty() {
        attributes.push(attribute("service.name", text(&process.service_name)));
    }
    for (key, value) in &process.resource {
        if !attributes.iter().any(|known: &KeyValue| known.key == *key) {
            attributes.push(attribute(key, any_value(value.clone())));
        }
    }
    for (key, value) in [
        ("host.name", host.host_name.as_str()),
        ("host.id", host.host_id.as_deref().unwrap_or_default()),
        ("host.arch", &host.host_arch),
        ("os.type", &host.os_type),
        ("os.version", &host.os_version),
        ("telemetry.distro.name", NAME),
        ("telemetry.distro.version", VERSION),
    ] {
        if !value.is_empty() && !attributes.iter().any(|known| known.key == key) {
            attributes.push(attribute(key, text(value)));
        }
    }
    Resource {
        attributes,
        ..Default::default()
    }
}

/// The flags of the trace, and whether the parent is remote.
pub(super) fn flags(span: &Span) -> u32 {
    let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
    u32::from(span.trace_flags) | HAS_IS_REMOTE | remote
}

fn otlp_span(span: Span) -> OtlpSpan {
    let flags = flags(&span);
    let mut attributes = Vec::with_capacity(span.attributes.len() + span.header_attributes.len());
    attributes.extend(
        span.attributes
            .into_iter()
            .map(|(key, value)| attribute(key, any_value(value))),
    );
    attributes.extend(span.header_attributes.into_iter().map(|(key, value)| KeyValue {
        key,
        value: Some(any_value(value)),
        ..Default::default()
    }));
    OtlpSpan {
        flags,
        trace_id: span.trace.bytes().to_vec(),
        span_id: span.id.bytes().to_vec(),
        trace_state: span.tracestate,
        parent_span_id: span
            .parent
            .map(SpanId::bytes)
            .map_or_else(Vec::new, |id| id.to_vec()),
        name: span.name.into_owned(),
        kind: match span.kind {
            SpanKind::Server => span::SpanKind::Server,
            SpanKind::Client => span::SpanKind::Client,
        }
        .into(),
        start_time_unix_nano: span.start_unix_ns,
        end_time_unix_nano: span.end_unix_ns,
        attributes,
        links: span.links.into_iter().map(otlp_link).collect(),
        status: match span.status {
            SpanStatus::Unset => None,
            SpanStatus::Error => Some(Status {
                code: StatusCode::Error.into(),
                ..Default::default()
            }),
        },
        ..Default::default()
    }
}

/// Flags stay 0: neither the trace flags of the candidate nor whether it is remote is known.
fn otlp_link(link: SpanLink) -> span::Link {
    span::Link {
        trace_id: link.trace.bytes().to_vec(),
        span_id: link.span.bytes().to_vec(),
        attributes: link
            .attributes
            .into_iter()
            .map(|(key, value)| attribute(key, any_value(value)))
            .collect(),
        ..Default::default()
    }
}

pub(crate) fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(value),
        ..Default::default()
    }
}

fn text(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text.into())),
    }
}

pub(crate) fn any_value(value: AttributeValue) -> AnyValue {
    let value = match value {
        AttributeValue::Bool(value) => Value::BoolValue(value),
        AttributeValue::Int(value) => Value::IntValue(value),
        AttributeValue::Double(value) => Value::DoubleValue(value),
        AttributeValue::Text(value) => Value::StringValue(value.into_string()),
        AttributeValue::List(values) => Value::ArrayValue(ArrayValue {
            values: values.iter().map(|value| text(value)).collect(),
        }),
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{checkout, host, process, span, text};

    #[test]
    fn spans_are_grouped_by_process_in_the_order_of_their_first_spans() {
        let request = request(checkout(), &host());
        let groups: Vec<_> = request
            .resource_spans
            .iter()
            .map(|group| {
                let service = &group.resource.as_ref().unwrap().attributes[0];
                (
                    service.key.as_str(),
                    service.value.clone().unwrap(),
                    group.scope_spans[0].spans.len(),
                )
            })
            .collect();
        let expected = [
            ("gateway", 3),
            ("auth", 1),
            ("orders", 3),
            ("inventory", 1),
            ("payment", 2),
        ]
        .map(|(service, count)| ("service.name", super::text(service), count));
        assert_eq!(groups, expected);
        let scope = request.resource_spans[0].scope_spans[0].scope.as_ref().unwrap();
        assert_eq!(
            (scope.name.as_str(), scope.version.as_str()),
            ("tracer-agent", VERSION)
        );
    }

    #[test]
    fn two_processes_of_one_service_are_two_resources() {
        let spans = [1, 2].map(|pid| span(1, 0, &process(pid, "shop"), SpanKind::Server, "/", (0, 1)));
        assert_eq!(request(spans.into(), &host()).resource_spans.len(), 2);
    }

    #[test]
    fn the_process_wins_over_its_host_and_no_key_comes_twice() {
        let mut info = ProcessInfo::clone(&process(1, "shop"));
        for key in ["host.name", "host.name", "service.name", "telemetry.distro.name"] {
            info.resource.push((key.into(), text("mine")));
        }
        let keys: Vec<_> = resource(&info, &host())
            .attributes
            .into_iter()
            .map(|attribute| (attribute.key, attribute.value.unwrap() == super::text("mine")))
            .collect();
        let expected = [
            ("service.name", false),
            ("process.pid", false),
            ("process.executable.name", false),
            ("host.name", true),
            ("telemetry.distro.name", true),
            ("host.id", false),
            ("host.arch", false),
            ("os.type", false),
            ("os.version", false),
            ("telemetry.distro.version", false),
        ];
        assert_eq!(keys, expected.map(|(key, mine)| (key.to_owned(), mine)));
    }

    #[test]
    fn flags_say_whether_the_parent_is_remote() {
        let spans: Vec<_> = request(checkout(), &host())
            .resource_spans
            .into_iter()
            .flat_map(|mut group| group.scope_spans.remove(0).spans)
            .collect();
        let flags = |id: u8| spans.iter().find(|span| span.span_id == [id; 8]).unwrap().flags;
        assert_eq!(flags(1), 0x101, "a root");
        assert_eq!(flags(2), 0x101, "a child in the same process");
        assert_eq!(flags(3), 0x301, "a child over the network");
    }
}
