//! What became of the spans: counters that are read while the agent runs, and the notices for its log.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Why a span was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropCause {
    /// The queue was full, in memory or on disk: the exporter is slower than the spans come.
    QueueFull,
    /// The backend answered that it will never take this request.
    Refused,
    /// The backend took the request but not this span (OTLP partial success).
    Rejected,
    /// The backend could not be reached, or stayed busy, until the retries were used up.
    Unreachable,
    /// The file or terminal could not be written.
    WriteFailed,
    /// The agent ended before the span could be delivered.
    Shutdown,
    /// It waited on disk for longer than it may.
    Expired,
    /// It was damaged on the disk.
    Corrupt,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::Refused,
        Self::Rejected,
        Self::Unreachable,
        Self::WriteFailed,
        Self::Shutdown,
        Self::Expired,
        Self::Corrupt,
    ];

    /// The cause as it appears in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::WriteFailed => "write_failed",
            Self::Shutdown => "shutdown",
            Self::Expired => "expired",
            Self::Corrupt => "corrupt",
        }
    }
}

/// What became of the spans so far, one entry an exporter, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each exporter.
    pub exporters: Vec<ExporterReport>,
}

impl Report {
    /// Spans that some exporter did not deliver.
    pub fn dropped(&self) -> u64 {
        self.exporters.iter().map(ExporterReport::dropped_total).sum()
    }
}

/// What became of the spans of one exporter. Once it has ended,
/// `accepted + resumed == delivered + dropped_total() + kept`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExporterReport {
    /// What it writes to, without secrets: `console`, `json:FILE`, `otlp:URL`.
    pub exporter: String,
    /// Spans handed to it.
    pub accepted: u64,
    /// Spans that an earlier run had left on disk.
    pub resumed: u64,
    /// Spans that wait on disk, at the end for the next run.
    pub kept: u64,
    /// What the queue on disk could not do when it was asked.
    pub disk_errors: u64,
    /// Spans that arrived.
    pub delivered: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Spans that did not arrive, by cause; causes without a span are left out.
    pub dropped: Vec<(DropCause, u64)>,
    /// Each of its endpoints, in the order in which they were given; none where it has but one.
    pub endpoints: Vec<EndpointReport>,
}

/// What became of the spans and requests that one of several endpoints was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointReport {
    /// Its URL, without secrets.
    pub endpoint: String,
    /// Spans that it took.
    pub delivered: u64,
    /// Requests that it failed, so that it or another was asked again.
    pub failures: u64,
}

impl Report {
    /// Adds what became of the spans of an exporter that began after these, to those of one of the same name if there is one.
    pub(super) fn add(&mut self, later: ExporterReport) {
        let known = |report: &&mut ExporterReport| report.exporter == later.exporter;
        match self.exporters.iter_mut().find(known) {
            Some(report) => report.add(later),
            None => self.exporters.push(later),
        }
    }
}

impl ExporterReport {
    /// Goes on with what became of the spans of a later one of the same name.
    fn add(&mut self, later: Self) {
        // What it had left on disk is the other's now, and nothing new.
        let taken_up = self.kept.min(later.resumed);
        self.kept = self.kept - taken_up + later.kept;
        self.resumed += later.resumed - taken_up;
        self.accepted += later.accepted;
        self.disk_errors += later.disk_errors;
        self.delivered += later.delivered;
        self.retries += later.retries;
        for (cause, count) in later.dropped {
            match self.dropped.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += count,
                None => self.dropped.push((cause, count)),
            }
        }
        for endpoint in later.endpoints {
            let known = |known: &&mut EndpointReport| known.endpoint == endpoint.endpoint;
            match self.endpoints.iter_mut().find(known) {
                Some(sum) => {
                    sum.delivered += endpoint.delivered;
                    sum.failures += endpoint.failures;
                }
                None => self.endpoints.push(endpoint),
            }
        }
    }

    /// What became of them, for a line that names the exporter already.
    pub(super) fn fates(&self) -> Fates<'_> {
        Fates(self)
    }

    /// Spans that did not arrive, all causes together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for ExporterReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.exporter, self.fates())
    }
}

