//! Compares exported spans with the calls that were really made.
//!
//! In: the paths that a workload called (`tests/workloads/paths.py` says how a path holds the true tree) and the
//! agent's json export. Out: a [`Verdict`]. Kept true: the verdict comes from the paths alone; no id, time or
//! name that the agent chose serves as evidence for itself.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

mod calibration;
mod export;
mod truth;

pub use calibration::{Bin, Calibration, Claim, Range};
pub use export::{ExportError, Kind, SeenSpan};
pub use truth::{Call, Truth};

/// How the exported spans compare with the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Spans that should be there.
    pub expected_spans: usize,
    /// Spans that are there once or more.
    pub found_spans: usize,
    /// Parent links that should be there.
    pub true_links: usize,
    /// Parent links that are there and right, in the right trace.
    pub right_links: usize,
    /// Parent links of the workload's spans that are there.
    pub exported_links: usize,
    /// Spans that have a parent in truth and none in the export.
    pub orphans: usize,
    /// Spans beyond the first for one end of one call.
    pub duplicates: usize,
    /// Spans whose parent was not exported.
    pub dangling: usize,
    /// Spans of the workload for calls that were not made.
    pub unexpected: usize,
    /// Spans that are no call of the workload; they are not judged.
    pub foreign: usize,
    /// The links that are there, by their evidence: how many are right, and how many there are.
    pub by_evidence: BTreeMap<String, (usize, usize)>,
    /// Those found by `timing`, and what was not sure enough to be one, by the confidence that they claim.
    pub calibration: Calibration,
    /// The first few mistakes, in words.
    pub examples: Vec<String>,
}

/// The evidence that claims no more than a likelihood.
pub const TIMING: &str = "timing";
/// Mistakes that are told in words.
const EXAMPLES_MAX: usize = 10;

impl Verdict {
    /// Right links among those exported, 0 to 1; 1 if none was exported.
    pub fn precision(&self) -> f64 {
        ratio(self.right_links, self.exported_links)
    }

    /// Right links among those that exist, 0 to 1.
    pub fn recall(&self) -> f64 {
        ratio(self.right_links, self.true_links)
    }

    /// Links that are wrong although they claim to be proven.
    pub fn wrong_though_proven(&self) -> usize {
        let proven = self
            .by_evidence
            .iter()
            .filter(|(evidence, _)| *evidence != TIMING);
        proven.map(|(_, (right, all))| all - right).sum()
    }

    /// Whether every span and every link is there, right, and once.
    pub fn is_perfect(&self) -> bool {
        self.found_spans == self.expected_spans
            && self.right_links == self.true_links
            && self.exported_links == self.right_links
            && [self.orphans, self.duplicates, self.dangling, self.unexpected] == [0; 4]
    }

    fn tell(&mut self, mistake: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(mistake());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of spans are far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "spans {}/{}, links {}/{}, precision {:.4} %, recall {:.4} %, orphans {}, duplicates {}, dangling {}, \
             unexpected {}, foreign {}",
            self.found_spans,
            self.expected_spans,
            self.right_links,
            self.true_links,
            self.precision() * 100.0,
            self.recall() * 100.0,
            self.orphans,
            self.duplicates,
            self.dangling,
            self.unexpected,
            self.foreign
        )?;
        self.examples
            .iter()
            .try_for_each(|example| write!(out, "\n  {example}"))
    }
}

/// Judges an export: its lines, as `--export json=FILE` writes them.
///
/// # Errors
/// When a line is not an `ExportTraceServiceRequest` in OTLP/JSON.
pub fn judge<'a>(truth: &Truth, lines: impl IntoIterator<Item = &'a str>) -> Result<Verdict, ExportError> {
    let mut spans = Vec::new();
    for line in lines.into_iter().filter(|line| !line.trim().is_empty()) {
        export::read_line(line, &mut spans)?;
    }
    Ok(compare(truth, &spans))
}

/// One end of one call.
type End<'a> = (&'a str, Kind);

fn compare(truth: &Truth, spans: &[SeenSpan]) -> Verdict {
    let by_id: HashMap<&str, &SeenSpan> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let mut verdict = Verdict {
        expected_spans: truth.ends().count(),
        true_links: truth.ends().filter(|end| truth.parent_of(*end).is_some()).count(),
        ..Verdict::default()
    };
    let mut first: HashMap<End<'_>, &str> = HashMap::new();
    for span in spans {
        let Some(path) = span.path.as_deref().filter(|path| truth::is_work(path)) else {
            verdict.foreign += 1;
            continue;
        };
        let end = (path, span.kind);
        let parent = span.parent.as_deref();
        verdict.exported_links += usize::from(parent.is_some());
        let parent_span = parent.and_then(|id| by_id.get(id).copied());
        if parent.is_some() && parent_span.is_none() {
            verdict.dangling += 1;
            verdict.tell(|| format!("{} has a parent that was not exported", told(end)));
        }
        if !truth.contains(end) {
            verdict.unexpected += 1;
            verdict.tell(|| format!("{} was never made", told(end)));
            continue;
        }
        if let Some(other) = first.insert(end, &span.id) {
            verdict.duplicates += 1;
            verdict.tell(|| format!("{} is there twice: {other} and {}", told(end), span.id));
            continue;
        }
        verdict.found_spans += 1;
        let true_parent = truth.parent_of(end);
        let mut is_right = false;
        match (true_parent, parent_span) {
            (Some(wanted), Some(parent)) if parent.is(wanted) && parent.trace == span.trace => {
                verdict.right_links += 1;
                is_right = true;
            }
            (Some(wanted), Some(parent)) if parent.is(wanted) => {
                verdict.tell(|| format!("{} is in another trace than its parent", told(end)));
            }
            (Some(wanted), _) if parent.is_none() => {
                verdict.orphans += 1;
                verdict.tell(|| format!("{} has no parent, it should be {}", told(end), told(wanted)));
            }
            (wanted, Some(parent)) => verdict.tell(|| {
                let wanted = wanted.map_or_else(|| "none".to_owned(), told);
                format!(
                    "{} is under {}, it should be under {wanted}",
                    told(end),
                    parent.told()
                )
            }),
            // Dangling was told above; a root without parent is as it should be.
            (_, None) => {}
        }
        if span.parent.is_some() {
            let evidence = span.evidence.clone().unwrap_or_default();
            let (right, all) = verdict.by_evidence.entry(evidence).or_default();
            *right += usize::from(is_right);
            *all += 1;
        }
        if span.evidence.as_deref() == Some(TIMING) {
            // One that does not say how likely it is claims to be certain.
            let claim = span.claim.unwrap_or(Claim::CERTAIN);
            verdict.calibration.link(claim, is_right);
        }
        for (candidate, claim) in &span.candidates {
            let candidate = by_id.get(candidate.as_str());
            let is_right = candidate
                .zip(true_parent)
                .is_some_and(|(span, wanted)| span.is(wanted));
            verdict.calibration.candidate(*claim, is_right);
        }
    }
    if verdict.found_spans < verdict.expected_spans {
        for missing in truth
            .ends()
            .filter(|end| !first.contains_key(end))
            .take(EXAMPLES_MAX)
        {
            verdict.tell(|| format!("{} is missing", told(missing)));
        }
    }
    verdict
}

fn told((path, kind): End<'_>) -> String {
    format!("{kind} {path}")
}

#[cfg(test)]
mod tests;
