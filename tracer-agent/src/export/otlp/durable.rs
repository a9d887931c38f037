//! Delivery by way of the disk. In: batches of the memory queue. Out: the same to the backend, each written down before
//! it is sent. Kept true: whatever ends the process, a batch that was taken from memory is on the disk until the
//! backend has it, save while the disk takes nothing.
//!
//! Two halves that wait for each other only where they must: one empties the memory queue to the disk, one sends what
//! the disk holds, oldest first. While the disk takes nothing, one batch is held in memory between them, and what comes
//! after it waits in the memory queue.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{Delivery, OtlpExporter, Patience, client::random, encode};
use crate::export::{
    batch::Queue,
    disk::{Bounds, Clock, DiskQueue, Folder, Lent, OpenError, clock},
    report::{Counters, DropCause},
};

/// After a failure the disk is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// No batch is waited for longer, whatever age it may reach: times stay within what can be added to a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where batches wait, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Each destination has a directory below it.
    pub directory: PathBuf,
    /// Bytes of one destination at most.
    pub max_bytes: u64,
    /// What has waited for longer is dropped.
    pub max_age: Duration,
}

/// The disk queue of a destination. What it does may block, so it is done on threads for that.
pub(crate) struct Disk {
    queue: Arc<Mutex<DiskQueue<Folder>>>,
    clock: Clock,
    max_age: Duration,
}

/// A batch on its way, and its place on the disk if it has one.
struct Batch {
    payload: Bytes,
    spans: u64,
    created_ms: u64,
    lent: Option<Lent>,
}

impl Disk {
    /// Takes up what earlier runs have left in the directory `name`.
    pub(crate) fn open(settings: &DiskSettings, name: &str) -> Result<Self, OpenError> {
        let folder = Folder::open(&settings.directory, name)?;
        let path = folder.path().to_owned();
        let clock = Clock::start();
        let bounds = Bounds {
            bytes: settings.max_bytes,
            age_ms: clock::millis(settings.max_age),
        };
        let queue =
            DiskQueue::open(folder, bounds, clock.now_ms()).map_err(|error| OpenError::Io { path, error })?;
        Ok(Self {
            queue: Arc::new(Mutex::new(queue)),
            clock,
            max_age: settings.max_age,
        })
    }

    /// Does something with the queue, and counts what came of it.
    async fn with<T: Send + 'static>(
        &self,
        counters: &Counters,
        work: impl FnOnce(&mut DiskQueue<Folder>, u64) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (queue, now_ms) = (self.queue.clone(), self.clock.now_ms());
        let work = move || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut queue, now_ms);
            (
                done,
                queue.take_losses(),
                queue.waiting(),
                queue.take_failed_syncs(),
            )
        };
        let (done, losses, waiting, failed_syncs) = spawn_blocking(work).await.map_err(io::Error::other)?;
        counters.keep(waiting);
        let causes = [
            (DropCause::QueueFull, losses.full, "the queue on disk is full"),
            (DropCause::Expired, losses.expired, "they waited for too long"),
            (DropCause::Corrupt, losses.corrupt, "they are damaged on the disk"),
        ];
        for (cause, spans, why) in causes.into_iter().filter(|(_, spans, _)| *spans > 0) {
            counters.drop_spans(cause, spans);
            counters.notice(format!("{spans} spans dropped: {why}"));
        }
        counters.disk_errors(failed_syncs);
        if let Err(error) = &done {
            counters.disk_errors(1);
            counters.notice(format!("the queue on disk: {error}"));
        }
        done
    }

    fn patience(&self, created_ms: u64) -> Patience {
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(created_ms));
        let left = self.max_age.saturating_sub(age).min(LONGEST_WAIT);
        Patience {
            until: Instant::now() + left,
            cause: DropCause::Expired,
        }
    }
}