/// What became of the spans, in words.
pub(super) struct Fates<'a>(&'a ExporterReport);

impl fmt::Display for Fates<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let taken = report.accepted + report.resumed;
        write!(out, "{} of {taken} spans delivered", report.delivered)?;
        if report.resumed > 0 {
            write!(out, " ({} of an earlier run)", report.resumed)?;
        }
        if report.kept > 0 {
            write!(out, "; kept on disk: {}", report.kept)?;
        }
        for (place, (cause, count)) in report.dropped.iter().enumerate() {
            let lead = if place == 0 { "; lost: " } else { ", " };
            write!(out, "{lead}{} {count}", cause.name())?;
        }
        for endpoint in &report.endpoints {
            write!(out, "; {} took {}", endpoint.endpoint, endpoint.delivered)?;
            if endpoint.failures > 0 {
                write!(out, " and failed {} times", endpoint.failures)?;
            }
        }
        Ok(())
    }
}

/// Something an operator wants to read once, not once a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The exporter, as in [`ExporterReport::exporter`].
    pub exporter: String,
    /// What happened and what it cost.
    pub text: String,
    /// Like notices since the last one that were not passed on.
    pub suppressed: u64,
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.exporter, self.text)?;
        match self.suppressed {
            0 => Ok(()),
            more => write!(out, " (and {more} like it before)"),
        }
    }
}

/// Where notices go.
pub type Notify = std::sync::Arc<dyn Fn(Notice) + Send + Sync>;

/// The live counters of one exporter.
pub(crate) struct Counters {
    exporter: String,
    accepted: AtomicU64,
    resumed: AtomicU64,
    kept: AtomicU64,
    disk_errors: AtomicU64,
    delivered: AtomicU64,
    retries: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
    endpoints: Vec<EndpointCounters>,
    notify: Notify,
    noticed: Mutex<Noticed>,
}

struct EndpointCounters {
    endpoint: String,
    delivered: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct Noticed {
    last: Option<Instant>,
    suppressed: u64,
}

/// At most one notice of an exporter in this time.
const NOTICE_INTERVAL: Duration = Duration::from_secs(30);

impl Counters {
    pub(crate) fn new(exporter: String, notify: Notify) -> Self {
        Self {
            exporter,
            accepted: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            disk_errors: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            dropped: Default::default(),
            endpoints: Vec::new(),
            notify,
            noticed: Mutex::default(),
        }
    }

