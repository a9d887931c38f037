//! The echo service, and jobs: one service of every path there is.

use std::convert::Infallible;
use std::error::Error;
use std::future;
use std::iter;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use crate::hop::Hop;
use crate::raw::Raw;
use crate::{MESSAGES, Options};

type Answer<Message = Bytes> = Result<Response<Message>, Status>;

pub async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let hop = Arc::new(Hop::new(options));
    let service = service_fn(move |request| {
        let hop = hop.clone();
        async move { Ok::<_, Infallible>(answer(&hop, request).await) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    // Without a delay, as tonic listens by itself.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder().serve_with_incoming(service, incoming).await?)
}

async fn answer(hop: &Hop, request: http::Request<Body>) -> http::Response<Body> {
    let mut grpc = Grpc::new(Raw);
    let path = request.uri().path().to_owned();
    if path.starts_with("/job/") {
        let job = service_fn(|_: Request<Bytes>| job(hop, &path));
        return grpc.unary(job, request).await;
    }
    match path.strip_prefix("/chain.Echo/").unwrap_or_default() {
        "Unary" => grpc.unary(service_fn(unary), request).await,
        "ServerStream" => grpc.server_streaming(service_fn(server_stream), request).await,
        "ClientStream" => grpc.client_streaming(service_fn(client_stream), request).await,
        "BidiStream" => grpc.streaming(service_fn(bidi_stream), request).await,
        "NotFound" => grpc.unary(service_fn(not_found), request).await,
        "DataLoss" => grpc.server_streaming(service_fn(data_loss), request).await,
        "DeadlineExceeded" => grpc.unary(service_fn(deadline_exceeded), request).await,
        "Cancelled" => grpc.server_streaming(service_fn(cancelled), request).await,
        method => Status::unimplemented(format!("unknown method {method}")).into_http(),
    }
}

async fn job(hop: &Hop, path: &str) -> Answer {
    Ok(Response::new(hop.work(path).await?.join("\n").into()))
}

/// An answer with the id of its call.
fn with_id<Message>(given: &MetadataMap, message: Message) -> Response<Message> {
    let mut response = Response::new(message);
    if let Some(id) = given.get("x-echo-id") {
        response.metadata_mut().insert("x-echo-id", id.clone());
    }
    response
}

async fn unary(request: Request<Bytes>) -> Answer {
    Ok(with_id(request.metadata(), request.get_ref().clone()))
}

async fn server_stream(request: Request<Bytes>) -> Answer<impl Stream<Item = Result<Bytes, Status>>> {
    let messages = iter::repeat_n(request.get_ref().clone(), MESSAGES);
    Ok(with_id(request.metadata(), stream::iter(messages.map(Ok))))
}

async fn client_stream(request: Request<Streaming<Bytes>>) -> Answer {
    let (given, _, messages) = request.into_parts();
    let join = |mut all: BytesMut, message: Bytes| async move {
        all.extend_from_slice(&message);
        Ok(all)
    };
    let all = messages.try_fold(BytesMut::new(), join).await?;
    Ok(with_id(&given, all.freeze()))
}

async fn bidi_stream(request: Request<Streaming<Bytes>>) -> Answer<Streaming<Bytes>> {
    let (given, _, messages) = request.into_parts();
    Ok(with_id(&given, messages))
}

async fn not_found(_: Request<Bytes>) -> Answer {
    Err(Status::not_found("there is none"))
}

async fn data_loss(request: Request<Bytes>) -> Answer<impl Stream<Item = Result<Bytes, Status>>> {
    let messages = [
        Ok(request.into_inner()),
        Err(Status::data_loss("the rest is lost")),
    ];
    Ok(Response::new(stream::iter(messages)))
}

/// Dropped where the call ends.
async fn deadline_exceeded(_: Request<Bytes>) -> Answer {
    future::pending().await
}

async fn cancelled(request: Request<Bytes>) -> Answer<impl Stream<Item = Result<Bytes, Status>>> {
    let message = stream::iter([Ok(request.into_inner())]);
    Ok(Response::new(message.chain(stream::pending())))
}
