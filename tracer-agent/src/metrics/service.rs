//! Who tells what was counted, on a thread of their own: an exporter that is blocked by a disk or a terminal must not make the agent look dead.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{
    Board,
    push::Notify,
    telling::{Telling, With},
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

/// The running servers and senders.
pub struct Service {
    board: Arc<Board>,
    addresses: Vec<SocketAddr>,
    /// Takes who is to be told from now on, and until when the others may be.
    asked: UnboundedSender<(Readers, Instant)>,
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
        let inside = runtime.enter();
        let mut telling = Telling {
            with: With {
                board: Arc::clone(&board),
                who: who.clone(),
                unix_now,
                notify: Arc::clone(notify),
            },
            servers: Vec::new(),
            senders: Vec::new(),
            leaving: Vec::new(),
        };
        let mut opened = Vec::new();
        let mut addresses = Vec::new();
        for &address in &readers.listen {
            let listener = listen(address)?;
            addresses.push(
                listener
                    .local_addr()
                    .map_err(|error| StartError::Listen { address, error })?,
            );
            opened.push((address, listener));
        }
        let mut pushes = Vec::new();
        for (settings, interval) in &readers.push {
            pushes.push((settings.clone(), *interval, telling.with.push(settings)?));
        }
        drop(inside);
        let (asked, mut asks) = unbounded_channel::<(Readers, Instant)>();
        let (end, ended) = mpsc::channel();
        let body = move || {
            begin();
            runtime.block_on(async move {
                for (address, listener) in opened {
                    telling.serve(address, listener);
                }
                for (settings, interval, push) in pushes {
                    telling.send(settings, interval, push);
                }
                while let Some((readers, deadline)) = asks.recv().await {
                    telling.configure(&readers, deadline).await;
                }
                telling.ended().await;
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
            asked,
            ended,
        })
    }

    /// Tells these from now on: who stays is told on, who is not named any more is sent to a last time, within `limit`. What cannot be
    /// begun is told. Never waits.
    pub fn configure(&self, readers: Readers, limit: Duration) {
        // The thread is there as long as this is.
        let _ = self.asked.send((readers, Instant::now() + limit));
    }

    /// Where it has listened from the start on: the ports that were chosen, in place of 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it reads.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Sends a last time and ends, within `limit`. Blocks.
    pub fn shutdown(self, limit: Duration) {
        self.configure(Readers::default(), limit);
        drop(self.asked);
        // A moment more than its sends have, for the thread itself.
        let _ = self.ended.recv_timeout(limit + Duration::from_millis(100));
    }
}

pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| StartError::Listen { address, error })
}
