//! The attributes of HTTP spans, to the letter of the stable conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::borrow::Cow;

use compact_str::CompactString;

use crate::{
    capture::input::AttributeValue,
    privacy::{Privacy, REDACTED, header},
    protocols::exchange::{Cover, Ending, Exchange, Request, Side, Version},
};

use super::{
    Settings, error_type, grpc,
    path::{Asked, Told},
    routes::Routes,
    url::{self, Authority, Target},
};

/// Attributes that a span usually has at most.
const USUAL_ATTRIBUTES: usize = 16;
/// The schemes of what is read, by what was around it.
const SCHEME: &str = "http";
const SCHEME_OF_TLS: &str = "https";

/// The part of a span that its exchange decides.
pub struct Description {
    pub name: Cow<'static, str>,
    pub attributes: Attributes,
    pub header_attributes: Vec<(String, AttributeValue)>,
    pub is_error: bool,
}

/// Describes a request and its response, seen in a service whose routes these are.
pub fn describe(
    exchange: &Exchange,
    ending: &Ending,
    service: &str,
    routes: &mut Routes,
    settings: &Settings,
) -> Description {
    if let Some(method) = grpc::method(&exchange.request) {
        return grpc::describe(method, exchange, ending, service, routes, settings);
    }
    let request = &exchange.request;
    let target = Target::parse(&request.method, &request.target);
    let known = settings
        .known_methods
        .iter()
        .find(|known| **known == request.method);
    let method = known.cloned().unwrap_or(Cow::Borrowed("_OTHER"));
    let is_told = !request.method.is_empty();
    let status = ending.response.as_ref().map(|response| response.status);
    let error = error_type::of(exchange.side, status, ending.failure);
    let server = Server::of(exchange, &target);
    let peer = url::socket(exchange.peer);
    let privacy = settings.privacy;
    let path = path(request, &target);
    let asked = Asked {
        service,
        side: exchange.side,
        host: &server.address,
        status,
    };
    let told = Told::of(path.unwrap_or_default(), asked, routes, settings);
    let route = told.route.as_deref();

    let mut attributes = Attributes::default();
    if is_told {
        attributes.text("http.request.method", method.clone());
    }
    if known.is_none() && is_told {
        attributes.text("http.request.method_original", request.method.clone());
    }
    match exchange.side {
        Side::Inbound => {
            attributes.some_text("url.path", path.map(|_| &*told.path));
            if let Some(query) = target.query {
                attributes.text("url.query", url::query(query, privacy));
            }
            attributes.text("url.scheme", server.scheme);
            attributes.some_text("http.route", route);
        }
        Side::Outbound => {
            let port = server.written_port;
            // A path is no host of a URL.
            let host = if server.is_path {
                "localhost"
            } else {
                &server.address
            };
            // An absolute form without a path is written without one.
            let shown = if target.path.is_empty() { "" } else { &told.path };
            let url = || url::full(server.scheme, &target, host, port, shown, privacy);
            attributes.some_text("url.full", (!request.target.is_empty()).then(url));
            attributes.some_text("url.template", route);
        }
    }
    if told.is_learned {
        attributes
            .0
            .push(("tracer.route.learned", AttributeValue::Bool(true)));
    }
    attributes.some_text(
        "server.address",
        Some(server.address).filter(|address| !address.is_empty()),
    );
    attributes.some_number("server.port", server.port.map(u64::from));
    let is_client_told = privacy != Privacy::Strict;
    if exchange.side == Side::Inbound && is_client_told {
        attributes.some_text(
            "client.address",
            peer.as_ref().map(|(address, _)| address.clone()),
        );
        attributes.some_text("user_agent.original", request.user_agent.clone());
    }
    match peer {
        Some(_) if exchange.side == Side::Inbound && !is_client_told => {}
        Some((address, port)) => self::peer(&mut attributes, address, port),
        None => unix_peer(&mut attributes, exchange),
    }
    attributes.text("network.protocol.version", version(request.version));
    attributes.some_number("http.response.status_code", status.map(u64::from));
    if settings.body_sizes {
        attributes.some_number("http.request.body.size", ending.request_body);
        attributes.some_number("http.response.body.size", ending.response_body);
    }
    let is_error = error.is_some();
    attributes.some_text("error.type", error);

    let response_headers = ending
        .response
        .as_ref()
        .map(|response| response.captured_headers.as_slice());
    let mut header_attributes = headers("http.request.header.", &request.captured_headers, privacy);
    header_attributes.extend(headers(
        "http.response.header.",
        response_headers.unwrap_or_default(),
        privacy,
    ));
    let name = known.map_or(Cow::Borrowed("HTTP"), |_| method);
    Description {
        name: match route {
            Some(route) => [&name, " ", route].concat().into(),
            None => name,
        },
        attributes,
        header_attributes,
        is_error,
    }
}

