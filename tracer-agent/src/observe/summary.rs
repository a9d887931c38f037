//! The last word of a run: what was made, and every loss by stage and cause.

use std::fmt;

/// Counters of the stages that tell of no loss and no doubt; every other one is told when it is not zero, so that a
/// counter that is new is told too.
const ORDINARY: &[&str] = &[
    // capture
    "packets",
    "tcp_connections",
    "repeated_segments",
    // connections
    "opened",
    "own",
    // protocols
    "exchanges",
    "connects_failed",
    "requests_of_agent",
    "informational_responses",
    // correlate
    "begun",
    "exported",
    "withheld",
    "unsampled",
    "linked_header",
    "linked_connection",
    "linked_task",
    "roots",
    "instrumented_processes",
    "interleaving_threads",
    "migrating_processes",
    // tail
    "kept_by_rule",
    "kept_by_share",
    "dropped_traces",
    "dropped_spans",
    "late_spans",
    // at high rates what is over is forgotten sooner; a child that comes later than that is counted by its own cause
    "evicted_over",
];

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Spans that were made.
    pub spans: u64,
    /// What became of them, one line an exporter, as the exporter says it.
    pub exporters: Vec<String>,
    /// What was lost, or not understood, on the way: stage, what, how many.
    pub losses: Vec<(&'static str, &'static str, u64)>,
    /// More that a person should know, a line each.
    pub remarks: Vec<String>,
}

impl Summary {
    /// The summary of a run that made so many spans and counted this.
    pub fn new(spans: u64, counters: impl IntoIterator<Item = (&'static str, &'static str, u64)>) -> Self {
        let losses = counters
            .into_iter()
            .filter(|(_, what, count)| *count > 0 && !ORDINARY.contains(what));
        Self {
            spans,
            losses: losses.collect(),
            ..Self::default()
        }
    }

    /// There is more to say than how many spans were made.
    pub fn has_news(&self) -> bool {
        !self.losses.is_empty() || !self.remarks.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {} made",
            self.spans,
            if self.spans == 1 { "span" } else { "spans" }
        )?;
        if self.losses.is_empty() {
            write!(out, ", nothing lost on the way")?;
        }
        for (stage, what, count) in &self.losses {
            write!(out, "\n{stage}: {what} {count}")?;
        }
        self.exporters
            .iter()
            .chain(&self.remarks)
            .try_for_each(|line| write!(out, "\n{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::pcap::CaptureCounters,
        pipeline::{Pipeline, Settings},
    };

    #[test]
    fn every_loss_is_told_with_its_stage_and_cause_and_what_is_ordinary_is_not() {
        let counters = [
            ("kernel", "ring_full", 2),
            ("kernel", "user_fault", 0),
            ("correlate", "roots", 3),
        ];
        let mut summary = Summary::new(3, counters);
        summary.exporters.push("console: 3 of 3 spans delivered".into());
        assert_eq!(
            summary.to_string(),
            "3 spans made\nkernel: ring_full 2\nconsole: 3 of 3 spans delivered"
        );
        assert!(summary.has_news());
    }

    #[test]
    fn a_run_without_loss_says_so() {
        assert_eq!(
            Summary::new(1, []).to_string(),
            "1 span made, nothing lost on the way"
        );
        assert!(!Summary::new(1, []).has_news());
    }

    #[test]
    fn what_is_called_ordinary_is_a_counter_of_some_stage() {
        let counters = Pipeline::new(Settings::default()).counters();
        let mut known: Vec<_> = counters.iter().map(|(_, what, _)| *what).collect();
        known.extend(CaptureCounters::default().by_cause().map(|(what, _)| what));
        for name in ORDINARY {
            assert!(known.contains(name), "{name}");
        }
    }
}
