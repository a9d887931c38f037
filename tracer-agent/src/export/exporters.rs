//! All exporters of a run: started, fed and ended together, otherwise independent of each other.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime, task::JoinSet, time::Instant};

use super::{
    batch::{BatchSettings, Queue},
    console::{ConsoleExporter, ConsoleSettings, Losses},
    disk::OpenError,
    json::{JsonDestination, JsonExporter},
    otlp::{ClientError, Disk, OtlpExporter, OtlpSettings},
    report::{Counters, Notify, Report},
};
use crate::{capture::input::HostInfo, spans::Span};

/// How long the end of a run waits for its exporters, unless told otherwise.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How long stopping the thread itself may take.
const STOP_LIMIT: Duration = Duration::from_millis(100);

/// Where spans go; one `--export` each.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful, made once in a run")]
pub enum Target {
    /// A waterfall on standard output.
    Console(ConsoleSettings),
    /// OTLP/JSON lines.
    Json(JsonDestination),
    /// A backend.
    Otlp(OtlpSettings),
}

impl Target {
    /// The name in reports: what the user wrote, without secrets.
    pub fn name(&self) -> String {
        match self {
            Self::Console(_) => "console".to_owned(),
            Self::Json(JsonDestination::Stdout) => "json:-".to_owned(),
            Self::Json(JsonDestination::File(path)) => format!("json:{}", path.display()),
            Self::Otlp(settings) => format!("otlp:{}", settings.names().join(",")),
        }
    }

    /// Counters of that name, and of each endpoint where there are several.
    fn counters(&self, notify: Notify) -> Counters {
        let counters = Counters::new(self.name(), notify);
        match self {
            Self::Otlp(settings) if !settings.others.is_empty() => counters.of_endpoints(settings.names()),
            _ => counters,
        }
    }
}

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
    lanes: Vec<Lane>,
    losses: Arc<Losses>,
    /// Answers when every exporter has ended.
    ended: mpsc::Receiver<()>,
    /// Ends the thread, whatever its exporters do.
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Clone)]
struct Lane {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

/// An exporter that is ready to run.
enum Exporter {
    Console(Box<ConsoleExporter>),
    Json(JsonExporter),
    Otlp(Box<OtlpExporter>, Option<Disk>),
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
        let mut lanes = Vec::with_capacity(targets.len());
        let mut running = Vec::with_capacity(targets.len());
        for target in targets {
            let exporter = Exporter::new(target, host, &losses)?;
            let lane = Lane {
                queue: Arc::new(Queue::new(batch.clone())),
                counters: Arc::new(target.counters(notify.clone())),
            };
            running.push((exporter, lane.clone()));
            lanes.push(lane);
        }
        drop(inside);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::channel();
        let body = move || {
            begin();
            runtime.block_on(async move {
                let all = async {
                    let mut tasks: JoinSet<()> = running
                        .into_iter()
                        .map(|(exporter, lane)| exporter.run(lane))
                        .collect();
                    while tasks.join_next().await.is_some() {}
                };
                tokio::select! { () = all => (), _ = stopped => () }
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
            lanes,
            losses,
            ended,
            stop: Some(stop),
        })
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
        Report {
            exporters: self.lanes.iter().map(|lane| lane.counters.report()).collect(),
        }
    }

    /// The same for somebody who asks from another thread, also when the exporters have ended.
    pub fn reporter(&self) -> impl Fn() -> Report + Send + Sync + 'static {
        let lanes = self.lanes.clone();
        move || Report {
            exporters: lanes.iter().map(|lane| lane.counters.report()).collect(),
        }
    }

    /// Ends the input, waits until everything is delivered or `limit` has passed, and says what became of every
    /// span. `losses`, by cause, is what the stages before have lost; the console tells it. Blocks.
    pub fn shutdown(mut self, limit: Duration, losses: &[(&'static str, u64)]) -> Report {
        self.losses.set(losses);
        let deadline = Instant::now() + limit;
        for lane in &self.lanes {
            lane.queue.close(deadline);
        }
        if self.ended.recv_timeout(limit).is_err() {
            drop(self.stop.take());
            // The tasks are gone a moment later; until then they may still count.
            let _ = self.ended.recv_timeout(STOP_LIMIT);
        }
        for lane in &self.lanes {
            lane.counters.close();
        }
        self.report()
    }

    fn hand_out(&self, spans: Vec<Span>, put: impl Fn(&Queue, Vec<Span>) -> usize) {
        let Some((last, others)) = self.lanes.split_last() else {
            return;
        };
        for lane in others {
            lane.take(spans.clone(), &put);
        }
        last.take(spans, &put);
    }
}

impl Lane {
    fn take(&self, spans: Vec<Span>, put: impl Fn(&Queue, Vec<Span>) -> usize) {
        self.counters.accept(spans.len());
        let refused = put(&self.queue, spans);
        if refused > 0 {
            self.counters
                .drop_spans(super::DropCause::QueueFull, refused as u64);
            self.counters
                .notice(format!("{refused} spans dropped: the queue is full"));
        }
    }
}

impl Exporter {
    fn new(target: &Target, host: &HostInfo, losses: &Arc<Losses>) -> Result<Self, StartError> {
        Ok(match target {
            Target::Console(settings) => {
                Self::Console(Box::new(ConsoleExporter::new(settings.clone(), losses.clone())))
            }
            Target::Json(destination) => Self::Json(JsonExporter::open(destination, host).map_err(
                |error| StartError::Open {
                    target: target.name(),
                    error,
                },
            )?),
            Target::Otlp(settings) => {
                let exporter = Box::new(OtlpExporter::new(settings, host)?);
                let open = |disk| Disk::open(disk, &settings.queue_name());
                Self::Otlp(exporter, settings.disk.as_ref().map(open).transpose()?)
            }
        })
    }

    async fn run(self, lane: Lane) {
        let Lane { queue, counters } = lane;
        match self {
            Self::Console(console) => console.run(&queue, &counters).await,
            Self::Json(json) => json.run(&queue, &counters).await,
            Self::Otlp(otlp, disk) => otlp.run(disk, &queue, &counters).await,
        }
    }
}
