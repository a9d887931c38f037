//! All exporters of a run: started, fed and ended together, otherwise independent of each other. While the run goes on some may
//! come and others leave.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::Instant,
};

use super::{
    Target,
    batch::{BatchSettings, Queue},
    console::Losses,
    disk::OpenError,
    lane::{Exporter, Lane, Task},
    otlp::ClientError,
    report::{Notify, Report},
};
use crate::{capture::input::HostInfo, spans::Span};

/// How long the end of a run waits for its exporters, unless told otherwise.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How long stopping the thread itself may take.
const STOP_LIMIT: Duration = Duration::from_millis(100);

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be written.
    #[error("cannot write {target}: {error}")]
    Open {
        /// The exporter.
        target: String,
        /// Why.
        error: io::Error,
    },
    /// A client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The queue on disk cannot be used.
    #[error(transparent)]
    Queue(#[from] OpenError),
    /// No thread or runtime.
    #[error("cannot start the thread of the exporters: {0}")]
    Thread(io::Error),
}

/// The running exporters. They live on a thread of their own, away from the core.
pub struct Exporters {
    lanes: Arc<RwLock<Lanes>>,
    losses: Arc<Losses>,
    /// What a new one is begun with.
    batch: BatchSettings,
    notify: Notify,
    /// Takes those that come later; none do once it is gone.
    coming: Option<UnboundedSender<Coming>>,
    /// Answers when every exporter has ended.
    ended: mpsc::Receiver<()>,
    /// Ends the thread, whatever its exporters do.
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

/// Those that are fed, and those that were.
#[derive(Default)]
struct Lanes {
    fed: Vec<Lane>,
    /// They deliver what they have.
    leaving: Vec<Lane>,
    /// What became of the spans of those that have left.
    left: Report,
}

/// An exporter to be opened and run, once these have ended.
struct Coming {
    task: Task,
    before: Vec<Lane>,
}

impl Exporters {
    /// Starts all exporters. `notify` hears of failures, a few times a minute at most, from the thread of the
    /// exporters; it must not block. `begin` is the first that this thread does.
    ///
    /// # Errors
    /// If a file cannot be opened or the TLS settings cannot be used. That a backend is away is no error.
    pub fn start(
        targets: &[Target],
        batch: &BatchSettings,
        host: &HostInfo,
        notify: Notify,
        begin: fn(),
    ) -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let losses = Arc::new(Losses::default());
        let inside = runtime.enter();
        let mut lanes = Lanes::default();
        let mut running = Vec::with_capacity(targets.len());
        for target in targets {
            let exporter = Exporter::new(target, host, &losses)?;
            let (lane, task) = Lane::new(target, batch, notify.clone());
            running.push((exporter, task));
            lanes.fed.push(lane);
        }
        drop(inside);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::channel();
        let (coming, comes) = unbounded_channel();
        let with = (host.clone(), losses.clone());
        let body = move || {
            begin();
            runtime.block_on(async move {
                tokio::select! { () = all(running, comes, with) => (), _ = stopped => () }
            });
            let _ = end.send(());
            // A write that blocks forever must not keep the agent from ending.
            runtime.shutdown_background();
        };
        thread::Builder::new()
            .name("export".to_owned())
            .spawn(body)
            .map_err(StartError::Thread)?;
        Ok(Self {
            lanes: Arc::new(RwLock::new(lanes)),
            losses,
            batch: batch.clone(),
            notify,
            coming: Some(coming),
            ended,
            stop: Some(stop),
        })
    }

