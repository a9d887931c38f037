//! Reads the head of a message: httparse where it takes it, else [`super::lenient`].

use std::mem::MaybeUninit;

use compact_str::CompactString;
use httparse::{Error, Header, ParserConfig, Status};

use super::lenient;
use crate::protocols::{
    Settings,
    exchange::{Request, Response, Version, WireContext},
    grpc::Grpc,
    propagation,
};

/// Headers for which there is room without an allocation.
const USUAL_HEADERS: usize = 64;

/// The head of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Head {
    Request(RequestHead),
    Response(ResponseHead),
}

#[derive(Debug, PartialEq)]
pub(super) struct RequestHead {
    pub request: Request,
    pub context: WireContext,
    pub body: Coding,
}

#[derive(Debug, PartialEq)]
pub(super) struct ResponseHead {
    pub response: Response,
    pub body: Coding,
    /// It says that the answer follows in HTTP/2.
    pub turns_to_http2: bool,
}

/// What a head says of the length of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// Nothing, or nothing valid.
    #[default]
    Unsaid,
    /// Content-Length, without a Transfer-Encoding that overrides it (RFC 9112 §6.3).
    Length(u64),
    /// A Transfer-Encoding.
    Transfer,
    /// The part of the head that would say is missing.
    Unseen,
}

/// Whether a head is that of a response, from its first bytes.
pub(super) fn is_response(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/")
}

/// Reads a head. Of one that is `cut`, everything up to the last whole line is read. `None` when there is no
/// start line of HTTP/1 in it.
pub(super) fn read(head: &[u8], cut: bool, settings: &Settings) -> Option<Head> {
    let whole;
    let head = if cut {
        whole = lenient::without_cut_line(head);
        &whole
    } else {
        head
    };
    if is_response(head) {
        response(head, settings).map(Head::Response)
    } else {
        request(head, settings).map(Head::Request)
    }
}

fn request(head: &[u8], settings: &Settings) -> Option<RequestHead> {
    let config = ParserConfig::default();
    let mut few = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let mut many;
    let mut parsed = httparse::Request::new(&mut []);
    let mut status = config.parse_request_with_uninit_headers(&mut parsed, head, &mut few);
    if status == Err(Error::TooManyHeaders) {
        many = room_for_every_line(head);
        parsed = httparse::Request::new(&mut []);
        status = config.parse_request_with_uninit_headers(&mut parsed, head, &mut many);
    }
    if let (Ok(Status::Complete(_)), Some(method), Some(target), Some(minor_version)) =
        (status, parsed.method, parsed.path, parsed.version)
    {
        let line = (method.into(), target.into(), minor_version);
        return Some(request_of(line, parsed.headers, settings));
    }
    let unfolded = lenient::unfolded(head);
    let mut lines = lenient::lines(&unfolded);
    let line = lenient::request_line(lines.next()?)?;
    Some(request_of(line, &lenient::headers(lines, false), settings))
}

fn response(head: &[u8], settings: &Settings) -> Option<ResponseHead> {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    let mut few = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let mut many;
    let mut parsed = httparse::Response::new(&mut []);
    let mut status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut few);
    if status == Err(Error::TooManyHeaders) {
        many = room_for_every_line(head);
        parsed = httparse::Response::new(&mut []);
        status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut many);
    }
    if let (Ok(Status::Complete(_)), Some(code @ 100..=999)) = (status, parsed.code) {
        return Some(response_of(code, parsed.headers, settings));
    }
    let unfolded = lenient::unfolded(head);
    let mut lines = lenient::lines(&unfolded);
    let status = lenient::status_line(lines.next()?)?;
    Some(response_of(status, &lenient::headers(lines, true), settings))
}

/// Bounded by the head's own bytes: no header is shorter than its line feed.
fn room_for_every_line<'a>(head: &[u8]) -> Vec<MaybeUninit<Header<'a>>> {
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    vec![MaybeUninit::uninit(); lines]
}

fn request_of(
    (method, target, minor_version): (CompactString, CompactString, u8),
    headers: &[Header<'_>],
    settings: &Settings,
) -> RequestHead {
    let mut request = Request {
        method,
        target,
        version: Version::Http1(minor_version),
        ..Request::default()
    };
    let mut hosts = 0;
    let mut body = BodyHeaders::default();
    for header in headers {
        if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            request.host = Some(text(header.value)).filter(|host| hosts == 1 && !host.is_empty());
        } else if request.user_agent.is_none() && header.name.eq_ignore_ascii_case("user-agent") {
            request.user_agent = Some(text(header.value));
        } else if header.name.eq_ignore_ascii_case("content-type") {
            // gRPC itself is never sent in HTTP/1.
            request.grpc = Grpc::of(header.value.trim_ascii()).filter(|grpc| *grpc == Grpc::Web);
        } else {
            body.note(header);
        }
        capture(
            header,
            &settings.captured_request_headers,
            &mut request.captured_headers,
        );
    }
    RequestHead {
        body: if request.method == "CONNECT" {
            Coding::Unsaid
        } else {
            body.coding()
        },
        request,
        context: propagation::extract(headers),
    }
}

fn response_of(status: u16, headers: &[Header<'_>], settings: &Settings) -> ResponseHead {
    let mut response = Response {
        status,
        ..Response::default()
    };
    let mut body = BodyHeaders::default();
    let mut turns_to_http2 = false;
    for header in headers {
        body.note(header);
        turns_to_http2 |= header.name.eq_ignore_ascii_case("upgrade") && header.value == b"h2c";
        if header.name.eq_ignore_ascii_case("grpc-status") {
            let number = decimal(header.value.trim_ascii());
            response.grpc_status = number.and_then(|number| number.try_into().ok());
        }
        capture(
            header,
            &settings.captured_response_headers,
            &mut response.captured_headers,
        );
    }
    ResponseHead {
        turns_to_http2: turns_to_http2 && response.status == 101,
        response,
        body: body.coding(),
    }
}

fn capture(header: &Header<'_>, wanted: &[String], into: &mut Vec<(String, String)>) {
    if let Some(name) = wanted.iter().find(|name| header.name.eq_ignore_ascii_case(name)) {
        into.push((name.clone(), text(header.value).into()));
    }
}

fn text(value: &[u8]) -> CompactString {
    CompactString::from_utf8_lossy(value.trim_ascii())
}

/// The headers that decide about the length of a body.
#[derive(Default)]
struct BodyHeaders {
    transfer: bool,
    length: Option<u64>,
    length_is_invalid: bool,
}

impl BodyHeaders {
    fn note(&mut self, header: &Header<'_>) {
        if header.name.eq_ignore_ascii_case("content-length") {
            // A list of equal values counts as one (RFC 9110 §8.6).
            for part in header.value.split(|byte| *byte == b',') {
                let length = decimal(part.trim_ascii());
                self.length_is_invalid |=
                    length.is_none() || (self.length.is_some() && self.length != length);
                self.length = length;
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            self.transfer = true;
        }
    }

    fn coding(&self) -> Coding {
        match self.length {
            _ if self.transfer => Coding::Transfer,
            Some(length) if !self.length_is_invalid => Coding::Length(length),
            _ => Coding::Unsaid,
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}
