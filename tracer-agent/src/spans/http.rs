//! The attributes of HTTP spans, to the letter of the stable conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::net::SocketAddr;

use crate::{
    capture::input::AttributeValue,
    protocols::exchange::{Ending, Exchange, Request, Side},
};

use super::{
    Settings, error_type,
    url::{self, Authority, Target},
};

/// Plaintext is all that is read.
const SCHEME: &str = "http";

/// The part of a span that its exchange decides.
pub struct Description {
    pub name: String,
    pub attributes: Vec<(&'static str, AttributeValue)>,
    pub header_attributes: Vec<(String, AttributeValue)>,
    pub is_error: bool,
}

/// Describes a request and its response.
pub fn describe(exchange: &Exchange, ending: &Ending, settings: &Settings) -> Description {
    let request = &exchange.request;
    let target = Target::parse(&request.method, &request.target);
    let is_known = settings.known_methods.contains(&request.method);
    let method = if is_known {
        request.method.as_str()
    } else {
        "_OTHER"
    };
    // A template names what the path alone decides; the asterisk and CONNECT forms have none.
    let route = settings.routes.iter().find(|route| route.matches(target.path));
    let route = route.map(|route| route.template());
    let status = ending.response.as_ref().map(|response| response.status);
    let error = error_type::of(exchange.side, status, ending.failure);
    let server = Server::of(exchange, &target);

    let mut attributes = Attributes::default();
    attributes.text("http.request.method", method);
    if !is_known {
        attributes.text("http.request.method_original", &request.method);
    }
    match exchange.side {
        Side::Inbound => {
            attributes.text("url.path", path(request, &target));
            if let Some(query) = target.query {
                attributes.text("url.query", &url::query(query, settings.redact_query));
            }
            attributes.text("url.scheme", server.scheme);
            attributes.some_text("http.route", route);
        }
        Side::Outbound => {
            let port = server.written_port;
            let url = url::full(
                server.scheme,
                &target,
                &server.address,
                port,
                settings.redact_query,
            );
            attributes.text("url.full", &url);
            attributes.some_text("url.template", route);
        }
    }
    attributes.text("server.address", &server.address);
    attributes.some_number("server.port", server.port.map(u64::from));
    if exchange.side == Side::Inbound {
        attributes.text("client.address", &url::socket(exchange.peer).0);
        attributes.some_text("user_agent.original", request.user_agent.as_deref());
    }
    peer(&mut attributes, exchange.peer);
    attributes.text("network.protocol.version", version(request.minor_version));
    attributes.some_number("http.response.status_code", status.map(u64::from));
    if settings.body_sizes {
        attributes.some_number("http.request.body.size", ending.request_body);
        attributes.some_number("http.response.body.size", ending.response_body);
    }
    attributes.some_text("error.type", error.as_deref());

    let response_headers = ending
        .response
        .as_ref()
        .map(|response| response.captured_headers.as_slice());
    let mut header_attributes = headers("http.request.header.", &request.captured_headers);
    header_attributes.extend(headers(
        "http.response.header.",
        response_headers.unwrap_or_default(),
    ));
    let name = if is_known { method } else { "HTTP" };
    Description {
        name: route.map_or_else(|| name.to_owned(), |route| format!("{name} {route}")),
        attributes: attributes.0,
        header_attributes,
        is_error: error.is_some(),
    }
}

/// The peer of a connection.
pub fn peer(attributes: &mut Attributes, peer: SocketAddr) {
    let (address, port) = url::socket(peer);
    attributes.text("network.peer.address", &address);
    attributes.some_number("network.peer.port", Some(u64::from(port)));
}

/// Attributes in the order in which they are exported.
#[derive(Default)]
pub struct Attributes(pub Vec<(&'static str, AttributeValue)>);

impl Attributes {
    pub fn text(&mut self, key: &'static str, value: &str) {
        self.0.push((key, AttributeValue::Text(value.to_owned())));
    }

    pub fn some_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub fn some_number(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            self.0.push((key, AttributeValue::Int(value)));
        }
    }
}

/// The server as the client named it: in an absolute target, else in `Host`, else the socket.
struct Server<'a> {
    scheme: &'a str,
    address: String,
    port: Option<u16>,
    /// The port as a URL writes it: only where the client did, or where the socket is all there is.
    written_port: Option<u16>,
}

impl<'a> Server<'a> {
    fn of(exchange: &'a Exchange, target: &Target<'a>) -> Self {
        let scheme = target.scheme.unwrap_or(SCHEME);
        let host = exchange.request.host.as_deref();
        let named = target.authority.or_else(|| host.and_then(Authority::parse));
        if let Some(Authority { host, port }) = named {
            return Self {
                scheme,
                address: host.to_owned(),
                port: port.or_else(|| url::default_port(scheme)),
                written_port: port,
            };
        }
        let (address, port) = url::socket(match exchange.side {
            Side::Inbound => exchange.local,
            Side::Outbound => exchange.peer,
        });
        Self {
            scheme,
            address,
            port: Some(port),
            written_port: Some(port).filter(|port| url::default_port(scheme) != Some(*port)),
        }
    }
}

/// The path, which is required: an empty one of an absolute form means the root (RFC 9110 section 4.2.3).
fn path<'a>(request: &'a Request, target: &Target<'a>) -> &'a str {
    match (request.target.as_str(), target.path) {
        ("*", _) => "*",
        (_, "") if target.scheme.is_some() => "/",
        (_, path) => path,
    }
}

const fn version(minor: u8) -> &'static str {
    match minor {
        0 => "1.0",
        _ => "1.1",
    }
}

/// One attribute a header name, with all its values, in the order in which the names came first.
fn headers(prefix: &str, headers: &[(String, String)]) -> Vec<(String, AttributeValue)> {
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in headers {
        let key = format!("{prefix}{name}");
        match lists.iter_mut().find(|(other, _)| *other == key) {
            Some((_, values)) => values.push(value.clone()),
            None => lists.push((key, vec![value.clone()])),
        }
    }
    let list = |(key, values)| (key, AttributeValue::List(values));
    lists.into_iter().map(list).collect()
}
