//! One exporter of a run: its queue, its counters, and its life from being opened to having ended.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use super::{
    DropCause, StartError, Target,
    batch::{BatchSettings, Queue},
    console::{ConsoleExporter, Losses},
    json::JsonExporter,
    otlp::{Disk, OtlpExporter},
    report::{self, Counters},
};
use crate::{capture::input::HostInfo, spans::Span};

/// What another has just left may still be held by its last write.
const OPENED_WITHIN: Duration = Duration::from_secs(1);
/// How often that is tried.
const OPENED_EVERY: Duration = Duration::from_millis(50);

/// One exporter, as who feeds it sees it.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) target: Target,
    pub(super) counters: Arc<Counters>,
    queue: Arc<Queue>,
    /// It is not to outlast its deadline, though others go on.
    is_leaving: Arc<watch::Sender<bool>>,
    /// Closed once it has ended.
    ended: watch::Receiver<()>,
}

/// The same, as its task sees it.
pub(super) struct Task {
    lane: Lane,
    /// Dropped at the end.
    _end: watch::Sender<()>,
}

/// An exporter that is ready to run.
pub(super) enum Exporter {
    Console(Box<ConsoleExporter>),
    Json(JsonExporter),
    Otlp(Box<OtlpExporter>, Option<Disk>),
}

impl Lane {
    pub(super) fn new(target: &Target, batch: &BatchSettings, notify: report::Notify) -> (Self, Task) {
        let (end, ended) = watch::channel(());
        let lane = Self {
            counters: Arc::new(target.counters(notify)),
            target: target.clone(),
            queue: Arc::new(Queue::new(batch.clone())),
            is_leaving: Arc::new(watch::Sender::new(false)),
            ended,
        };
        (lane.clone(), Task { lane, _end: end })
    }

    /// Takes spans; what there is no room for is counted.
    pub(super) fn take(&self, spans: Vec<Span>, put: impl Fn(&Queue, Vec<Span>) -> usize) {
        self.counters.accept(spans.len());
        let refused = put(&self.queue, spans);
        if refused > 0 {
            self.counters.drop_spans(DropCause::QueueFull, refused as u64);
            self.counters
                .notice(format!("{refused} spans dropped: the queue is full"));
        }
    }

    /// No more spans come: what there is is to be delivered by then.
    pub(super) fn close(&self, deadline: Instant) {
        self.queue.close(deadline);
    }

    /// The same, while others go on: what is not delivered by then is counted as lost, or stays on disk.
    pub(super) fn leave(&self, deadline: Instant) {
        self.queue.close(deadline);
        self.is_leaving.send_replace(true);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Resolves when it has ended.
    pub(super) async fn ended(mut self) {
        while self.ended.changed().await.is_ok() {}
    }

    async fn is_past_its_leave(&self) {
        // It cannot be gone while this is there.
        let _ = self
            .is_leaving
            .subscribe()
            .wait_for(|is_leaving| *is_leaving)
            .await;
        if let Some(deadline) = self.queue.closing() {
            tokio::time::sleep_until(deadline).await;
        }
    }
}

impl Task {
    /// Runs an exporter until its queue is closed and empty.
    pub(super) async fn run(self, exporter: Exporter) {
        tokio::select! {
            () = exporter.run(&self.lane) => (),
            () = self.lane.is_past_its_leave() => (),
        }
        let counters = &self.lane.counters;
        counters.close();
        if *self.lane.is_leaving.borrow() {
            counters.tell(format!("no longer exported to; {}", counters.report().fates()));
        }
    }

    /// The same for one that is opened while others run, once those have ended whose place it takes. What cannot be opened loses
    /// what it is handed.
    pub(super) async fn begin_and_run(self, before: Vec<Lane>, host: HostInfo, losses: Arc<Losses>) {
        for lane in before {
            lane.ended().await;
        }
        let lane = &self.lane;
        let deadline = Instant::now() + OPENED_WITHIN;
        let opened = loop {
            let (target, host, losses) = (lane.target.clone(), host.clone(), losses.clone());
            // A file may be one that waits for its reader.
            let opening = spawn_blocking(move || Exporter::new(&target, &host, &losses));
            match opening.await {
                Ok(Err(_)) if Instant::now() < deadline => tokio::time::sleep(OPENED_EVERY).await,
                Ok(opened) => break opened,
                Err(error) => break Err(StartError::Thread(io::Error::other(error))),
            }
        };
        match opened {
            Ok(exporter) => self.run(exporter).await,
            Err(error) => {
                lane.counters
                    .notice(format!("everything for it is lost: {error}"));
                while let Some(spans) = lane.queue.next_batch().await {
                    lane.counters
                        .drop_spans(DropCause::WriteFailed, spans.len() as u64);
                }
            }
        }
    }
}

impl Exporter {
    /// Must be made inside the runtime.
    pub(super) fn new(target: &Target, host: &HostInfo, losses: &Arc<Losses>) -> Result<Self, StartError> {
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

    async fn run(self, lane: &Lane) {
        let Lane { queue, counters, .. } = lane;
        match self {
            Self::Console(console) => console.run(queue, counters).await,
            Self::Json(json) => json.run(queue, counters).await,
            Self::Otlp(otlp, disk) => otlp.run(disk, queue, counters).await,
        }
    }
}