/// The peer of a connection.
pub fn peer(attributes: &mut Attributes, address: CompactString, port: u16) {
    attributes.text("network.peer.address", address);
    attributes.some_number("network.peer.port", Some(u64::from(port)));
}

/// The peer of a connection between Unix sockets: the server has a path, the client none.
pub(super) fn unix_peer(attributes: &mut Attributes, exchange: &Exchange) {
    attributes.text("network.transport", "unix");
    if exchange.side == Side::Outbound {
        attributes.some_text("network.peer.address", exchange.path.as_deref());
    }
}

/// Attributes in the order in which they are exported.
pub struct Attributes(pub Vec<(&'static str, AttributeValue)>);

impl Default for Attributes {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_ATTRIBUTES))
    }
}

impl Attributes {
    pub fn text(&mut self, key: &'static str, value: impl Into<CompactString>) {
        self.0.push((key, AttributeValue::Text(value.into())));
    }

    pub fn some_text(&mut self, key: &'static str, value: Option<impl Into<CompactString>>) {
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
pub(super) struct Server<'a> {
    scheme: &'a str,
    /// Empty where nothing tells it.
    pub address: CompactString,
    /// It is that of a Unix socket.
    is_path: bool,
    pub port: Option<u16>,
    /// The port as a URL writes it: only where the client did, or where the socket is all there is.
    written_port: Option<u16>,
}

impl<'a> Server<'a> {
    pub fn of(exchange: &'a Exchange, target: &Target<'a>) -> Self {
        let scheme = target.scheme.or(exchange.request.scheme.as_deref());
        let scheme = scheme.unwrap_or(match exchange.cover {
            Cover::None => SCHEME,
            Cover::Tls | Cover::Apart => SCHEME_OF_TLS,
        });
        let host = exchange.request.host.as_deref();
        let named = target.authority.or_else(|| host.and_then(Authority::of_header));
        if let Some(Authority { host, port }) = named {
            return Self {
                scheme,
                address: host.into(),
                is_path: false,
                // A Unix socket has none, whatever the client says.
                port: port.or_else(|| url::default_port(scheme).filter(|_| exchange.peer.host().is_some())),
                written_port: port,
            };
        }
        let socket = url::socket(match exchange.side {
            Side::Inbound => exchange.local,
            Side::Outbound => exchange.peer,
        });
        let port = socket.as_ref().map(|(_, port)| *port);
        let is_path = socket.is_none();
        let path = || exchange.path.as_deref().unwrap_or_default().into();
        Self {
            scheme,
            address: socket.map_or_else(path, |(address, _)| address),
            is_path,
            port,
            written_port: port.filter(|port| url::default_port(scheme) != Some(*port)),
        }
    }
}

/// The path, where it is known: an empty one of an absolute form means the root (RFC 9110 section 4.2.3).
fn path<'a>(request: &'a Request, target: &Target<'a>) -> Option<&'a str> {
    match (request.target.as_str(), target.path) {
        ("", _) => None,
        ("*", _) => Some("*"),
        (_, "") if target.scheme.is_some() => Some("/"),
        (_, path) => Some(path),
    }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::Http1(0) => "1.0",
        Version::Http1(_) => "1.1",
        Version::Http2 => "2",
    }
}

/// One attribute a header name, with all its values, in the order in which the names came first. Credentials are not shown, though
/// they were asked for: that they were there is told.
pub(super) fn headers(
    prefix: &str,
    headers: &[(String, String)],
    privacy: Privacy,
) -> Vec<(String, AttributeValue)> {
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in headers {
        let key = format!("{prefix}{name}");
        let shown = if header::is_credential(name) {
            REDACTED.to_owned()
        } else if header::is_url(name) {
            url::in_header(value, privacy)
        } else {
            value.clone()
        };
        match lists.iter_mut().find(|(other, _)| *other == key) {
            Some((_, values)) => values.push(shown),
            None => lists.push((key, vec![shown])),
        }
    }
    let list = |(key, values): (_, Vec<_>)| (key, AttributeValue::List(values.into()));
    lists.into_iter().map(list).collect()
}
