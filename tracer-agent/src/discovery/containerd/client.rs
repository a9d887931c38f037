//! A client of containerd's socket. Kept true: nothing but what [`super::api`] names is ever asked, no answer is waited for without
//! end, and no message is larger than containerd's own take them.

use std::{io, path::PathBuf, time::Duration};

use hyper::{Uri, http::uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    net::UnixStream,
    time::{Instant, timeout, timeout_at},
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use super::{
    super::{http::Trouble, text},
    api::{self, Container, Envelope, Filtered, GetRequest, Messages, OneContainer},
};

/// For a connection to stand, and for one answer to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a list to come as a whole.
const LIST_LASTS: Duration = Duration::from_secs(30);
/// Bytes of a message: containerd's own bound. A container carries its whole specification.
const MESSAGE_MAX: usize = 16 << 20;
/// What is heard of: containers that come, are described otherwise, and go.
const TOPICS: [&str; 3] = ["/containers/create", "/containers/update", "/containers/delete"];

/// A client that connects, and connects again, by itself.
#[derive(Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
}

impl Client {
    /// Must be made inside the runtime.
    pub(super) fn to_socket(path: PathBuf) -> Self {
        // Nobody looks the name up: the connector knows where to go.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(Socket(path));
        Self {
            grpc: Grpc::new(channel).max_decoding_message_size(MESSAGE_MAX),
        }
    }

    /// A container, if it is there.
    pub(super) async fn get(&mut self, namespace: &str, id: String) -> Result<Option<Container>, Trouble> {
        let getting = async {
            self.ready().await?;
            let request = of_namespace(GetRequest { id }, namespace)?;
            let codec = Messages::<GetRequest, OneContainer>::default();
            let path = PathAndQuery::from_static(api::GET);
            self.grpc.unary(request, path, codec).await
        };
        let answer = timeout(PATIENCE, getting).await.map_err(|_| Trouble::Late)?;
        match answer.map(Response::into_inner) {
            Ok(OneContainer { container }) => Ok(container),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(trouble(&status)),
        }
    }

    /// Hands over every container of a namespace.
    pub(super) async fn list(
        &mut self,
        namespace: &str,
        mut each: impl FnMut(Container),
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + LIST_LASTS;
        let listing = async {
            self.ready().await?;
            let request = of_namespace(Filtered::default(), namespace)?;
            let codec = Messages::<Filtered, OneContainer>::default();
            let path = PathAndQuery::from_static(api::LIST);
            let mut answer = self
                .grpc
                .server_streaming(request, path, codec)
                .await?
                .into_inner();
            while let Some(OneContainer { container }) = answer.message().await? {
                container.into_iter().for_each(&mut each);
            }
            Ok(())
        };
        let listed = timeout_at(deadline, listing).await.map_err(|_| Trouble::Late)?;
        listed.map_err(|status: Status| trouble(&status))
    }

    /// What happens to containers from now on. The answer may begin with the first that happens.
    pub(super) async fn subscribe(&mut self) -> Result<Streaming<Envelope>, Trouble> {
        let ready = timeout(PATIENCE, self.ready()).await.map_err(|_| Trouble::Late)?;
        ready.map_err(|status| trouble(&status))?;
        let filters = TOPICS.map(|topic| format!("topic=={topic:?}")).to_vec();
        let codec = Messages::<Filtered, Envelope>::default();
        let path = PathAndQuery::from_static(api::SUBSCRIBE);
        let request = Request::new(Filtered { filters });
        let answer = self.grpc.server_streaming(request, path, codec).await;
        answer
            .map(Response::into_inner)
            .map_err(|status| trouble(&status))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::from_error(error.into()))
    }
}

fn of_namespace<M: Message>(message: M, namespace: &str) -> Result<Request<M>, Status> {
    let mut request = Request::new(message);
    let namespace = MetadataValue::try_from(namespace);
    let namespace = namespace.map_err(|_| Status::internal("a namespace that is no header"))?;
    request.metadata_mut().insert(api::NAMESPACE, namespace);
    Ok(request)
}

/// A status with a source was made here, out of a broken connection.
pub(super) fn trouble(status: &Status) -> Trouble {
    match std::error::Error::source(status) {
        Some(source) => Trouble::away(source),
        None => Trouble::Away(format!("{:?}: {}", status.code(), text::clean(status.message()))),
    }
}

/// Connects to a path.
struct Socket(PathBuf);

impl tonic::codegen::Service<Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            let connecting = timeout(PATIENCE, UnixStream::connect(path)).await;
            let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            Ok(TokioIo::new(stream))
        })
    }
}
