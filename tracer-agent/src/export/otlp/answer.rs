//! What backends say besides a status: partial success, and `google.rpc.Status` with its details.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::retry::Verdict;

/// `google.rpc.Status`, the body of an error.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For developers.
    #[prost(string, tag = "2")]
    pub message: String,
    /// `google.protobuf.Any` each.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// Its last segment is the full name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, prost::Message)]
pub struct RetryInfo {
    /// The least time to wait.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProtoDuration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds besides.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Verdict on the body of a success; that of metrics has the same fields under the same tags. A body that cannot be read is a success all the same.
pub fn success(body: &[u8], is_json: bool) -> Verdict {
    let response = match is_json {
        true => serde_json::from_slice::<JsonResponse>(body)
            .ok()
            .map(JsonResponse::rejected),
        false => ExportTraceServiceResponse::decode(body)
            .ok()
            .and_then(|response| response.partial_success)
            .map(|partial| (partial.rejected_spans, partial.error_message)),
    };
    let (rejected, message) = response.unwrap_or_default();
    Verdict::Delivered {
        rejected: u64::try_from(rejected).unwrap_or_default(),
        message,
    }
}

/// The delay of the `RetryInfo` in the details of a gRPC status, if there is one.
pub fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice())
        .ok()?
        .retry_delay
        .unwrap_or_default();
    Some(Duration::new(
        u64::try_from(delay.seconds).unwrap_or_default(),
        u32::try_from(delay.nanos).unwrap_or_default().min(999_999_999),
    ))
}

/// The words in the body of an error: a `google.rpc.Status` in protobuf or JSON, or plain text.
pub fn error_words(body: &[u8], content_type: &str) -> String {
    #[derive(serde::Deserialize)]
    struct JsonStatus {
        message: String,
    }
    match content_type {
        "application/x-protobuf" => RpcStatus::decode(body)
            .map(|status| status.message)
            .unwrap_or_default(),
        "application/json" => serde_json::from_slice::<JsonStatus>(body)
            .map(|status| status.message)
            .unwrap_or_default(),
        "text/plain" => String::from_utf8_lossy(body).into_owned(),
        _ => String::new(),
    }
}

/// `ExportTraceServiceResponse` in OTLP/JSON, where 64-bit numbers may be texts.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResponse {
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonPartialSuccess {
    #[serde(alias = "rejectedDataPoints")]
    rejected_spans: serde_json::Value,
    error_message: String,
}

impl JsonResponse {
    fn rejected(self) -> (i64, String) {
        let partial = self.partial_success.unwrap_or_default();
        let rejected = match &partial.rejected_spans {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_i64(),
        };
        (rejected.unwrap_or_default(), partial.error_message)
    }
}
