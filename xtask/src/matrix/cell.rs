//! One client with one server: what was asked, what was exported of it, and whether that is right.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::parts::{Http, Part, WEBSOCKET};

/// Of a POST, as `matrix.py` has it.
const BODY_BYTES: &str = "3000";

/// A client with a server, by which TLS and HTTP.
#[derive(Clone, Copy)]
pub struct Cell {
    pub client: &'static Part,
    pub server: &'static Part,
    pub tls: &'static str,
    pub http: Http,
}

/// What came of it.
pub enum Outcome {
    /// As is to be expected: both ends, or the reason why one or both are not visible.
    Right,
    /// There is no such cell: one of both does not speak this.
    Impossible(String),
    /// Not tried.
    Skipped(String),
    /// What is not as it is to be.
    Wrong(Vec<String>),
}

/// A line of what `matrix.py` prints.
#[derive(Deserialize)]
pub struct Told {
    pub client: String,
    /// `METHOD PATH STATUS VERSION` of each request.
    #[serde(default)]
    pub answered: Vec<String>,
    pub failed: Option<String>,
}

/// An exported span, as far as it is looked at. Attributes are texts whatever their type is.
#[derive(Default)]
pub struct Span {
    id: String,
    parent: String,
    is_server: bool,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// `url.path`, or that of `url.full`.
    pub fn path(&self) -> &str {
        let full = self.attribute("url.full").strip_prefix("https://127.0.0.1:");
        match full.and_then(|rest| Some(rest.split_at(rest.find('/')?).1)) {
            Some(path) => path,
            None => self.attribute("url.path"),
        }
    }

    /// As the client tells of a request.
    fn told(&self) -> String {
        format!(
            "{} {} {} {}",
            self.attribute("http.request.method"),
            self.path(),
            self.attribute("http.response.status_code"),
            self.attribute("network.protocol.version"),
        )
    }

    fn is_https(&self) -> bool {
        self.attribute("url.scheme") == "https" || self.attribute("url.full").starts_with("https://")
    }

    /// Whether it was tried if the server is there already.
    pub fn is_refused(&self) -> bool {
        self.attribute("error.type") == "ECONNREFUSED"
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_server { "server" } else { "client" };
        write!(out, "{end} {}", self.told())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, http, .. } = self;
        let (client, server) = (self.client.name, self.server.name);
        match *http {
            WEBSOCKET => write!(out, "{client} to {server}, TLS {tls}, WebSocket"),
            _ => write!(out, "{client} to {server}, TLS {tls}, HTTP/{http}"),
        }
    }
}

impl Cell {
    /// Why there is none, if so.
    pub fn impossible(&self) -> Option<String> {
        let speaks = |part: &Part| part.http.contains(&self.http);
        let silent = [self.client, self.server]
            .into_iter()
            .find(|part| !speaks(part))?;
        Some(format!("{} speaks no HTTP/{}", silent.name, self.http))
    }

    /// What of it is to be seen, as the table has it.
    pub fn expected(&self) -> String {
        match (self.client.library.unseen(), self.server.library.unseen()) {
            (None, None) => "both".to_owned(),
            (None, Some(reason)) => format!("client; server not visible: {reason}"),
            (Some(reason), None) => format!("server; client not visible: {reason}"),
            (Some(client), Some(server)) if client == server => format!("not visible: {client}"),
            (Some(client), Some(server)) => format!("not visible: {client}, {server}"),
        }
    }

    /// What all of its paths begin with.
    pub fn prefix(&self) -> String {
        format!("/{}/", self.client.name)
    }

    /// Ends of its connections that turned to WebSocket where that is seen.
    pub fn ends_turned(&self, told: &[Told]) -> usize {
        let own = told.iter().filter(|told| told.client == self.client.name);
        let connections: usize = own.map(|told| told.answered.len()).sum();
        let is_seen = |part: &Part| usize::from(part.library.unseen().is_none());
        connections * (is_seen(self.client) + is_seen(self.server))
    }

