//! The edge between the synchronous core and the exporters: one bounded queue an exporter.
//!
//! The core puts spans in and is never made to wait; the exporter takes them out in batches. Bounded by
//! number and by estimated size, because the texts of a span come from the wire.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{capture::input::AttributeValue, spans::Span};

/// How spans are gathered into batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Spans that may wait for one exporter (`OTEL_BSP_MAX_QUEUE_SIZE`).
    pub max_queue: usize,
    /// Spans of one request (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`); `1 <= max_batch <= max_queue`.
    pub max_batch: usize,
    /// How long the first span of a batch waits for others (`OTEL_BSP_SCHEDULE_DELAY`); `None`: until the
    /// batch is full or the run ends, so that the batches of a replay do not depend on the clock.
    pub delay: Option<Duration>,
}

/// Estimated bytes that may wait for one exporter, whatever the number of spans.
const MAX_QUEUE_BYTES: usize = 16 << 20;
/// Estimated bytes of one request: receivers of gRPC take 4 MiB by default.
const MAX_BATCH_BYTES: usize = 2 << 20;

impl Default for BatchSettings {
    /// A queue that outlasts a slow answer, and a delay short enough that a span is on the wire within a second.
    fn default() -> Self {
        Self {
            max_queue: 8_192,
            max_batch: 1_024,
            delay: Some(Duration::from_millis(200)),
        }
    }
}

impl BatchSettings {
    /// The settings of the environment, and a warning for each value that was ignored, as the
    /// specification wants for values that cannot be read.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut number = |name: &str, least: u64| {
            let text = env(name).filter(|text| !text.trim().is_empty())?;
            let value = text.trim().parse().ok().filter(|value| *value >= least);
            if value.is_none() {
                warnings.push(format!(
                    "{name}={text} is not a number of at least {least}: ignored"
                ));
            }
            value
        };
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).min(1 << 20);
        let default = Self::default();
        let max_queue = number("OTEL_BSP_MAX_QUEUE_SIZE", 1).map_or(default.max_queue, size);
        let max_batch = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1).map_or(default.max_batch, size);
        let delay = number("OTEL_BSP_SCHEDULE_DELAY", 0)
            .map(Duration::from_millis)
            .or(default.delay);
        (
            Self {
                max_queue,
                max_batch: max_batch.min(max_queue),
                delay,
            },
            warnings,
        )
    }

    /// The same, with batches that depend on the spans alone: the same spans give the same batches.
    #[must_use]
    pub fn for_replay(self) -> Self {
        Self { delay: None, ..self }
    }
}

/// Spans on their way to one exporter.
pub struct Queue {
    settings: BatchSettings,
    state: Mutex<State>,
    /// The exporter has a reason to look: first span, full batch, or the end.
    ready: Notify,
    /// The input has ended, for who delivers.
    closed: Notify,
    /// There is room again, for those who wait for it.
    room: Condvar,
}

#[derive(Default)]
struct State {
    /// Each with its size.
    spans: VecDeque<(Span, usize)>,
    bytes: usize,
    /// No more spans come; they must be out by then.
    closing: Option<Instant>,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: BatchSettings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
            ready: Notify::new(),
            closed: Notify::new(),
            room: Condvar::new(),
        }
    }

    /// Puts in what there is room for and returns how many spans there was none for. Never waits.
    pub fn offer(&self, spans: Vec<Span>) -> usize {
        let mut state = self.lock();
        let before = state.spans.len();
        let mut refused = 0;
        for span in spans {
            match self.has_room(&state) {
                true => state.push(span),
                false => refused += 1,
            }
        }
        self.wake(&state, before);
        refused
    }

    /// Puts in all spans, waiting for room as long as it takes; for a replay, which has no hurry.
    /// Returns how many were refused because the queue was closed.
    pub fn offer_waiting(&self, spans: Vec<Span>) -> usize {
        let mut refused = 0;
        let mut state = self.lock();
        for span in spans {
            while !self.has_room(&state) && state.closing.is_none() {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closing.is_some() {
                refused += 1;
                continue;
            }
            let before = state.spans.len();
            state.push(span);
            self.wake(&state, before);
        }
        refused
    }

    /// The next batch, in order, 1 to `max_batch` spans; `None` after the last.
    pub async fn next_batch(&self) -> Option<Vec<Span>> {
        while self.is_waiting_for_first() {
            self.ready.notified().await;
        }
        let due = self.settings.delay.map(|delay| Instant::now() + delay);
        while self.is_waiting_for_more() {
            let Some(due) = due else {
                self.ready.notified().await;
                continue;
            };
            if tokio::time::timeout_at(due, self.ready.notified()).await.is_err() {
                break;
            }
        }
        self.take()
    }

    /// Ends the input. What is in the queue is to be delivered by `deadline`.
    pub fn close(&self, deadline: Instant) {
        self.lock().closing = Some(deadline);
        self.ready.notify_one();
        self.closed.notify_one();
        self.room.notify_all();
    }

    /// When delivery must be over; `None` while the input is open.
    pub fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    /// Resolves when the input ends: a moment to look at [`Self::closing`] again.
    pub async fn changed(&self) {
        self.closed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State) -> bool {
        state.spans.len() < self.settings.max_queue && state.bytes < MAX_QUEUE_BYTES
    }

    /// Wakes the exporter for the first span and for a full batch, not for every span.
    fn wake(&self, state: &State, before: usize) {
        let now = state.spans.len();
        let filled = before < self.settings.max_batch && now >= self.settings.max_batch;
        if (before == 0 && now > 0) || filled || state.bytes >= MAX_BATCH_BYTES {
            self.ready.notify_one();
        }
    }

    fn is_waiting_for_first(&self) -> bool {
        let state = self.lock();
        state.spans.is_empty() && state.closing.is_none()
    }

    fn is_waiting_for_more(&self) -> bool {
        let state = self.lock();
        state.closing.is_none()
            && state.spans.len() < self.settings.max_batch
            && state.bytes < MAX_BATCH_BYTES
    }

    fn take(&self) -> Option<Vec<Span>> {
        let mut state = self.lock();
        let mut bytes = 0;
        let mut count = 0;
        for (_, size) in state.spans.iter().take(self.settings.max_batch) {
            bytes += size;
            count += 1;
            if bytes >= MAX_BATCH_BYTES {
                break;
            }
        }
        let batch: Vec<_> = state.spans.drain(..count).map(|(span, _)| span).collect();
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.room.notify_all();
        (!batch.is_empty()).then_some(batch)
    }
}

