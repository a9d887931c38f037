//! The last word of a run: what was made, and every loss by stage and cause.

use std::fmt;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Spans that were made.
    pub spans: u64,
    /// What became of them, one line an exporter, as the exporter says it.
    pub exporters: Vec<String>,
    /// Losses: stage, cause, count.
    pub losses: Vec<(&'static str, &'static str, u64)>,
    /// More that a person should know, a line each.
    pub remarks: Vec<String>,
}

impl Summary {
    /// Adds a loss; none is no loss.
    pub fn lost(&mut self, stage: &'static str, cause: &'static str, count: u64) {
        if count > 0 {
            self.losses.push((stage, cause, count));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} spans made", self.spans)?;
        if self.losses.is_empty() {
            write!(out, ", nothing lost on the way")?;
        }
        for (stage, cause, count) in &self.losses {
            write!(out, "\nlost in {stage}: {count} {cause}")?;
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

    #[test]
    fn every_loss_is_told_with_its_stage_and_cause() {
        let mut summary = Summary {
            spans: 3,
            exporters: vec!["console: 3 of 3 spans delivered".into()],
            ..Summary::default()
        };
        assert_eq!(
            summary.to_string(),
            "3 spans made, nothing lost on the way\nconsole: 3 of 3 spans delivered"
        );
        summary.lost("the kernel", "ring_full", 2);
        summary.lost("the kernel", "user_fault", 0);
        assert_eq!(
            summary.to_string(),
            "3 spans made\nlost in the kernel: 2 ring_full\nconsole: 3 of 3 spans delivered"
        );
    }
}
