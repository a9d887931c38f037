//! HTTP/1.1 to those who know more of processes than `/proc`: one connection, answers read piece by piece.
//!
//! In: a stream that is connected, or where to connect. Out: the pieces of an answer's body. Kept true: nothing is waited for without
//! end, nothing is read beyond its bound, nothing but GET is ever sent.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::{Instant, timeout, timeout_at},
};

/// For a connection to stand, and for the head of an answer to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer that says what is wrong so much is looked at.
const WORDS_MAX: usize = 300;

/// Why something cannot be known at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// There is no connection, or no more.
    #[error("{0}")]
    Away(String),
    /// The answer has not ended in its time.
    #[error("the answer does not end")]
    Late,
    /// The answer is a refusal.
    #[error("HTTP {status}: {words}")]
    Refused {
        /// The status.
        status: u16,
        /// Beginning of what it said.
        words: String,
    },
    /// The answer is not what was asked for.
    #[error("not understood: {0}")]
    Malformed(String),
    /// What was known is too old to go on from.
    #[error("the history is gone")]
    Gone,
}

impl Trouble {
    pub(super) fn away(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self::Away(innermost.to_string())
    }
}

/// One connection.
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
}

/// The body of an answer as it comes.
pub(super) struct Answer {
    body: Incoming,
    until: Instant,
}

impl Connection {
    /// To a Unix socket.
    pub(super) async fn to_socket(path: &Path) -> Result<Self, Trouble> {
        let stream = within(PATIENCE, "connection", UnixStream::connect(path)).await?;
        Self::over(stream.map_err(|error| Trouble::away(&error))?).await
    }

    /// Over a stream that stands.
    pub(super) async fn over<S>(stream: S) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (requests, connection) = shaken.map_err(|error| Trouble::away(&error))?;
        // It ends with its sender, or with an error that the sender reports.
        tokio::spawn(connection);
        Ok(Self { requests })
    }

    /// Asks for a path; the answer is to end within `lasts`.
    ///
    /// # Errors
    /// When there is no answer, or it is no success.
    pub(super) async fn get(
        &mut self,
        host: &str,
        path: &str,
        token: Option<&str>,
        lasts: Duration,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::get(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("tracer-agent/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = token {
            let mut value = header::HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Trouble::Malformed("the token is no text of a header".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| Trouble::Malformed(error.to_string()))?;
        let sent = async {
            self.requests.ready().await?;
            self.requests.send_request(request).await
        };
        let response = within(PATIENCE, "answer", sent)
            .await?
            .map_err(|error| Trouble::away(&error))?;
        let status = response.status();
        let mut answer = Answer {
            body: response.into_body(),
            until: deadline(lasts),
        };
        match status {
            StatusCode::OK => Ok(answer),
            StatusCode::GONE => Err(Trouble::Gone),
            _ => Err(Trouble::Refused {
                status: status.as_u16(),
                words: answer.words().await,
            }),
        }
    }
}

impl Answer {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the connection breaks, or the time is over.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = timeout_at(self.until, self.body.frame()).await;
            let frame = frame.map_err(|_| Trouble::Late)?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Trouble::away(&error)),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// The beginning of an answer that explains itself, in one line.
    async fn words(&mut self) -> String {
        self.until = self.until.min(deadline(PATIENCE));
        let mut words = Vec::new();
        while words.len() < WORDS_MAX {
            match self.piece().await {
                Ok(Some(piece)) => words.extend(piece.iter().take(WORDS_MAX - words.len())),
                Ok(None) | Err(_) => break,
            }
        }
        let words = String::from_utf8_lossy(&words);
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A time from now.
pub(super) fn deadline(lasts: Duration) -> Instant {
    Instant::now() + lasts
}

/// What is done, if it is done in time.
pub(super) async fn within<T>(
    patience: Duration,
    what: &str,
    done: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let late = |_| Trouble::Away(format!("no {what} within {} s", patience.as_secs()));
    timeout(patience, done).await.map_err(late)
}
