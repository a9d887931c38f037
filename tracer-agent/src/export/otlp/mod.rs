//! OTLP: batches to a backend, over gRPC or HTTP, until it has them or the retries are used up.

use std::{io, path::PathBuf};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::time::Instant;

use self::{
    endpoints::{Endpoints, Outcome},
    retry::Verdict,
};
use super::{
    batch::Queue,
    json,
    report::{Counters, DropCause},
};
use crate::{capture::input::HostInfo, spans::Span};

pub mod answer;
pub(crate) mod client;
pub mod connect;
pub mod durable;
pub mod encode;
mod endpoints;
pub mod grpc;
pub mod http;
pub mod mapping;
pub mod proxy;
pub mod retry;
pub mod settings;
pub mod tls;

pub(crate) use durable::Disk;
pub use durable::DiskSettings;
pub use settings::{Compression, OtlpSettings, Place, Protocol, SettingsError, Signal};

/// Says to backends who sends.
const USER_AGENT: &str = concat!("tracer-agent/", env!("CARGO_PKG_VERSION"));

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the TLS settings cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The TLS settings do not make sense.
    #[error("TLS settings of the OTLP exporter: {0}")]
    Tls(String),
}

impl ClientError {
    fn tls(error: impl std::error::Error + 'static) -> Self {
        Self::Tls(http::reason(&error))
    }
}

/// The exporter to one destination.
pub(crate) struct OtlpExporter {
    endpoints: Endpoints,
    protocol: Protocol,
    host: HostInfo,
}

/// How the delivery of one batch ended.
enum Delivery {
    Settled,
    /// The run ends before the backend would listen again.
    GivenUp,
}

/// For how long a batch is tried.
struct Patience {
    until: Instant,
    /// What it is lost by then.
    cause: DropCause,
}

impl OtlpExporter {
    /// Must be made inside the runtime.
    pub(crate) fn new(settings: &OtlpSettings, host: &HostInfo) -> Result<Self, ClientError> {
        Ok(Self {
            endpoints: Endpoints::new(settings)?,
            protocol: settings.protocol,
            host: host.clone(),
        })
    }

    /// Delivers until the queue is closed and empty; by way of the disk if there is one.
    pub(crate) async fn run(mut self, disk: Option<Disk>, queue: &Queue, counters: &Counters) {
        if let Some(disk) = disk {
            return durable::run(&mut self, &disk, queue, counters).await;
        }
        while let Some(spans) = queue.next_batch().await {
            let count = spans.len() as u64;
            let body = self.encode(spans);
            let patience = Patience {
                until: Instant::now() + retry::GIVE_UP_AFTER,
                cause: DropCause::Unreachable,
            };
            if let Delivery::GivenUp = self.deliver(body, count, patience, queue, counters).await {
                return;
            }
        }
    }

    fn encode(&self, spans: Vec<Span>) -> Bytes {
        let body = match self.protocol {
            Protocol::HttpJson => json::encode(&mapping::request(spans, &self.host)),
            Protocol::Grpc | Protocol::HttpProtobuf => encode::request(&spans, &self.host),
        };
        self.endpoints.prepare(body)
    }

    /// The same for a request that was encoded in protobuf before.
    fn body(&self, request: &Bytes) -> Bytes {
        match self.protocol {
            Protocol::HttpJson => {
                // What was encoded here, and has its checksum, can be decoded.
                let request = ExportTraceServiceRequest::decode(request.clone()).unwrap_or_default();
                self.endpoints.prepare(json::encode(&request))
            }
            Protocol::Grpc | Protocol::HttpProtobuf => self.endpoints.prepare(request.clone()),
        }
    }

    async fn deliver(
        &mut self,
        body: Bytes,
        count: u64,
        patience: Patience,
        queue: &Queue,
        counters: &Counters,
    ) -> Delivery {
        let mut attempts: u32 = 0;
        let mut failure = None;
        loop {
            let outcome = self.endpoints.ask(body.clone(), count, counters).await;
            if attempts > 0 && !matches!(outcome, Outcome::AllRest(_)) {
                counters.retry();
            }
            match outcome {
                Outcome::Settled(verdict) => {
                    if let Some(why) = failure {
                        counters.notice(why);
                    }
                    settle(verdict, count, counters);
                    return Delivery::Settled;
                }
                Outcome::Failed { why } => {
                    attempts = attempts.saturating_add(1);
                    failure = Some(why);
                }
                Outcome::AllRest(until) => {
                    let why = failure.take();
                    if until > patience.until {
                        let why = why.as_deref().unwrap_or("it wants to be left alone for longer");
                        counters.drop_spans(patience.cause, count);
                        counters.notice(format!("{count} spans given up after {attempts} attempts: {why}"));
                        return Delivery::Settled;
                    }
                    if let Some(why) = why {
                        counters.notice(format!("not delivered, trying again: {why}"));
                    }
                    if let Delivery::GivenUp = wait_until(until, queue).await {
                        return Delivery::GivenUp;
                    }
                }
            }
        }
    }
}

fn settle(verdict: Verdict, count: u64, counters: &Counters) {
    let (rejected, message) = match verdict {
        Verdict::Delivered { rejected, message } => (rejected, message),
        Verdict::Refused { why } | Verdict::Retry { why, .. } => {
            counters.drop_spans(DropCause::Refused, count);
            counters.notice(format!("{count} spans refused: {why}"));
            return;
        }
    };
    let rejected = rejected.min(count);
    counters.deliver(count - rejected);
    counters.drop_spans(DropCause::Rejected, rejected);
    let words = retry::clipped(&message);
    if rejected > 0 {
        counters.notice(format!("{rejected} of {count} spans rejected: {words}"));
    } else if !words.is_empty() {
        counters.notice(format!("the backend warns: {words}"));
    }
}

/// Waits, unless the run would be over by then.
async fn wait_until(again_at: Instant, queue: &Queue) -> Delivery {
    loop {
        if queue.closing().is_some_and(|deadline| again_at >= deadline) {
            return Delivery::GivenUp;
        }
        if tokio::time::timeout_at(again_at, queue.changed()).await.is_err() {
            return Delivery::Settled;
        }
    }
}
