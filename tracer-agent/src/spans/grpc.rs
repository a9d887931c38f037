//! The attributes of calls by gRPC and gRPC-Web, by the conventions for RPC as of their release candidate
//! (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>).

use crate::{
    privacy::{Privacy, segment},
    protocols::{
        Grpc,
        exchange::{Ending, Exchange, Failure, Request, Side},
    },
};

use super::{
    Settings, error_type,
    http::{self, Attributes, Description, Server},
    routes::Routes,
    url::{self, Target},
};

/// The names of status codes, by number (<https://grpc.io/docs/guides/status-codes/>).
const STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Those that are the fault of a server.
const OF_SERVER: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// The longest name of a method with its service.
const LONGEST: usize = 256;
/// What stands for a method of a service that is called by too many.
const OTHER: &str = "_OTHER";

/// The method that a call names, with its service: `package.Service/Method`. `None` for what is no call, or has another path.
pub fn method(request: &Request) -> Option<&str> {
    let method = request
        .target
        .strip_prefix('/')
        .filter(|_| request.grpc.is_some())?;
    let (service, name) = method.split_once('/')?;
    // An identifier of Protocol Buffers; what is anything else, or looks like a secret, names nothing.
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(is_of_name)
            && segment::kept(part.as_bytes(), false) == part.len()
    };
    (method.len() <= LONGEST && is_plain(service) && is_plain(name)).then_some(method)
}

/// Describes a call and its outcome.
pub fn describe(
    method: &str,
    exchange: &Exchange,
    ending: &Ending,
    service: &str,
    routes: &mut Routes,
    settings: &Settings,
) -> Description {
    let request = &exchange.request;
    let response = ending.response.as_ref();
    let code = response.and_then(|response| response.grpc_status);
    let error = error(exchange.side, code, ending);
    let target = Target::parse(&request.method, &request.target);
    let server = Server::of(exchange, &target);
    let peer = url::socket(exchange.peer);
    let is_known = routes.has_method(service, exchange.side, method);
    let method = if is_known { method } else { OTHER };
    let is_client_told = settings.privacy != Privacy::Strict;

    let mut attributes = Attributes::default();
    attributes.text("rpc.system.name", "grpc");
    attributes.text("rpc.method", method.to_owned());
    attributes.some_text("rpc.response.status_code", code.map(status));
    if request.grpc == Some(Grpc::Web) {
        // Most often all that is known of how it ended.
        let status = response.map(|response| u64::from(response.status));
        attributes.some_number("http.response.status_code", status);
    }
    attributes.some_text(
        "server.address",
        Some(server.address).filter(|address| !address.is_empty()),
    );
    attributes.some_number("server.port", server.port.map(u64::from));
    if exchange.side == Side::Inbound && is_client_told {
        attributes.some_text(
            "client.address",
            peer.as_ref().map(|(address, _)| address.clone()),
        );
    }
    match peer {
        Some(_) if exchange.side == Side::Inbound && !is_client_told => {}
        Some((address, port)) => http::peer(&mut attributes, address, port),
        None => http::unix_peer(&mut attributes, exchange),
    }
    let is_error = error.is_some();
    attributes.some_text("error.type", error);

    let metadata = response.map(|response| response.captured_headers.as_slice());
    let mut header_attributes = http::headers(
        "rpc.request.metadata.",
        &request.captured_headers,
        settings.privacy,
    );
    header_attributes.extend(http::headers(
        "rpc.response.metadata.",
        metadata.unwrap_or_default(),
        settings.privacy,
    ));
    Description {
        name: if is_known {
            method.to_owned().into()
        } else {
            "grpc".into()
        },
        attributes,
        header_attributes,
        is_error,
    }
}

/// The name of a status code, or its number where it has none.
fn status(code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| STATUS.get(code));
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

/// `error.type`: why there is no whole response, else the status of the call, else that of the response.
fn error(side: Side, code: Option<u32>, ending: &Ending) -> Option<String> {
    let is_failure = |code: &u32| match side {
        Side::Inbound => OF_SERVER.contains(code),
        Side::Outbound => *code != 0,
    };
    let http = ending.response.as_ref().map(|response| response.status);
    // A stream may be reset when all has been said.
    let failure = ending
        .failure
        .filter(|failure| code.is_none() || !matches!(failure, Failure::StreamReset(_)));
    match (failure, code) {
        (None, Some(code)) => Some(code).filter(is_failure).map(status),
        (failure, _) => error_type::of(side, http, failure).map(String::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_a_service_and_a_name() {
        let named = |target: &str, grpc| {
            let request = Request {
                target: target.into(),
                grpc,
                ..Request::default()
            };
            method(&request).map(str::to_owned)
        };
        for grpc in [Grpc::Native, Grpc::Web] {
            assert_eq!(
                named("/a.b.Shop/Buy", Some(grpc)).as_deref(),
                Some("a.b.Shop/Buy")
            );
        }
        for other in [
            "",
            "/",
            "/Buy",
            "//Buy",
            "/a.b.Shop/",
            "/a/b/c",
            "/a/b?token=1",
            "a/b",
            "/a.b.Shop/Buy%20it",
            "/reset/9f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert_eq!(named(other, Some(Grpc::Native)), None, "{other}");
        }
        assert_eq!(named("/a.b.Shop/Buy", None), None);
    }

    #[test]
    fn the_fault_of_a_client_is_no_error_of_the_server() {
        let ending = Ending {
            end: crate::ids::BootNanos(1),
            response: None,
            response_task: None,
            coroutine: None,
            maker: None,
            moment: None,
            request_body: None,
            response_body: None,
            failure: None,
            incomplete: false,
        };
        for (code, server, client) in [
            (0, None, None),
            (5, None, Some("NOT_FOUND")),
            (14, Some("UNAVAILABLE"), Some("UNAVAILABLE")),
            (99, None, Some("99")),
        ] {
            assert_eq!(error(Side::Inbound, Some(code), &ending).as_deref(), server);
            assert_eq!(error(Side::Outbound, Some(code), &ending).as_deref(), client);
        }
    }
}
