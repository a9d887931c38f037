//! OTLP over HTTP/1.1: one connection, kept open between batches.
//!
//! hyper's connection and rustls are in the tree for gRPC already. A pool and redirects would be another crate each and
//! are not needed for one backend and one request at a time.

use std::{io::Write as _, time::SystemTime};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Uri,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;

use super::{
    ClientError, USER_AGENT, answer,
    connect::{Connector, Stream},
    retry,
    retry::Verdict,
    settings::{Compression, OtlpSettings, Protocol},
};

/// More of an answer is not read: the largest that means something is an error of a few lines.
const MAX_ANSWER: usize = 64 << 10;

/// The fastest of the levels that are made for it.
const ZSTD_LEVEL: i32 = 1;

/// A client of one backend.
pub struct HttpClient {
    /// What requests ask for: the path, or the whole URL of a proxy that passes them on.
    target: Uri,
    headers: HeaderMap,
    compression: Compression,
    connector: Connector,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl HttpClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// If the files for TLS cannot be used.
    pub fn new(settings: &OtlpSettings) -> Result<Self, ClientError> {
        let connector = Connector::new(settings, b"http/1.1", true)?;
        let mut headers = headers(settings);
        let mut endpoint = settings.endpoint.clone();
        match connector.forwarding() {
            Some(proxy) => {
                let authorization = proxy.authorization.clone();
                headers.extend(authorization.map(|value| (header::PROXY_AUTHORIZATION, value)));
            }
            // Whoever answers is who was connected to: the path is all it needs.
            None => {
                let path = endpoint.path_and_query().cloned();
                endpoint = path.map_or_else(Uri::default, Uri::from);
            }
        }
        Ok(Self {
            target: endpoint,
            headers,
            compression: settings.compression,
            connector,
            connection: None,
        })
    }

    /// The body as it goes over the wire, for all attempts.
    pub fn prepare(&self, body: Bytes) -> Bytes {
        let compressed = match self.compression {
            Compression::None => return body,
            Compression::Gzip => {
                let room = Vec::with_capacity(body.len() / 4);
                let mut gzip = GzEncoder::new(room, flate2::Compression::fast());
                gzip.write_all(&body).and_then(|()| gzip.finish())
            }
            Compression::Zstd => zstd::bulk::compress(&body, ZSTD_LEVEL),
        };
        // Writing to memory does not fail.
        compressed.map(Bytes::from).unwrap_or_default()
    }

    /// Sends one request. The caller limits its time; a call that is dropped drops its connection.
    pub async fn send(&mut self, body: Bytes) -> Verdict {
        match self.exchange(body).await {
            Ok(verdict) => verdict,
            Err(why) => Verdict::Retry { after: None, why },
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Verdict, String> {
        let mut connection = match self.open_connection().await {
            Some(open) => open,
            None => handshake(self.connector.connect().await?).await?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| reason(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        // An answer that was not read to its end leaves a connection that cannot be used again.
        let body = body
            .inspect(|_| self.connection = Some(connection))
            .unwrap_or_default();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        if head.status.is_success() {
            return Ok(answer::success(&body, content_type == "application/json"));
        }
        let words = answer::error_words(&body, content_type);
        #[expect(
            clippy::disallowed_methods,
            reason = "an HTTP date can only be told from the clock"
        )]
        let now = SystemTime::now();
        Ok(retry::http_verdict(
            head.status.as_u16(),
            text(header::RETRY_AFTER),
            &words,
            now,
        ))
    }

    /// The connection of the batch before, unless the backend has closed it or it was made with other certificates.
    async fn open_connection(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut open = self.connection.take()?;
        if self.connector.is_outdated().await {
            return None;
        }
        open.ready().await.is_ok().then_some(open)
    }
}

async fn handshake(stream: Box<dyn Stream>) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| reason(&error))?;
    // It ends with its sender, or with an error that the sender reports.
    tokio::spawn(connection);
    Ok(sender)
}

fn headers(settings: &OtlpSettings) -> HeaderMap {
    let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
    let content_type = match settings.protocol {
        Protocol::HttpJson => "application/json",
        Protocol::HttpProtobuf | Protocol::Grpc => "application/x-protobuf",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(coding) = settings.compression.coding() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    headers
        .entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(USER_AGENT));
    let authority = settings
        .endpoint
        .authority()
        .map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority {
        headers.entry(header::HOST).or_insert(host);
    }
    headers
}

/// The innermost error, which says what happened, in place of the outermost, which says where.
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
