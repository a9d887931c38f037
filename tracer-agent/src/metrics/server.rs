//! The HTTP server: `/metrics` for scrapers, `/healthz` and `/readyz` for those who start and stop the agent.
//!
//! Kept true: it reads what others have counted and changes nothing; whoever connects can hold at most one of a few places, for a bounded
//! time, with a bounded head; a body is never read.

use std::{convert::Infallible, io, net::TcpListener, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use super::{
    Board,
    exposition::{self, Format},
};

/// Connections at a time; others wait in the backlog of the kernel until one is over.
const MAX_CONNECTIONS: usize = 16;
/// A request head must be there whole within this time, also after the request before it.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// A connection is asked to end after this time, so that nobody has a place for ever.
const CONNECTION_ENDS_AFTER: Duration = Duration::from_secs(120);
/// How long it then has, also for an answer that is read slowly.
const CONNECTION_IS_CUT_AFTER: Duration = Duration::from_secs(10);
/// Bytes of a request head; the least that hyper takes.
const MAX_HEAD: usize = 8_192;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// After a failure to accept, as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until it is dropped.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(listener: TcpListener, board: Arc<Board>) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let board = Arc::clone(&board);
                tokio::spawn(async move {
                    connection(stream, board).await;
                    drop(place);
                });
            }
            // Who went away before it was its turn, or no descriptor: neither is a reason to end.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, board: Arc<Board>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &board);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What went wrong on a connection is for its other end to know.
    if timeout(CONNECTION_ENDS_AFTER, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(CONNECTION_IS_CUT_AFTER, connection).await;
    }
}

fn respond<B>(request: &Request<B>, board: &Board) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => metrics(request, board),
        "/healthz" => match board.health() {
            Ok(()) => plain(StatusCode::OK, "ok\n".to_owned()),
            Err(still) => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "nothing was read from the kernel side for {} s\n",
                    still.as_secs()
                ),
            ),
        },
        "/readyz" if board.is_ready() => plain(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the probes are not attached yet\n".to_owned(),
        ),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n".to_owned(),
        ),
    }
}

fn metrics<B>(request: &Request<B>, board: &Board) -> Response<Full<Bytes>> {
    let accept = request.headers().get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::of_accept(&accept.join(","));
    let text = exposition::text(board.told().families(), format);
    response(StatusCode::OK, format.content_type(), text)
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
