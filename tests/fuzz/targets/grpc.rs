//! Calls by gRPC over HTTP/2 as their ends may make them, in any interleaving and cut anywhere. Each call is told as it was made; where
//! records get lost, what is told as whole is right.
#![no_main]

use std::collections::HashMap;

use fuzz::http2::{By, Call, Choices, Conversation, PREFACE, SETTINGS};
use fuzz::{Connection, data, open};
use libfuzzer_sys::fuzz_target;
use tracer_agent::capture::Record;
use tracer_agent::connections::{Connections, Limits};
use tracer_agent::protocols::exchange::{Ending, Exchange, Failure};
use tracer_agent::protocols::{ExchangeEvent, Grpc, Protocols, Settings};

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let first = choices.byte();
    let (is_server, loses) = (first & 1 != 0, first & 2 != 0);
    let mut talk = Talk::new(is_server);
    let mut conversation = Conversation::default();
    for (by, bytes) in [
        (By::Client, PREFACE),
        (By::Client, SETTINGS),
        (By::Server, SETTINGS),
    ] {
        talk.says(by, bytes);
        talk.passes(&mut choices, false);
    }
    while !choices.is_over() {
        let (by, bytes) = conversation.says(&mut choices);
        if by != talk.by {
            talk.passes(&mut choices, loses);
        }
        talk.says(by, &bytes);
        if choices.below(4) != 3 {
            talk.passes(&mut choices, loses);
        }
    }
    talk.passes(&mut choices, loses);
    talk.check(&conversation.calls, loses);
});

struct Talk {
    is_server: bool,
    by: By,
    /// What it has said and is still to pass.
    said: Vec<u8>,
    connection: Connection,
    connections: Connections,
    protocols: Protocols,
    events: Vec<ExchangeEvent>,
}

impl Talk {
    fn new(is_server: bool) -> Self {
        let mut connections = Connections::new(Limits::default());
        let open = open(is_server);
        connections.apply(&Record::decode(&open).expect("a record"));
        Self {
            is_server,
            by: By::Client,
            said: Vec::new(),
            connection: Connection::new(),
            connections,
            protocols: Protocols::new(Settings::default()),
            events: Vec::new(),
        }
    }

    fn says(&mut self, by: By, bytes: &[u8]) {
        self.by = by;
        self.said.extend(bytes);
    }

    /// In one call or in more, of which the records arrive or not.
    fn passes(&mut self, choices: &mut Choices<'_>, loses: bool) {
        let said = std::mem::take(&mut self.said);
        let sent = (self.by == By::Client) != self.is_server;
        let mut rest = said.as_slice();
        for _ in 0..choices.byte().saturating_sub(250) {
            let (piece, after) = rest.split_at(choices.below(rest.len() + 1));
            self.call(sent, piece, choices, loses);
            rest = after;
        }
        self.call(sent, rest, choices, loses);
    }

    fn call(&mut self, sent: bool, bytes: &[u8], choices: &mut Choices<'_>, loses: bool) {
        let (connections, protocols, events) = (&mut self.connections, &mut self.protocols, &mut self.events);
        self.connection.call(sent, bytes, &mut |record, captured| {
            if !(loses && choices.byte() > 240) {
                let record = data(record, captured);
                let record = Record::decode(&record).expect("a record");
                protocols.push(connections.apply(&record), events);
            }
        });
    }

    fn check(self, calls: &[Call], loses: bool) {
        let mut begun = HashMap::new();
        let mut ended = HashMap::new();
        for event in self.events {
            match event {
                ExchangeEvent::Begun(exchange) => {
                    let told = exchange.request.target.clone();
                    assert!(begun.insert(exchange.id, exchange).is_none(), "{told} twice");
                }
                ExchangeEvent::Ended(id, ending) => {
                    assert!(begun.contains_key(&id), "it ends before it begins");
                    assert!(ended.insert(id, ending).is_none(), "it ends twice");
                }
                _ => {}
            }
        }
        assert!(begun.len() <= calls.len(), "more than there were");
        let mut told = HashMap::new();
        for (id, exchange) in &begun {
            let path = exchange.request.target.as_str();
            if loses && exchange.incomplete {
                continue;
            }
            assert!(
                told.insert(path.to_owned(), (exchange, ended.get(id))).is_none(),
                "{path} twice"
            );
        }
        for (number, call) in calls.iter().enumerate() {
            match told.remove(&Call::path(number)) {
                Some((exchange, ending)) => agree(exchange, ending, call, loses),
                None => assert!(loses, "{number} is missing of {calls:?}"),
            }
        }
        assert!(told.is_empty(), "nobody asked for {:?}", told.keys());
    }
}

fn agree(exchange: &Exchange, ending: Option<&Ending>, call: &Call, loses: bool) {
    assert_eq!(exchange.request.method, "POST");
    assert_eq!(exchange.request.grpc, Some(Grpc::Native));
    assert_eq!(exchange.request.host.as_deref(), Some("shop:80"));
    let Some(ending) = ending else {
        assert!(loses || !call.is_over, "{call:?} has no end");
        return;
    };
    if loses && ending.incomplete {
        return;
    }
    assert!(call.is_over && !ending.incomplete, "{call:?} {ending:?}");
    assert_eq!(ending.failure, call.reset.map(Failure::StreamReset), "{call:?}");
    let known = |bytes: u64, is_whole: bool, is_padded: bool| (is_whole && !is_padded).then_some(bytes);
    let request = known(call.sent, call.was_sent, call.is_padded[0]);
    // What was lost last shows by nothing behind it, and what is not known to be whole has no size.
    assert!(
        ending.request_body == request || (loses && ending.request_body.is_none()),
        "{call:?} {ending:?}"
    );
    assert_eq!(
        ending.response_body,
        known(call.answered, call.reset.is_none(), call.is_padded[1]),
        "{call:?}"
    );
    if let Some(response) = &ending.response {
        assert_eq!((response.status, response.grpc_status), (200, call.grpc_status));
    } else {
        assert!(call.reset.is_some(), "{call:?} {ending:?}");
    }
}
