//! Who tells what was counted, on a thread of their own: an exporter that is blocked by a disk or a terminal must not make the agent look dead.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime, sync::watch, time::Instant};

use super::{
    Board,
    push::{Notify, Push},
    server,
};
use crate::{
    capture::input::HostInfo,
    export::otlp::{ClientError, OtlpSettings},
};

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readers {
    /// Where scrapers and probes of health connect to.
    pub listen: Vec<SocketAddr>,
    /// Where metrics are sent, and how often.
    pub push: Vec<(OtlpSettings, Duration)>,
}

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not one of this host.
    #[error(
        "cannot serve metrics on {address}: {error}; --metrics prometheus=HOST:PORT takes another address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No thread or runtime.
    #[error("cannot start the thread of the metrics: {0}")]
    Thread(io::Error),
}

/// The running server and senders.
pub struct Service {
    board: Arc<Board>,
    addresses: Vec<SocketAddr>,
    ending: watch::Sender<Option<Instant>>,
    ended: mpsc::Receiver<()>,
}

impl Service {
    /// Starts all. `who` is the host and the attributes of the agent's own resource; `notify` hears of what a person wants to know, and must
    /// not block; `begin` is the first that the thread does.
    ///
    /// # Errors
    /// If an address cannot be listened on or the TLS settings cannot be used. That a backend is away is no error.
    pub fn start(
        readers: &Readers,
        board: Arc<Board>,
        who: &(HostInfo, Vec<(String, String)>),
        unix_now: fn() -> u64,
        notify: &Notify,
        begin: fn(),
    ) -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for &address in &readers.listen {
            let refused = |error| StartError::Listen { address, error };
            let listener = TcpListener::bind(address).map_err(refused)?;
            addresses.push(listener.local_addr().map_err(refused)?);
            listeners.push(listener);
        }
        let (ending, asked) = watch::channel(None);
        let inside = runtime.enter();
        let mut pushes = Vec::new();
        for (settings, interval) in &readers.push {
            let push = Push::new(
                settings,
                who.clone(),
                Arc::clone(&board),
                unix_now,
                Arc::clone(notify),
            )?;
            pushes.push((push, *interval));
        }
        drop(inside);
        let (end, ended) = mpsc::channel();
        let (board_of_servers, notify) = (Arc::clone(&board), Arc::clone(notify));
        let body = move || {
            begin();
            runtime.block_on(async move {
                for listener in listeners {
                    let (board, notify) = (Arc::clone(&board_of_servers), Arc::clone(&notify));
                    tokio::spawn(async move {
                        let Err(error) = server::serve(listener, board).await;
                        notify(format!("metrics are no longer served: {error}"));
                    });
                }
                let mut asked_for_end = asked.clone();
                let pushing: Vec<_> = pushes
                    .into_iter()
                    .map(|(push, interval)| tokio::spawn(push.run(interval, asked.clone())))
                    .collect();
                let _ = asked_for_end.changed().await;
                for push in pushing {
                    let _ = push.await;
                }
            });
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(body)
            .map_err(StartError::Thread)?;
        Ok(Self {
            board,
            addresses,
            ending,
            ended,
        })
    }

    /// Where it listens: the ports that were chosen, in place of 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it reads.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Sends a last time and ends, within `limit`. Blocks.
    pub fn shutdown(self, limit: Duration) {
        self.ending.send_replace(Some(Instant::now() + limit));
        // A moment more than its sends have, for the thread itself.
        let _ = self.ended.recv_timeout(limit + Duration::from_millis(100));
    }
}
