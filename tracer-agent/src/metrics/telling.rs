//! Who is told at the moment: servers and senders, which come and go while the agent runs.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{
    Board,
    push::{Notify, Push},
    server,
    service::{Readers, StartError, listen},
};
use crate::{
    capture::input::HostInfo,
    export::otlp::{ClientError, OtlpSettings},
};

/// An address that was left is tried again this often, and for this long.
const BIND_EVERY: Duration = Duration::from_millis(50);
const BIND_WITHIN: Duration = Duration::from_secs(1);

/// What everybody is told with.
pub(super) struct With {
    pub(super) board: Arc<Board>,
    /// The host and the attributes of the agent's own resource.
    pub(super) who: (HostInfo, Vec<(String, String)>),
    pub(super) unix_now: fn() -> u64,
    pub(super) notify: Notify,
}

impl With {
    /// Must be made inside the runtime.
    pub(super) fn push(&self, settings: &OtlpSettings) -> Result<Push, ClientError> {
        let (board, notify) = (Arc::clone(&self.board), Arc::clone(&self.notify));
        Push::new(settings, self.who.clone(), board, self.unix_now, notify)
    }
}

/// All who are told.
pub(super) struct Telling {
    pub(super) with: With,
    pub(super) servers: Vec<Server>,
    pub(super) senders: Vec<Sender>,
    /// Senders that send a last time.
    pub(super) leaving: Vec<JoinHandle<()>>,
}

/// What scrapers connect to.
pub(super) struct Server {
    /// As it was asked for.
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What sends.
pub(super) struct Sender {
    settings: OtlpSettings,
    interval: Duration,
    ending: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Telling {
    pub(super) fn serve(&mut self, address: SocketAddr, listener: TcpListener) {
        let (board, notify) = (Arc::clone(&self.with.board), Arc::clone(&self.with.notify));
        let task = tokio::spawn(async move {
            let Err(error) = server::serve(listener, board).await;
            notify(format!("metrics are no longer served: {error}"));
        });
        self.servers.push(Server { address, task });
    }

    pub(super) fn send(&mut self, settings: OtlpSettings, interval: Duration, push: Push) {
        let (ending, asked) = watch::channel(None);
        self.senders.push(Sender {
            settings,
            interval,
            ending,
            task: tokio::spawn(push.run(interval, asked)),
        });
    }

    /// Tells these from now on; who is not named any more is sent to a last time until then.
    pub(super) async fn configure(&mut self, readers: &Readers, deadline: Instant) {
        let servers = std::mem::take(&mut self.servers).into_iter();
        let (stay, leave): (Vec<_>, Vec<_>) =
            servers.partition(|server| readers.listen.contains(&server.address));
        self.servers = stay;
        for server in leave {
            // Who is connected is answered on.
            server.task.abort();
            let _ = server.task.await;
        }
        let is_named = |sender: &Sender| {
            let same = |(settings, interval): &(OtlpSettings, Duration)| {
                *settings == sender.settings && *interval == sender.interval
            };
            readers.push.iter().any(same)
        };
        let senders = std::mem::take(&mut self.senders).into_iter();
        let (stay, leave): (Vec<_>, Vec<_>) = senders.partition(is_named);
        self.senders = stay;
        self.leaving.retain(|task| !task.is_finished());
        for sender in leave {
            sender.ending.send_replace(Some(deadline));
            self.leaving.push(sender.task);
        }
        for &address in &readers.listen {
            if !self.servers.iter().any(|server| server.address == address) {
                match bind(address).await {
                    Ok(listener) => self.serve(address, listener),
                    Err(error) => (self.with.notify)(error.to_string()),
                }
            }
        }
        for (settings, interval) in &readers.push {
            let is_same = |sender: &Sender| sender.settings == *settings && sender.interval == *interval;
            if !self.senders.iter().any(is_same) {
                match self.with.push(settings) {
                    Ok(push) => self.send(settings.clone(), *interval, push),
                    Err(error) => (self.with.notify)(format!("metrics are not sent: {error}")),
                }
            }
        }
    }

    /// Resolves when those who have left were sent to a last time.
    pub(super) async fn ended(self) {
        for task in self.leaving {
            let _ = task.await;
        }
    }
}

/// What has just been left may take a moment to be free.
async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let deadline = Instant::now() + BIND_WITHIN;
    loop {
        match listen(address) {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(BIND_EVERY).await,
            bound => return bound,
        }
    }
}
