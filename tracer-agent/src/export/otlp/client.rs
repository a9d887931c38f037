//! A client of one backend, whatever the protocol and the signal: one attempt at a time.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use bytes::Bytes;

use super::{ClientError, OtlpSettings, Protocol, grpc::GrpcClient, http::HttpClient, retry::Verdict};

/// A client that connects, and connects again, by itself.
pub(crate) struct Client {
    wire: Wire,
    timeout: Duration,
}

enum Wire {
    Grpc(Box<GrpcClient>),
    Http(Box<HttpClient>),
}

impl Client {
    /// A client that has not connected yet. Must be made inside the runtime.
    pub(crate) fn new(settings: &OtlpSettings) -> Result<Self, ClientError> {
        Ok(Self {
            wire: match settings.protocol {
                Protocol::Grpc => Wire::Grpc(Box::new(GrpcClient::new(settings)?)),
                Protocol::HttpProtobuf | Protocol::HttpJson => {
                    Wire::Http(Box::new(HttpClient::new(settings)?))
                }
            },
            timeout: settings.timeout,
        })
    }

    /// The body as it goes over the wire, for all attempts.
    pub(crate) fn prepare(&self, body: impl Into<Bytes>) -> Bytes {
        match &self.wire {
            Wire::Grpc(_) => body.into(),
            Wire::Http(client) => client.prepare(body.into()),
        }
    }

    /// Sends one request and waits for its answer, no longer than the settings say.
    pub(crate) async fn attempt(&mut self, body: Bytes) -> Verdict {
        let timeout = self.timeout;
        let sending = async {
            match &mut self.wire {
                Wire::Grpc(client) => client.send(body).await,
                Wire::Http(client) => client.send(body).await,
            }
        };
        tokio::time::timeout(timeout, sending)
            .await
            .unwrap_or_else(|_| Verdict::Retry {
                after: None,
                why: format!("no answer within {} ms", timeout.as_millis()),
            })
    }
}

/// Randomness for the jitter of the backoff, from the keys that the standard library draws for each hasher.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