    /// Compares what was asked with what was exported.
    pub fn judge(&self, told: &Told, spans: &[Span]) -> Outcome {
        if let Some(failed) = &told.failed {
            return Outcome::Wrong(vec![format!("the client failed: {failed}")]);
        }
        if told.answered.is_empty() {
            return Outcome::Wrong(vec!["nothing was asked".to_owned()]);
        }
        let prefix = self.prefix();
        let own = |is_server| {
            let own = spans
                .iter()
                .filter(|span| span.is_server == is_server && span.path().starts_with(&prefix));
            own.collect::<Vec<_>>()
        };
        let (clients, servers) = (own(false), own(true));
        let mut faults = Vec::new();
        for (part, end, seen) in [
            (self.client, "client", &clients),
            (self.server, "server", &servers),
        ] {
            let expected = match part.library.unseen() {
                None => told.answered.as_slice(),
                Some(_) => &[],
            };
            faults.extend(differences(expected, seen).map(|fault| format!("{end}: {fault}")));
            faults.extend(seen.iter().filter_map(|span| flaw(span)));
        }
        for span in &clients {
            if !span.parent.is_empty() {
                faults.push(format!("{span} has a parent"));
            }
        }
        for span in &servers {
            let parent = clients.iter().find(|client| client.id == span.parent);
            match (self.client.library.unseen(), parent) {
                (Some(_), _) if span.parent.is_empty() => {}
                (None, Some(parent)) if parent.path() == span.path() => {
                    let evidence = span.attribute("tracer.link.evidence");
                    if evidence != "connection" {
                        faults.push(format!("{span} is linked by {evidence}"));
                    }
                }
                _ => faults.push(format!("{span} is not under its call")),
            }
        }
        if faults.is_empty() {
            Outcome::Right
        } else {
            Outcome::Wrong(faults)
        }
    }
}

/// Requests without a span, and spans without a request.
fn differences(expected: &[String], seen: &[&Span]) -> impl Iterator<Item = String> {
    let mut counts = BTreeMap::<String, i32>::new();
    for request in expected {
        *counts.entry(request.clone()).or_default() += 1;
    }
    for span in seen {
        *counts.entry(span.told()).or_default() -= 1;
    }
    counts.into_iter().filter_map(|(request, count)| match count {
        0 => None,
        1.. => Some(format!("no span of {request}")),
        ..0 => Some(format!("a span of {request}, which was not asked, or once more")),
    })
}

/// What is wrong about a span by itself.
fn flaw(span: &Span) -> Option<String> {
    let body = span.attribute("http.request.body.size");
    if !span.is_https() {
        Some(format!("{span} is not https"))
    } else if !span.attribute("tracer.incomplete").is_empty() {
        Some(format!("{span} is incomplete"))
    } else if span.attribute("http.request.method") == "POST" && body != BODY_BYTES {
        Some(format!("{span} has a body of {body:?} bytes"))
    } else {
        None
    }
}

/// The spans of a json export.
pub fn read(export: &str) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for line in export.lines().filter(|line| !line.trim().is_empty()) {
        let request: Value = serde_json::from_str(line).context("a line of the export is not JSON")?;
        let resources = list(&request, "resourceSpans");
        let scopes = resources.flat_map(|resource| list(resource, "scopeSpans"));
        spans.extend(scopes.flat_map(|scope| list(scope, "spans")).map(one));
    }
    Ok(spans)
}

