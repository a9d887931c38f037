//! OTLP over gRPC. The request is encoded once, before the first attempt, and sent as it is.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use hyper::{HeaderMap, http::uri::PathAndQuery};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    ClientError, USER_AGENT, answer, http, retry, retry::Verdict, settings::OtlpSettings, tls::Material,
};

/// A client of one backend; it connects, and connects again, by itself.
pub struct GrpcClient {
    grpc: Grpc<Channel>,
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
        let mut endpoint = Endpoint::from(settings.endpoint.clone())
            .user_agent(USER_AGENT)
            .map_err(ClientError::tls)?
            .connect_timeout(settings.timeout)
            .tcp_nodelay(true);
        if settings.is_tls() {
            endpoint = endpoint
                .tls_config(tls_config(settings)?)
                .map_err(ClientError::tls)?;
        }
        let mut grpc = Grpc::new(endpoint.connect_lazy());
        if settings.gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        let headers: HeaderMap = settings.headers.iter().cloned().collect();
        Ok(Self {
            grpc: grpc.accept_compressed(CompressionEncoding::Gzip),
            metadata: MetadataMap::from_headers(headers),
            timeout: settings.timeout,
            path: settings.signal.grpc_path(),
        })
    }

    /// Sends one request. The caller limits its time.
    pub async fn send(&mut self, body: Bytes) -> Verdict {
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

fn tls_config(settings: &OtlpSettings) -> Result<ClientTlsConfig, ClientError> {
    let material = Material::read(settings)?;
    // Whatever is wrong with the files is said here rather than at the first span.
    material.client_config()?;
    let mut config = match material.certificate {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((chain, key)) = material.identity {
        config = config.identity(Identity::from_pem(chain, key));
    }
    Ok(config)
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
