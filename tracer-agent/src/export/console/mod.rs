//! The console: a waterfall for people on standard output, at the end of the run or as traces come to rest.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    batch::Queue,
    report::{Counters, DropCause},
};

mod collect;
mod draw;
mod text;
mod tree;

use collect::{Collection, Trace};

/// How the waterfall looks and when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Columns.
    pub width: usize,
    /// ANSI colours.
    pub colour: bool,
    /// Show the evidence of each parent link.
    pub verbose: bool,
    /// When traces are shown.
    pub when: ShowWhen,
}

/// When traces are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowWhen {
    /// At the end of the run, the slowest of them, as many as this (`trace`, `demo`, `replay`).
    AtEnd(usize),
    /// Each when it has come to rest (`run`).
    Quiet,
}

/// Traces shown at the end of a run, unless told otherwise.
pub const SLOWEST_SHOWN: usize = 10;
/// Columns where the output is no terminal.
const DEFAULT_WIDTH: usize = 100;
const MIN_WIDTH: usize = 40;
const MAX_WIDTH: usize = 400;
/// A trace without a new span for this long has come to rest.
const QUIET: Duration = Duration::from_secs(2);

impl ConsoleSettings {
    /// The settings for the standard output of this process: width of the terminal, else `COLUMNS`, else 100;
    /// colour on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    pub fn for_stdout(when: ShowWhen, verbose: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let terminal = rustix::termios::tcgetwinsize(io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col));
        Self::resolve(terminal, io::stdout().is_terminal(), when, verbose, env)
    }

    fn resolve(
        terminal: Option<usize>,
        is_terminal: bool,
        when: ShowWhen,
        verbose: bool,
        env: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let width = terminal
            .filter(|width| *width > 0)
            .or_else(|| env("COLUMNS").and_then(|text| text.trim().parse().ok()))
            .unwrap_or(DEFAULT_WIDTH)
            .clamp(MIN_WIDTH, MAX_WIDTH);
        let no_color = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env("TERM").is_some_and(|term| term == "dumb");
        Self {
            width,
            colour: is_terminal && !no_color && !dumb,
            verbose,
            when,
        }
    }
}

/// What the stages before have lost, told in the last line. Set before the queue is closed.
#[derive(Default)]
pub(crate) struct Losses(Mutex<Vec<(&'static str, u64)>>);

impl Losses {
    pub(crate) fn set(&self, losses: &[(&'static str, u64)]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = losses.to_vec();
    }

    fn get(&self) -> Vec<(&'static str, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The exporter to standard output.
pub(crate) struct ConsoleExporter {
    settings: ConsoleSettings,
    losses: std::sync::Arc<Losses>,
    collection: Collection,
    /// Spans that were taken in and not written yet.
    unwritten: u64,
}

impl ConsoleExporter {
    pub(crate) fn new(settings: ConsoleSettings, losses: std::sync::Arc<Losses>) -> Self {
        Self {
            settings,
            losses,
            collection: Collection::default(),
            unwritten: 0,
        }
    }

    /// Shows traces until the queue is closed and empty, then the rest and the last line.
    pub(crate) async fn run(mut self, queue: &Queue, counters: &Counters) {
        loop {
            match tokio::time::timeout(QUIET / 4, queue.next_batch()).await {
                Ok(Some(spans)) => {
                    self.unwritten += spans.len() as u64;
                    let now = Instant::now();
                    spans.into_iter().for_each(|span| self.collection.push(span, now));
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if self.settings.when == ShowWhen::Quiet {
                let now = Instant::now();
                let quiet = self.collection.take_quiet(now.checked_sub(QUIET).unwrap_or(now));
                self.show(&quiet, String::new(), counters).await;
            }
        }
        let most = match self.settings.when {
            ShowWhen::AtEnd(most) => most,
            ShowWhen::Quiet => usize::MAX,
        };
        let last = self.collection.take_slowest(most);
        let mut losses = self.losses.get();
        losses.extend(
            counters
                .report()
                .dropped
                .iter()
                .map(|(cause, count)| (cause.name(), *count)),
        );
        let hidden = match self.settings.when {
            ShowWhen::AtEnd(_) => self.collection.traces() - last.len(),
            ShowWhen::Quiet => self.collection.evicted,
        };
        let summary = summary(&self.collection, hidden, &losses);
        self.show(&last, summary, counters).await;
    }

    async fn show(&mut self, traces: &[Trace], end: String, counters: &Counters) {
        let shown: u64 = match end.is_empty() {
            true => traces
                .iter()
                .map(|trace| (trace.rows.len() + trace.omitted) as u64)
                .sum(),
            false => self.unwritten,
        };
        let page: String = traces
            .iter()
            .map(|trace| draw::trace(trace, &self.settings))
            .chain([end])
            .collect();
        if page.is_empty() {
            return;
        }
        self.unwritten -= shown.min(self.unwritten);
        // A terminal that is stopped blocks its writer: not on the thread of the other exporters.
        let written = tokio::task::spawn_blocking(move || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(page.as_bytes()).and_then(|()| stdout.flush())
        });
        match written.await {
            Ok(Ok(())) => counters.deliver(shown),
            Ok(Err(error)) => {
                counters.drop_spans(DropCause::WriteFailed, shown);
                counters.notice(format!("{shown} spans not written: {error}"));
            }
            Err(_) => {}
        }
    }
}

/// The last line: how much there was, how much of it is not above, and what is missing.
fn summary(collection: &Collection, hidden: usize, losses: &[(&str, u64)]) -> String {
    let mut line = match collection.spans {
        0 => "no spans: no HTTP request was seen".to_owned(),
        spans => format!(
            "{} in {}, {}",
            text::count(spans, "span"),
            text::count(collection.traces(), "trace"),
            text::count(collection.services(), "service"),
        ),
    };
    if hidden > 0 {
        line.push_str(&format!(
            "; {} not shown, they were faster",
            text::count(hidden, "more trace")
        ));
    }
    let losses: Vec<_> = losses
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    match losses.is_empty() {
        true => line.push_str("; nothing was lost\n"),
        false => line.push_str(&format!("; lost: {}\n", losses.join(", "))),
    }
    line
}

#[cfg(test)]
mod tests;