fn one(span: &Value) -> Span {
    let text = |key| {
        let text = span.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let attributes = list(span, "attributes").filter_map(|attribute| {
        let key = attribute.get("key")?.as_str()?;
        let value = attribute.get("value")?.as_object()?.values().next()?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((key.to_owned(), text))
    });
    Span {
        id: text("spanId"),
        parent: text("parentSpanId"),
        is_server: span.get("kind").and_then(Value::as_u64) == Some(2),
        attributes: attributes.collect(),
    }
}

fn list<'value>(of: &'value Value, key: &str) -> impl Iterator<Item = &'value Value> {
    of.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::parts::{CLIENTS, SERVERS, TABLES, TLS};
    use super::*;

    fn named(parts: &'static [Part], name: &str) -> &'static Part {
        parts.iter().find(|part| part.name == name).unwrap()
    }

    fn cell(client: &str, server: &str) -> Cell {
        Cell {
            client: named(CLIENTS, client),
            server: named(SERVERS, server),
            tls: TLS[0],
            http: "1.1",
        }
    }

    fn told(client: &str) -> Told {
        Told {
            client: client.to_owned(),
            answered: vec![format!("GET /{client}/0/404 404 1.1")],
            failed: None,
        }
    }

    fn span(client: &str, is_server: bool, parent: &str) -> Span {
        let attributes = [
            ("http.request.method", "GET"),
            ("http.response.status_code", "404"),
            ("network.protocol.version", "1.1"),
            ("url.scheme", "https"),
            ("tracer.link.evidence", "connection"),
        ];
        let mut attributes: BTreeMap<_, _> = attributes
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let path = format!("/{client}/0/404");
        if is_server {
            attributes.insert("url.path".to_owned(), path);
        } else {
            attributes.insert("url.full".to_owned(), format!("https://127.0.0.1:4433{path}"));
        }
        Span {
            id: if is_server { "b" } else { "a" }.to_owned(),
            parent: parent.to_owned(),
            is_server,
            attributes,
        }
    }

    fn is_right(cell: Cell, spans: &[Span]) -> bool {
        matches!(cell.judge(&told(cell.client.name), spans), Outcome::Right)
    }

    #[test]
    fn where_both_ends_are_visible_each_request_is_a_pair() {
        let cell = cell("curl", "nginx");
        let pair = || [span("curl", false, ""), span("curl", true, "a")];
        assert!(is_right(cell, &pair()));
        assert!(!is_right(cell, &pair()[..1]));
        assert!(!is_right(cell, &pair()[1..]));
        assert!(!is_right(cell, &[]));
        assert!(!is_right(
            cell,
            &[pair(), pair()].into_iter().flatten().collect::<Vec<_>>()
        ));
    }

    #[test]
    fn a_server_span_is_under_its_call_by_the_connection() {
        let cell = cell("curl", "nginx");
        assert!(!is_right(
            cell,
            &[span("curl", false, ""), span("curl", true, "")]
        ));
        let mut other = span("curl", true, "a");
        other
            .attributes
            .insert("tracer.link.evidence".to_owned(), "timing".to_owned());
        assert!(!is_right(cell, &[span("curl", false, ""), other]));
    }

    fn of_websocket(server: &str) -> Cell {
        let [_, table] = &TABLES;
        Cell {
            client: named(table.clients, "coder"),
            server: named(table.servers, server),
            tls: TLS[0],
            http: WEBSOCKET,
        }
    }

    fn turned(path: &str) -> Told {
        Told {
            answered: vec![format!("GET {path} 101 1.1")],
            ..told("coder")
        }
    }

    #[test]
    fn of_websocket_the_request_that_turns_to_it_is_a_pair_and_nothing_after_it_a_span() {
        let cell = of_websocket("hypercorn");
        let at = |path: &str, is_server, parent| {
            let mut span = span("coder", is_server, parent);
            let told = [("url.path", path), ("http.response.status_code", "101")];
            span.attributes
                .extend(told.map(|(key, value)| (key.to_owned(), value.to_owned())));
            span.attributes.remove("url.full");
            span
        };
        let pair = || vec![at("/coder/0/101", false, ""), at("/coder/0/101", true, "a")];
        let judged = |spans: &[Span]| cell.judge(&turned("/coder/0/101"), spans);
        assert!(matches!(judged(&pair()), Outcome::Right));
        assert!(matches!(judged(&pair()[..1]), Outcome::Wrong(_)));
        for is_server in [false, true] {
            let mut more = pair();
            more.push(at("/coder/0/101/within", is_server, ""));
            assert!(matches!(judged(&more), Outcome::Wrong(_)));
        }
        let mut refused = pair();
        for span in &mut refused {
            let status = "http.response.status_code".to_owned();
            span.attributes.insert(status, "400".to_owned());
        }
        assert!(matches!(judged(&refused), Outcome::Wrong(_)));
    }

    #[test]
    fn both_ends_of_a_connection_turn_to_websocket_where_they_are_seen() {
        let told = [turned("/coder/0/101"), told("ws")];
        assert_eq!(of_websocket("gorilla").ends_turned(&told), 2);
        assert_eq!(of_websocket("gorilla").ends_turned(&told[1..]), 0);
        let unseen = Cell {
            server: named(SERVERS, "java"),
            ..of_websocket("gorilla")
        };
        assert_eq!(unseen.ends_turned(&told), 1);
    }

    #[test]
    fn what_is_said_to_be_not_visible_has_no_span() {
        let cell = cell("reqwest-rustls", "nginx");
        let server = || span("reqwest-rustls", true, "");
        assert!(is_right(cell, &[server()]));
        assert!(!is_right(cell, &[span("reqwest-rustls", false, ""), server()]));
        let neither = self::cell("java", "java");
        assert!(is_right(neither, &[]));
        assert!(!is_right(neither, &[span("java", true, "")]));
    }

    #[test]
    fn another_status_or_version_is_wrong() {
        let cell = cell("curl", "java");
        assert!(is_right(cell, &[span("curl", false, "")]));
        for (key, value) in [
            ("http.response.status_code", "200"),
            ("network.protocol.version", "2"),
            ("tracer.incomplete", "response"),
        ] {
            let mut other = span("curl", false, "");
            other.attributes.insert(key.to_owned(), value.to_owned());
            assert!(!is_right(cell, &[other]), "{key} {value}");
        }
    }

    #[test]
    fn a_client_that_failed_is_wrong_and_one_that_asked_nothing_too() {
        let cell = cell("java", "java");
        let failed = Told {
            failed: Some("ended with 1".to_owned()),
            ..told("java")
        };
        let nothing = Told {
            answered: Vec::new(),
            ..told("java")
        };
        for told in [failed, nothing] {
            assert!(matches!(cell.judge(&told, &[]), Outcome::Wrong(_)));
        }
    }
}
