//! Backends that misbehave as told: a raw HTTP/1.1 server and a gRPC server, each on threads of its own.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::ServerTlsConfig};

/// What a backend does with a request; after the last of its script it says that all is well.
#[derive(Clone)]
pub enum Reply {
    Http {
        status: u16,
        headers: &'static str,
        body: Vec<u8>,
    },
    Grpc(Result<ExportTraceServiceResponse, Status>),
    Stall,
    Reset,
}

impl Reply {
    pub fn http(status: u16, headers: &'static str) -> Self {
        Self::Http {
            status,
            headers,
            body: Vec::new(),
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and headers, or the metadata.
    pub head: String,
    /// Body as sent over HTTP; empty for gRPC.
    pub body: Vec<u8>,
    /// The message, of gRPC.
    pub message: Option<ExportTraceServiceRequest>,
}

#[derive(Clone, Default)]
pub struct Log {
    script: Arc<Mutex<VecDeque<Reply>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Log {
    fn new(script: Vec<Reply>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into())),
            received: Arc::default(),
        }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn next(&self, received: Received) -> Option<Reply> {
        self.received.lock().unwrap().push(received);
        self.script.lock().unwrap().pop_front()
    }
}

/// An HTTP backend; with a TLS configuration it speaks HTTPS.
pub fn http(script: Vec<Reply>, tls: Option<Arc<rustls::ServerConfig>>) -> (SocketAddr, Log) {
    let log = Log::new(script);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log_of_server = log.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, log, tls) = (stream.unwrap(), log_of_server.clone(), tls.clone());
            thread::spawn(move || match tls {
                None => serve(stream.try_clone().unwrap(), &stream, &log),
                Some(config) => {
                    let session = rustls::ServerConnection::new(config).unwrap();
                    serve(
                        rustls::StreamOwned::new(session, stream.try_clone().unwrap()),
                        &stream,
                        &log,
                    );
                }
            });
        }
    });
    (address, log)
}

fn serve(stream: impl Read + Write, socket: &TcpStream, log: &Log) {
    let mut stream = BufReader::new(stream);
    loop {
        let Some((head, body)) = request(&mut stream) else {
            return;
        };
        let (status, headers, body) = match log.next(Received {
            head,
            body,
            message: None,
        }) {
            None => (200, "content-type: application/x-protobuf\r\n", Vec::new()),
            Some(Reply::Http {
                status,
                headers,
                body,
            }) => (status, headers, body),
            Some(Reply::Reset) => {
                rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
                return;
            }
            Some(_) => {
                thread::sleep(Duration::from_secs(60));
                return;
            }
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let stream = stream.get_mut();
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body))
            .unwrap();
        stream.flush().unwrap();
    }
}

/// A gRPC backend; with a TLS configuration it speaks TLS.
pub fn grpc(script: Vec<Reply>, tls: Option<ServerTlsConfig>) -> (SocketAddr, Log) {
    let log = Log::new(script);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let service = TraceServiceServer::new(Service(log.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let mut server = tonic::transport::Server::builder();
            if let Some(tls) = tls {
                server = server.tls_config(tls).unwrap();
            }
            server
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
    });
    (address, log)
}

struct Service(Log);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let head = format!("{:?}", request.metadata());
        let message = Some(request.into_inner());
        match self.0.next(Received {
            head,
            body: Vec::new(),
            message,
        }) {
            None => Ok(Response::new(ExportTraceServiceResponse::default())),
            Some(Reply::Grpc(result)) => result.map(Response::new),
            Some(_) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(Status::internal("too late"))
            }
        }
    }
}

/// An HTTP backend that is there until this is dropped: its port is closed then, and every connection broken.
pub struct Toggled {
    is_over: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
    address: String,
}

impl Drop for Toggled {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // It looks up when somebody comes.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

/// A backend at this address which hands each body to `take`, and says that all is well.
pub fn toggled(address: &str, take: impl Fn(&[u8]) + Send + Sync + 'static) -> Toggled {
    let listener = TcpListener::bind(address).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (take, sees_end) = (Arc::new(take), is_over.clone());
    let accepting = thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            if sees_end.load(SeqCst) {
                break;
            }
            let stream = stream.unwrap();
            open.push(stream.try_clone().unwrap());
            let take = take.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some((_, body)) = request(&mut reader) {
                    take(&body);
                    let answer = b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
        for stream in open {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
    Toggled {
        is_over,
        accepting: Some(accepting),
        address: address.to_owned(),
    }
}

/// Head and body of the next request; `None` when there is none.
fn request(stream: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut head), Ok(1..)) {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
