//! OTLP over gRPC. The request is encoded once, before the first attempt, and sent as it is.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use hyper::{
    HeaderMap, Uri,
    http::uri::{PathAndQuery, Scheme},
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use super::{
    ClientError, USER_AGENT, answer,
    connect::Connector,
    http, retry,
    retry::Verdict,
    settings::{Compression, OtlpSettings},
};

/// A client of one backend; it connects, and connects again, by itself.
pub struct GrpcClient {
    grpc: Grpc<Channel>,
    compression: Compression,
    endpoint: Endpoint,
    connector: Connector,
    metadata: MetadataMap,
    timeout: Duration,
    path: &'static str,
}

impl GrpcClient {
    /// A client that has not connected yet. Must be made inside the runtime.
    ///
    /// # Errors
    /// If the files for TLS cannot be used.
    pub fn new(settings: &OtlpSettings) -> Result<Self, ClientError> {
        // TLS is the connector's: the transport is told of none, and of the scheme that requests are to name.
        let mut plain = settings.endpoint.clone().into_parts();
        plain.scheme = Some(Scheme::HTTP);
        let plain = Uri::from_parts(plain).map_err(ClientError::tls)?;
        let endpoint = Endpoint::from(plain)
            .origin(settings.endpoint.clone())
            .user_agent(USER_AGENT)
            .map_err(ClientError::tls)?
            .connect_timeout(settings.timeout);
        let connector = Connector::new(settings, b"h2", false)?;
        let compression = settings.compression;
        let headers: HeaderMap = settings.headers.iter().cloned().collect();
        Ok(Self {
            grpc: open(&endpoint, &connector, compression),
            compression,
            endpoint,
            connector,
            metadata: MetadataMap::from_headers(headers),
            timeout: settings.timeout,
            path: settings.signal.grpc_path(),
        })
    }

    /// Sends one request. The caller limits its time.
    pub async fn send(&mut self, body: Bytes) -> Verdict {
        if self.connector.is_outdated().await {
            self.grpc = open(&self.endpoint, &self.connector, self.compression);
        }
        match self.export(body).await {
            Ok(response) => answer::success(&response, false),
            Err(status) => verdict(&status),
        }
    }

    async fn export(&mut self, body: Bytes) -> Result<Bytes, Status> {
        self.grpc
            .ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(self.timeout);
        let path = PathAndQuery::from_static(self.path);
        Ok(self.grpc.unary(request, path, Raw).await?.into_inner())
    }
}

fn open(endpoint: &Endpoint, connector: &Connector, compression: Compression) -> Grpc<Channel> {
    let channel = endpoint.connect_with_connector_lazy(connector.clone());
    let grpc = Grpc::new(channel).accept_compressed(CompressionEncoding::Gzip);
    match compression {
        Compression::None => grpc,
        Compression::Gzip => grpc.send_compressed(CompressionEncoding::Gzip),
        Compression::Zstd => grpc.send_compressed(CompressionEncoding::Zstd),
    }
}

/// A status with a source was made here, out of a broken connection: no backend has refused anything.
fn verdict(status: &Status) -> Verdict {
    match std::error::Error::source(status) {
        Some(source) => Verdict::Retry {
            after: None,
            why: format!("cannot reach it: {}", http::reason(source)),
        },
        None => retry::grpc_verdict(
            status.code(),
            answer::retry_info(status.details()),
            status.message(),
        ),
    }
}

/// Messages that are encoded already.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