    /// Exports to these from now on. Those that stay keep what they have; those that are not named any more deliver what they
    /// have within `limit`, and what is left then is counted as lost or stays on disk; those that are new begin when those have
    /// ended whose file or queue on disk they take. Never waits.
    pub fn configure(&self, targets: &[Target], limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut lanes = write(&self.lanes);
        lanes.forget_ended();
        let (stay, leave) = std::mem::take(&mut lanes.fed)
            .into_iter()
            .partition(|lane| targets.contains(&lane.target));
        lanes.fed = stay;
        for lane in leave {
            lane.leave(deadline);
            lanes.leaving.push(lane);
        }
        for target in targets {
            if lanes.fed.iter().any(|lane| lane.target == *target) {
                continue;
            }
            let (lane, task) = Lane::new(target, &self.batch, self.notify.clone());
            let place = target.place();
            let is_there = |lane: &&Lane| place.is_some() && lane.target.place() == place;
            let before = lanes.leaving.iter().filter(is_there).cloned().collect();
            lanes.fed.push(lane);
            if let Some(coming) = &self.coming {
                // The thread is there as long as this is.
                let _ = coming.send(Coming { task, before });
            }
        }
    }

    /// Hands spans to every exporter. Never waits: what a full queue does not take is counted and dropped.
    pub fn send(&self, spans: Vec<Span>) {
        self.hand_out(spans, Queue::offer);
    }

    /// Hands spans to every exporter, waiting while a queue is full; for a replay, which has no hurry.
    pub fn send_waiting(&self, spans: Vec<Span>) {
        self.hand_out(spans, Queue::offer_waiting);
    }

    /// What became of the spans so far.
    pub fn report(&self) -> Report {
        read(&self.lanes).report()
    }

    /// The same for somebody who asks from another thread, also when the exporters have ended.
    pub fn reporter(&self) -> impl Fn() -> Report + Send + Sync + 'static {
        let lanes = self.lanes.clone();
        move || read(&lanes).report()
    }

    /// Ends the input, waits until everything is delivered or `limit` has passed, and says what became of every
    /// span. `losses`, by cause, is what the stages before have lost; the console tells it. Blocks.
    pub fn shutdown(mut self, limit: Duration, losses: &[(&'static str, u64)]) -> Report {
        self.losses.set(losses);
        let deadline = Instant::now() + limit;
        drop(self.coming.take());
        read(&self.lanes).fed.iter().for_each(|lane| lane.close(deadline));
        if self.ended.recv_timeout(limit).is_err() {
            drop(self.stop.take());
            // The tasks are gone a moment later; until then they may still count.
            let _ = self.ended.recv_timeout(STOP_LIMIT);
        }
        let lanes = read(&self.lanes);
        lanes.all().for_each(|lane| lane.counters.close());
        lanes.report()
    }

    fn hand_out(&self, spans: Vec<Span>, put: impl Fn(&Queue, Vec<Span>) -> usize) {
        let lanes = read(&self.lanes);
        let Some((last, others)) = lanes.fed.split_last() else {
            return;
        };
        for lane in others {
            lane.take(spans.clone(), &put);
        }
        last.take(spans, &put);
    }
}

impl Lanes {
    fn all(&self) -> impl Iterator<Item = &Lane> {
        self.leaving.iter().chain(&self.fed)
    }

    /// One entry a name: who has left and come again goes on counting.
    fn report(&self) -> Report {
        let mut report = self.left.clone();
        self.all().for_each(|lane| report.add(lane.counters.report()));
        report
    }

    /// Of those that have left what they counted is kept.
    fn forget_ended(&mut self) {
        let (ended, leaving) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(Lane::has_ended);
        self.leaving = leaving;
        let ended: Vec<Lane> = ended;
        ended
            .iter()
            .for_each(|lane| self.left.add(lane.counters.report()));
    }
}

/// Runs all exporters until no more can come and every one has ended.
async fn all(
    running: Vec<(Exporter, Task)>,
    mut comes: UnboundedReceiver<Coming>,
    (host, losses): (HostInfo, Arc<Losses>),
) {
    let mut tasks: JoinSet<()> = running
        .into_iter()
        .map(|(exporter, task)| task.run(exporter))
        .collect();
    while let Some(Coming { task, before }) = comes.recv().await {
        // Those that have ended by now.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.begin_and_run(before, host.clone(), losses.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

fn read(lanes: &RwLock<Lanes>) -> RwLockReadGuard<'_, Lanes> {
    lanes.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(lanes: &RwLock<Lanes>) -> RwLockWriteGuard<'_, Lanes> {
    lanes.write().unwrap_or_else(PoisonError::into_inner)
}
