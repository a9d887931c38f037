//! The rules of HTTP/1 exchanges, each on a script of what passed.

mod framing;
mod heads;
mod losses;
mod orders;
mod sampling;
mod wrong;

use crate::{
    capture::record::Record,
    connections::{Connections, Limits},
    ids::BootNanos,
    protocols::{
        Exchange, ExchangeEvent, ProtocolCounters, Protocols, Settings,
        exchange::{ConnectFailure, Ending, Failure},
    },
    testing::End,
};

/// What came out of a script.
pub(super) struct Outcome {
    events: Vec<ExchangeEvent>,
    counters: ProtocolCounters,
}

/// Both stages, run record by record.
pub(super) struct Stages {
    connections: Connections,
    protocols: Protocols,
    events: Vec<ExchangeEvent>,
}

impl Stages {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            connections: Connections::new(Limits::default()),
            protocols: Protocols::new(settings),
            events: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, end: &End) {
        self.feed_encoded(end.encoded());
    }

    pub(super) fn feed_encoded(&mut self, records: &[Vec<u8>]) {
        for record in records {
            let record = Record::decode(record).unwrap();
            self.protocols
                .push(self.connections.apply(&record), &mut self.events);
        }
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.protocols.tick(BootNanos(now), &mut self.events);
    }

    /// What came out, without an end of the run.
    pub(super) fn so_far(self) -> Outcome {
        Outcome {
            events: self.events,
            counters: *self.protocols.counters(),
        }
    }

    pub(super) fn finish(mut self) -> Outcome {
        self.protocols.finish(BootNanos(u64::MAX / 2), &mut self.events);
        assert_eq!(self.protocols.running(), 0, "something is running after the end");
        self.so_far()
    }
}

fn settings() -> Settings {
    Settings {
        captured_request_headers: vec!["x-id".into()],
        captured_response_headers: vec!["x-id".into()],
        ..Settings::default()
    }
}

/// The outcome of a script, before the end of the run.
fn run(end: &End) -> Outcome {
    let mut stages = Stages::new(settings());
    stages.feed(end);
    stages.so_far()
}

impl Outcome {
    fn begun(&self) -> Vec<&Exchange> {
        self.events
            .iter()
            .filter_map(|event| match event {
                ExchangeEvent::Begun(exchange) => Some(&**exchange),
                _ => None,
            })
            .collect()
    }

    /// Every exchange that ended, with its ending; fails if one ends that was not begun, or twice.
    fn ended(&self) -> Vec<(&Exchange, &Ending)> {
        let mut running = self.begun();
        let mut ended = Vec::new();
        for event in &self.events {
            if let ExchangeEvent::Ended(id, ending) = event {
                let place = running.iter().position(|exchange| exchange.id == *id).unwrap();
                ended.push((running.remove(place), ending));
            }
        }
        ended
    }

    fn connect_failures(&self) -> Vec<&ConnectFailure> {
        self.events
            .iter()
            .filter_map(|event| match event {
                ExchangeEvent::ConnectFailed(failure) => Some(&**failure),
                _ => None,
            })
            .collect()
    }

    /// One line an exchange: target, status, request body, response body, failure, `incomplete`.
    fn lines(&self) -> Vec<String> {
        let number = |size: Option<u64>| size.map_or("-".to_owned(), |size| size.to_string());
        self.ended()
            .iter()
            .map(|(exchange, ending)| {
                let status = ending
                    .response
                    .as_ref()
                    .map_or("-".to_owned(), |head| head.status.to_string());
                let failure = match ending.failure {
                    None => "",
                    Some(Failure::Closed) => " closed",
                    Some(Failure::Reset) => " reset",
                    Some(Failure::Unanswered) => " unanswered",
                    Some(Failure::Errno(_)) => " errno",
                    Some(Failure::StreamReset(_)) => " stream",
                };
                let (request, response) = (number(ending.request_body), number(ending.response_body));
                let incomplete = if ending.incomplete { " incomplete" } else { "" };
                format!(
                    "{} {status} {request} {response}{failure}{incomplete}",
                    exchange.request.target
                )
            })
            .collect()
    }
}
