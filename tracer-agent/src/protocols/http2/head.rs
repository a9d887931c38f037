//! What the fields of a header block say.

use compact_str::CompactString;
use httparse::Header;

use super::hpack::Field;
use crate::protocols::{
    Settings,
    exchange::{Request, Response, Version, WireContext},
    grpc::Grpc,
    propagation,
};

/// The fields of a block that are of interest.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<CompactString>,
    path: Option<CompactString>,
    scheme: Option<CompactString>,
    authority: Option<CompactString>,
    status: Option<u16>,
    grpc_status: Option<u32>,
    grpc: Option<Grpc>,
    host: Option<CompactString>,
    user_agent: Option<CompactString>,
    captured: Vec<(String, String)>,
    /// Those that may hold trace context.
    context: Vec<(&'static str, Vec<u8>)>,
    /// There are fields of which the name or the value is not known.
    has_unknown: bool,
}

impl Fields {
    /// Takes the next field.
    pub(super) fn note(&mut self, field: Field<'_>, settings: &Settings) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.has_unknown = true;
            return;
        };
        match name {
            b":method" => self.method = Some(text(value)),
            b":path" => self.path = Some(text(value)),
            b":scheme" => self.scheme = Some(text(value)).filter(|scheme| scheme != "http"),
            b":authority" => self.authority = Some(text(value)),
            b":status" => self.status = number(value).and_then(|status| u16::try_from(status).ok()),
            b"grpc-status" => self.grpc_status = number(value),
            b"content-type" => self.grpc = Grpc::of(value),
            b"host" => self.host = Some(text(value)),
            b"user-agent" => self.user_agent = Some(text(value)),
            _ => self.note_context(name, value),
        }
        let wanted = [
            &settings.captured_request_headers,
            &settings.captured_response_headers,
        ];
        let is_wanted = |wanted: &&Vec<String>| wanted.iter().any(|wanted| wanted.as_bytes() == name);
        if wanted.iter().any(is_wanted) {
            self.captured.push((text(name).into(), text(value).into()));
        }
    }

    fn note_context(&mut self, name: &[u8], value: &[u8]) {
        let known = propagation::CONTEXT_HEADERS
            .iter()
            .find(|known| known.as_bytes() == name);
        if let Some(known) = known {
            self.context.push((known, value.to_vec()));
        }
    }

    /// Whether they begin a request; `None` where they do not tell.
    pub(super) fn is_request(&self) -> Option<bool> {
        if self.method.is_some() || self.path.is_some() {
            Some(true)
        } else if self.status.is_some() {
            Some(false)
        } else {
            None
        }
    }

    /// Fields are there that are not known.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// An interim response.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_some_and(|status| (100..200).contains(&status))
    }

    /// The status of a call by gRPC.
    pub(super) fn grpc_status(&self) -> Option<u32> {
        self.grpc_status
    }

    /// As the head of a request.
    pub(super) fn into_request(self, settings: &Settings) -> (Request, WireContext) {
        let headers: Vec<_> = self
            .context
            .iter()
            .map(|(name, value)| Header { name, value })
            .collect();
        let context = propagation::extract(&headers);
        let named = self.authority.or(self.host);
        let request = Request {
            method: self.method.unwrap_or_default(),
            target: self.path.unwrap_or_default(),
            version: Version::Http2,
            scheme: self.scheme,
            grpc: self.grpc,
            host: named.filter(|host| !host.is_empty()),
            user_agent: self.user_agent,
            captured_headers: wanted(self.captured, &settings.captured_request_headers),
        };
        (request, context)
    }

    /// As the head of a response; `None` where its status is not known.
    pub(super) fn into_response(self, settings: &Settings) -> Option<Response> {
        Some(Response {
            status: self.status?,
            grpc_status: self.grpc_status,
            captured_headers: wanted(self.captured, &settings.captured_response_headers),
        })
    }
}

fn wanted(captured: Vec<(String, String)>, names: &[String]) -> Vec<(String, String)> {
    captured
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .collect()
}

fn text(value: &[u8]) -> CompactString {
    CompactString::from_utf8_lossy(value)
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}