    /// The same, which counts for each of several endpoints too.
    pub(crate) fn of_endpoints(self, names: Vec<String>) -> Self {
        let of = |endpoint| EndpointCounters {
            endpoint,
            delivered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        Self {
            endpoints: names.into_iter().map(of).collect(),
            ..self
        }
    }

    pub(crate) fn accept(&self, spans: usize) {
        self.accepted.fetch_add(spans as u64, Relaxed);
    }

    /// Spans of an earlier run that this one is to deliver.
    pub(crate) fn resume(&self, spans: u64) {
        self.resumed.fetch_add(spans, Relaxed);
    }

    /// Spans that are on disk now.
    pub(crate) fn keep(&self, spans: u64) {
        self.kept.store(spans, Relaxed);
    }

    pub(crate) fn disk_errors(&self, errors: u64) {
        self.disk_errors.fetch_add(errors, Relaxed);
    }

    pub(crate) fn deliver(&self, spans: u64) {
        self.delivered.fetch_add(spans, Relaxed);
    }

    /// The endpoint at this place took these spans.
    pub(crate) fn endpoint_took(&self, place: usize, spans: u64) {
        if let Some(endpoint) = self.endpoints.get(place) {
            endpoint.delivered.fetch_add(spans, Relaxed);
        }
    }

    /// The endpoint at this place did not take a request that may be sent again.
    pub(crate) fn endpoint_failed(&self, place: usize) {
        if let Some(endpoint) = self.endpoints.get(place) {
            endpoint.failures.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn drop_spans(&self, cause: DropCause, spans: u64) {
        if let Some(counter) = self.dropped.get(cause as usize) {
            counter.fetch_add(spans, Relaxed);
        }
    }

    /// Counts whatever was accepted, has had no fate yet and is not on disk as lost by the end of the agent.
    pub(crate) fn close(&self) {
        let report = self.report();
        let open =
            (report.accepted + report.resumed).saturating_sub(report.delivered + report.dropped_total());
        // A batch that has just arrived may be taken off the disk no more.
        let kept = report.kept.min(open);
        self.keep(kept);
        self.drop_spans(DropCause::Shutdown, open - kept);
    }

    pub(crate) fn notice(&self, text: String) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if noticed.last.is_some_and(|last| last.elapsed() < NOTICE_INTERVAL) {
            noticed.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut noticed.suppressed);
        noticed.last = Some(Instant::now());
        drop(noticed);
        (self.notify)(Notice {
            exporter: self.exporter.clone(),
            text,
            suppressed,
        });
    }

    /// Says what is said but once.
    pub(super) fn tell(&self, text: String) {
        (self.notify)(Notice {
            exporter: self.exporter.clone(),
            text,
            suppressed: 0,
        });
    }

    pub(crate) fn report(&self) -> ExporterReport {
        ExporterReport {
            exporter: self.exporter.clone(),
            accepted: self.accepted.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            kept: self.kept.load(Relaxed),
            disk_errors: self.disk_errors.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            retries: self.retries.load(Relaxed),
            dropped: DropCause::ALL
                .into_iter()
                .zip(&self.dropped)
                .map(|(cause, count)| (cause, count.load(Relaxed)))
                .filter(|(_, count)| *count != 0)
                .collect(),
            endpoints: self
                .endpoints
                .iter()
                .map(|endpoint| EndpointReport {
                    endpoint: endpoint.endpoint.clone(),
                    delivered: endpoint.delivered.load(Relaxed),
                    failures: endpoint.failures.load(Relaxed),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_has_no_fate_at_the_end_is_counted_as_lost_by_shutdown() {
        let counters = Counters::new("console".into(), Arc::new(|_| ()));
        counters.accept(10);
        counters.deliver(6);
        counters.drop_spans(DropCause::QueueFull, 1);
        counters.close();
        let report = counters.report();
        assert_eq!(
            report.dropped,
            [(DropCause::QueueFull, 1), (DropCause::Shutdown, 3)]
        );
        assert_eq!(
            report.to_string(),
            "console: 6 of 10 spans delivered; lost: queue_full 1, shutdown 3"
        );
    }

    #[test]
    fn each_of_several_endpoints_is_told() {
        let names = vec!["http://a".to_owned(), "http://b".to_owned()];
        let counters = Counters::new("otlp:http://a,http://b".into(), Arc::new(|_| ())).of_endpoints(names);
        counters.accept(10);
        counters.deliver(10);
        counters.endpoint_took(0, 4);
        counters.endpoint_failed(0);
        counters.endpoint_took(1, 6);
        assert_eq!(
            counters.report().to_string(),
            "otlp:http://a,http://b: 10 of 10 spans delivered; http://a took 4 and failed 1 times; http://b took 6"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn notices_come_once_in_a_while_and_say_how_many_were_held_back() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = heard.clone();
        let counters = Counters::new("json:x".into(), Arc::new(move |n| sink.lock().unwrap().push(n)));
        for _ in 0..5 {
            counters.notice("disk full".into());
        }
        tokio::time::advance(NOTICE_INTERVAL).await;
        counters.notice("disk full".into());
        let heard: Vec<_> = heard.lock().unwrap().iter().map(Notice::to_string).collect();
        assert_eq!(
            heard,
            ["json:x: disk full", "json:x: disk full (and 4 like it before)"]
        );
    }
}