/// Delivers until the memory queue is closed and both are empty, or the run is over; what is left then stays on disk.
pub(super) async fn run(exporter: &mut OtlpExporter, disk: &Disk, queue: &Queue, counters: &Counters) {
    let way = Way {
        disk,
        queue,
        counters,
        held: Mutex::default(),
        taken: Notify::new(),
        more: Notify::new(),
        is_over: AtomicBool::new(false),
    };
    way.resume().await;
    let host = exporter.host.clone();
    let keep = way.keep(|spans| encode::request(&spans, &host));
    tokio::join!(keep, way.send(exporter));
    let close = |queue: &mut DiskQueue<Folder>, _| {
        queue.close();
        Ok(())
    };
    let _ = disk.with(counters, close).await;
}

struct Way<'a> {
    disk: &'a Disk,
    queue: &'a Queue,
    counters: &'a Counters,
    /// What the disk did not take.
    held: Mutex<Option<Batch>>,
    /// The sender took what was held.
    taken: Notify,
    /// There is something to send, or nothing more will come.
    more: Notify,
    is_over: AtomicBool,
}

impl Way<'_> {
    async fn resume(&self) {
        let left = |queue: &mut DiskQueue<Folder>, _| Ok((queue.found(), queue.foreign()));
        if let Ok((found, foreign)) = self.disk.with(self.counters, left).await {
            self.counters.resume(found);
            if foreign > 0 {
                let text =
                    format!("{foreign} files in the queue on disk are not of this version: left alone");
                self.counters.notice(text);
            }
        }
    }

    /// Empties the memory queue to the disk.
    async fn keep(&self, encode: impl Fn(Vec<crate::spans::Span>) -> Vec<u8>) {
        while let Some(spans) = self.queue.next_batch().await {
            let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
            let payload = Bytes::from(encode(spans));
            while self.write(payload.clone(), count).await.is_err() {
                self.hold(payload.clone(), count);
                let _ = timeout(ASK_AGAIN, self.taken.notified()).await;
                if self.take_held().is_none() || self.is_past_the_end() {
                    break;
                }
            }
            self.more.notify_one();
        }
        self.is_over.store(true, SeqCst);
        self.more.notify_one();
    }

    async fn write(&self, payload: Bytes, spans: u32) -> io::Result<()> {
        let append =
            move |queue: &mut DiskQueue<Folder>, now_ms| queue.append(&payload, spans, now_ms, random());
        self.disk.with(self.counters, append).await
    }

    fn hold(&self, payload: Bytes, spans: u32) {
        let batch = Batch {
            payload,
            spans: spans.into(),
            created_ms: self.disk.clock.now_ms(),
            lent: None,
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
        self.more.notify_one();
    }

    fn take_held(&self) -> Option<Batch> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_past_the_end(&self) -> bool {
        self.queue
            .closing()
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Sends what the disk has.
    async fn send(&self, exporter: &mut OtlpExporter) {
        while let Some(batch) = self.next().await {
            let body = exporter.body(&batch.payload);
            let patience = self.disk.patience(batch.created_ms);
            let delivery = exporter
                .deliver(body, batch.spans, patience, self.queue, self.counters)
                .await;
            if let Delivery::GivenUp = delivery {
                return;
            }
            if let Some(lent) = batch.lent {
                // A failure is counted and told; the next run sends the batch once more then.
                let settle = move |queue: &mut DiskQueue<Folder>, _| queue.settle(&lent);
                let _ = self.disk.with(self.counters, settle).await;
            }
        }
    }

    /// The oldest batch; `None` when the run is over.
    async fn next(&self) -> Option<Batch> {
        loop {
            let is_over = self.is_over.load(SeqCst);
            match self
                .disk
                .with(self.counters, |queue, now_ms| queue.head(now_ms))
                .await
            {
                Ok(Some(mut lent)) => {
                    return Some(Batch {
                        payload: std::mem::take(&mut lent.payload).into(),
                        spans: lent.spans(),
                        created_ms: lent.created_ms,
                        lent: Some(lent),
                    });
                }
                Ok(None) => match self.take_held() {
                    Some(held) => {
                        self.taken.notify_one();
                        return Some(held);
                    }
                    None if is_over => return None,
                    None => self.more.notified().await,
                },
                Err(_) if self.is_past_the_end() => return None,
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }
}
