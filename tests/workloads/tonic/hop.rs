//! The calls that a job causes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future;
use http::Uri;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::Options;
use crate::raw::Raw;

type Called = Result<Vec<String>, Status>;

/// A connection to a server.
#[derive(Clone)]
pub struct Server {
    channel: Channel,
    /// The segment of a proxy.
    segment: String,
}

pub struct Hop {
    options: Options,
    next: Option<Server>,
}

impl Server {
    /// Connects at the first call.
    pub fn new(url: Uri) -> Self {
        Self {
            segment: url.path().trim_end_matches('/').to_owned(),
            channel: Endpoint::from(url).connect_lazy(),
        }
    }

    pub async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }

    pub async fn unary(&self, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.ready().await?.unary(request, as_path(path)?, Raw).await
    }

    /// The paths that were called for a job, its own first.
    pub async fn job(&self, path: &str) -> Called {
        let via = format!("{}{path}", self.segment);
        let answer = self
            .unary(&via, Request::new(Bytes::from(path.to_owned())))
            .await?;
        let answer = String::from_utf8_lossy(answer.get_ref()).into_owned();
        // The call itself, where a proxy is to take a segment off its path.
        let own = (!self.segment.is_empty()).then_some(via);
        Ok(own
            .into_iter()
            .chain(answer.lines().map(ToOwned::to_owned))
            .collect())
    }
}

pub fn as_path(path: &str) -> Result<PathAndQuery, Status> {
    path.parse()
        .map_err(|error| Status::internal(format!("{path}: {error}")))
}

impl Hop {
    pub fn new(mut options: Options) -> Self {
        let next = options.next.take().map(Server::new);
        Self { options, next }
    }

    pub async fn work(&self, path: &str) -> Called {
        let mut called = vec![path.to_owned()];
        if let Some(next) = &self.next {
            let children = self.children(path);
            if self.options.order == "nested" {
                self.think().await;
                let answers = future::try_join_all(children.iter().map(|child| next.job(child))).await?;
                called.extend(answers.into_iter().flatten());
            } else {
                for child in children {
                    self.think().await;
                    called.extend(next.job(&child).await?);
                }
            }
        }
        self.think().await;
        Ok(called)
    }

    fn children(&self, path: &str) -> Vec<String> {
        let children = (0..self.options.calls).filter(|_| fastrand::f64() >= self.options.skip);
        children.map(|number| format!("{path}.{number}")).collect()
    }

    async fn think(&self) {
        let ms = self.options.think_ms + fastrand::f64() * self.options.jitter_ms;
        if ms > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(ms / 1000.0)).await;
        }
    }
}
