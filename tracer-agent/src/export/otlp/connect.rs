//! Connections to a backend, for both protocols: by a proxy if there is one, to one of its addresses, over TLS.
//!
//! Addresses take turns: each connection begins with the address after the one that the last began with, the first with any,
//! so that agents spread over the instances of a backend, and one that is away is passed over.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{Uri, header::HeaderValue};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{ClientError, client::random, proxy::Proxy, settings::OtlpSettings, tls::Rotating};

/// One address is waited for this long; there may be others.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// More of a proxy's answer is not read.
const MAX_ANSWER: usize = 8 << 10;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections to one backend.
#[derive(Clone)]
pub struct Connector {
    host: String,
    port: u16,
    proxy: Option<Proxy>,
    /// Requests without TLS are passed on by the proxy; else it is a tunnel.
    is_forwarded: bool,
    tls: Option<Arc<Rotating>>,
    turn: Arc<AtomicUsize>,
}

impl Connector {
    /// For a client that speaks `alpn`. `may_forward`: it can write requests for a proxy that passes them on.
    ///
    /// # Errors
    /// If the files for TLS cannot be used.
    pub fn new(settings: &OtlpSettings, alpn: &'static [u8], may_forward: bool) -> Result<Self, ClientError> {
        let tls = match settings.is_tls() {
            true => Some(Arc::new(Rotating::new(settings, alpn)?)),
            false => None,
        };
        let host = settings.endpoint.host().unwrap_or_default();
        let default_port = if tls.is_some() { 443 } else { 80 };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: settings.endpoint.port_u16().unwrap_or(default_port),
            proxy: settings.proxy.clone(),
            is_forwarded: may_forward && tls.is_none() && settings.proxy.is_some(),
            tls,
            turn: Arc::new(AtomicUsize::new(
                usize::try_from(random() >> 32).unwrap_or_default(),
            )),
        })
    }

    /// Requests name the whole URL, and what the proxy wants to know.
    pub fn forwarding(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| self.is_forwarded)
    }

    /// The files for TLS are others than those of the last connection; looked at now and then.
    pub async fn is_outdated(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.is_outdated().await,
            None => false,
        }
    }

    /// Opens a connection. The caller limits its time.
    ///
    /// # Errors
    /// Why it cannot be opened, for people.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let mut stream = match &self.proxy {
            None => self.reach(&self.host, self.port).await?,
            Some(proxy) => {
                let reached = self.reach(&proxy.host, proxy.port).await;
                reached.map_err(|error| format!("proxy: {error}"))?
            }
        };
        if let (Some(proxy), false) = (&self.proxy, self.is_forwarded) {
            self.ask_for_tunnel(&mut stream, proxy)
                .await
                .map_err(|error| format!("proxy: {error}"))?;
        }
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(tls.config().await).connect(name, stream).await;
        Ok(Box::new(connecting.map_err(|error| format!("TLS: {error}"))?))
    }

    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses: Vec<SocketAddr> = found
            .map_err(|error| format!("cannot connect: {error}"))?
            .collect();
        let turn = self.turn.fetch_add(1, Relaxed);
        let begin = turn.checked_rem(addresses.len()).unwrap_or_default();
        let mut why = "cannot connect: the name has no address".to_owned();
        for address in addresses.iter().cycle().skip(begin).take(addresses.len()) {
            let connecting = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
            match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Requests are written whole: waiting for more to send gains nothing.
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    return Ok(stream);
                }
                Err(error) => why = format!("cannot connect: {error}"),
            }
        }
        Err(why)
    }

    /// `CONNECT` (RFC 9110, 9.3.6).
    async fn ask_for_tunnel(&self, stream: &mut TcpStream, proxy: &Proxy) -> Result<(), String> {
        let target = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &proxy.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(HeaderValue::as_bytes(authorization));
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream
            .write_all(&request)
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the head is the backend's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == MAX_ANSWER {
                return Err("no end of its answer".to_owned());
            }
            answer.push(stream.read_u8().await.map_err(|error| error.to_string())?);
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&answer).map(|_| response.code);
        match parsed {
            Ok(Some(200..=299)) => Ok(()),
            Ok(Some(status)) => Err(format!("it answered CONNECT with {status}")),
            _ => Err("its answer to CONNECT is not HTTP".to_owned()),
        }
    }
}

/// What gRPC's transport makes connections by.
impl tonic::codegen::Service<Uri> for Connector {
    type Response = hyper_util::rt::TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let stream = connector.connect().await.map_err(io::Error::other)?;
            Ok(hyper_util::rt::TokioIo::new(stream))
        })
    }
}
