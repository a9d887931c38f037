//! Metrics to a backend by OTLP, once an interval. What could not be delivered is told by the next, since all counters count from the start; so a
//! request is tried again until the next is due, and no queue is needed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::watch, time::Instant};

use super::{
    Board, Family, Kind, Unit, Value,
    family::text,
    otlp::{self, Moment},
};
use crate::{
    capture::input::HostInfo,
    export::otlp::{
        ClientError, OtlpSettings, Protocol,
        client::{self, Client},
        retry::{self, Verdict},
    },
};

/// Says to a person what they want to know once.
pub type Notify = Arc<dyn Fn(String) + Send + Sync>;

/// Sends what is on the board.
pub struct Push {
    client: Client,
    protocol: Protocol,
    host: HostInfo,
    of_agent: Vec<(String, String)>,
    board: Arc<Board>,
    unix_now: fn() -> u64,
    notify: Notify,
    delivered: u64,
    failed: u64,
    /// The last request did not arrive; a person was told.
    is_failing: bool,
}

impl Push {
    /// Must be made inside the runtime. `of_agent` are attributes of the agent's own resource; `unix_now` is the clock that requests are stamped by.
    ///
    /// # Errors
    /// If the files for TLS cannot be used.
    pub fn new(
        settings: &OtlpSettings,
        (host, of_agent): (HostInfo, Vec<(String, String)>),
        board: Arc<Board>,
        unix_now: fn() -> u64,
        notify: Notify,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(settings)?,
            protocol: settings.protocol,
            host,
            of_agent,
            board,
            unix_now,
            notify,
            delivered: 0,
            failed: 0,
            is_failing: false,
        })
    }

    /// Sends once an interval, and a last time when `ending` says until when that may take.
    pub async fn run(mut self, interval: Duration, mut ending: watch::Receiver<Option<Instant>>) {
        let mut due = Instant::now() + interval;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    due = (due + interval).max(Instant::now());
                    // An end that is asked for in the middle of it sends anew, with the last counts.
                    tokio::select! {
                        () = self.send(due) => (),
                        _ = ending.changed() => (),
                    }
                }
                _ = ending.changed() => (),
            }
            let last = *ending.borrow();
            if let Some(deadline) = last {
                return self.send(deadline).await;
            }
            if ending.has_changed().is_err() {
                return;
            }
        }
    }

    /// Sends what is there now, trying until then.
    async fn send(&mut self, until: Instant) {
        let body = self.encode();
        let mut attempt = 1;
        loop {
            let sent = tokio::time::timeout_at(until, self.client.attempt(body.clone())).await;
            let (after, why) = match sent {
                Ok(Verdict::Delivered { rejected, message }) => {
                    self.delivered += 1;
                    self.is_failing = rejected > 0;
                    if rejected > 0 {
                        let words = retry::clipped(&message);
                        (self.notify)(format!("{rejected} data points rejected: {words}"));
                    }
                    return;
                }
                Ok(Verdict::Refused { why }) => return self.fail(&why),
                Ok(Verdict::Retry { after, why }) => (after, why),
                Err(_) => return self.fail("no answer before the next was due"),
            };
            let wait = after.unwrap_or_else(|| retry::backoff(attempt, client::random()));
            if Instant::now() + wait >= until {
                return self.fail(&why);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn fail(&mut self, why: &str) {
        self.failed += 1;
        if !self.is_failing {
            (self.notify)(format!("metrics not delivered, the next will tell all: {why}"));
        }
        self.is_failing = true;
    }

    fn encode(&self) -> Bytes {
        let told = self.board.told();
        let exports = self.exports();
        let moment = Moment {
            unix_ns: (self.unix_now)(),
            since_unix_ns: self.board.started_unix_ns(),
        };
        let families = told.families().chain([&exports]);
        let request = otlp::request(families, &self.host, &self.of_agent, moment);
        self.client.prepare(match self.protocol {
            Protocol::HttpJson => serde_json::to_vec(&request).unwrap_or_default(),
            Protocol::Grpc | Protocol::HttpProtobuf => request.encode_to_vec(),
        })
    }

    fn exports(&self) -> Family {
        Family::new(
            "tracer.agent.metrics.exports",
            Kind::Counter,
            Unit::None,
            "Requests of metrics to the backend, by outcome.",
        )
        .with([("outcome", text("delivered"))], Value::Whole(self.delivered))
        .with([("outcome", text("failed"))], Value::Whole(self.failed))
    }
}