impl State {
    fn push(&mut self, span: Span) {
        let size = estimated_size(&span);
        self.bytes += size;
        self.spans.push_back((span, size));
    }
}

/// Roughly what a span takes in memory and on the wire: a constant and its texts.
fn estimated_size(span: &Span) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::Text(text) => text.len(),
        AttributeValue::List(list) => list.iter().map(|text| text.len() + 24).sum(),
        AttributeValue::Bool(_) | AttributeValue::Int(_) | AttributeValue::Double(_) => 0,
    };
    let attributes: usize = span.attributes.iter().map(|(_, v)| 48 + value(v)).sum();
    let headers: usize = span
        .header_attributes
        .iter()
        .map(|(key, v)| 48 + key.len() + value(v))
        .sum();
    let links: usize = span
        .links
        .iter()
        .map(|link| 48 + link.attributes.iter().map(|(_, v)| 48 + value(v)).sum::<usize>())
        .sum();
    256 + span.name.len() + span.tracestate.len() + attributes + headers + links
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::export::tests::many;

    fn settings(max_queue: usize, max_batch: usize) -> BatchSettings {
        BatchSettings {
            max_queue,
            max_batch,
            delay: Some(Duration::from_millis(200)),
        }
    }

    #[test]
    fn a_full_queue_refuses_the_newest_and_says_how_many() {
        let queue = Queue::new(settings(100, 10));
        assert_eq!(queue.offer(many(60)), 0);
        assert_eq!(queue.offer(many(60)), 20);
        assert_eq!(queue.offer(many(1)), 1);
    }

    #[test]
    fn long_texts_fill_the_queue_before_their_number_does() {
        let queue = Queue::new(settings(100_000, 10));
        let mut spans = many(1_000);
        spans
            .iter_mut()
            .for_each(|span| span.tracestate = "x".repeat(100_000));
        let refused = queue.offer(spans);
        assert!((830..=840).contains(&refused), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_others_until_it_is_full_or_its_delay_is_over() {
        let queue = Queue::new(settings(100, 10));
        let begun = Instant::now();
        queue.offer(many(3));
        assert_eq!(queue.next_batch().await.unwrap().len(), 3);
        assert_eq!(begun.elapsed(), Duration::from_millis(200));
        queue.offer(many(25));
        let begun = Instant::now();
        assert_eq!(queue.next_batch().await.unwrap().len(), 10);
        assert_eq!(queue.next_batch().await.unwrap().len(), 10);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_flushes_what_is_left_and_then_says_so() {
        let queue = Arc::new(Queue::new(BatchSettings {
            delay: None,
            ..settings(100, 10)
        }));
        queue.offer(many(13));
        let reader = tokio::spawn({
            let queue = queue.clone();
            async move {
                let mut sizes = Vec::new();
                while let Some(batch) = queue.next_batch().await {
                    sizes.push(batch.len());
                }
                sizes
            }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        queue.close(Instant::now());
        assert_eq!(reader.await.unwrap(), [10, 3]);
        assert_eq!(queue.offer_waiting(many(2)), 2);
    }

    #[test]
    fn who_waits_for_room_gets_every_span_in_and_in_order() {
        let queue = Arc::new(Queue::new(BatchSettings {
            delay: None,
            ..settings(8, 4)
        }));
        let writer = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let refused = queue.offer_waiting(many(1_000));
                queue.close(Instant::now());
                refused
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut got = Vec::new();
        while let Some(batch) = runtime.block_on(queue.next_batch()) {
            got.extend(batch);
        }
        assert_eq!(writer.join().unwrap(), 0);
        assert_eq!(got, many(1_000));
    }

    #[test]
    fn the_environment_sets_the_numbers_it_states_well() {
        let from = |pairs: &[(&str, &str)]| {
            BatchSettings::from_env(|name| {
                pairs
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(from(&[]), (BatchSettings::default(), vec![]));
        let (settings, warnings) = from(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "500"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "600"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ]);
        assert_eq!(
            settings,
            BatchSettings {
                max_queue: 500,
                max_batch: 500,
                delay: Some(Duration::ZERO)
            }
        );
        assert_eq!(warnings, [""; 0]);
        let (settings, warnings) = from(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ]);
        assert_eq!(settings, BatchSettings::default());
        assert_eq!(
            warnings,
            [
                "OTEL_BSP_MAX_QUEUE_SIZE=0 is not a number of at least 1: ignored",
                "OTEL_BSP_SCHEDULE_DELAY=5s is not a number of at least 0: ignored"
            ]
        );
    }
}
