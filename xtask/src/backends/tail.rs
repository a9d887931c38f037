//! `deploy/collector`, as it is: a Collector that balances, two that sample behind it, and a Jaeger behind these.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::Row;
use super::jaeger::{GRPC, HTTP, Jaeger};
use super::network::{Network, Node};
use super::spans::{self, Span, Spans};
use crate::process::root;
use crate::setup::backends::COLLECTOR;

const BACKEND: &str = "Collector";
/// After its first span a trace is decided, by `decision_wait` of tail.yaml (35 s); then it is sent.
pub const DECIDED: Duration = Duration::from_secs(45);
/// `threshold_ms` of tail.yaml; a trace takes longer.
const SLOW_MS: u64 = 500;
/// `sampling_percentage` of tail.yaml.
const SHARE: f64 = 0.05;
/// Within so many standard deviations a share is in 9,999 of 10,000 runs.
const DEVIATIONS: f64 = 3.9;

pub struct Tiers {
    balance: Node,
    samplers: [Node; 2],
    behind: Jaeger,
}

impl Tiers {
    pub fn start(network: &mut Network) -> Result<Self> {
        let behind = Jaeger::start(network, "jaeger-sampled")?;
        let backend = behind.otlp(GRPC);
        let mut tail = |name| network.start(name, collector("tail.yaml").env("BACKEND", &backend), &[GRPC]);
        let samplers = [tail("tail-1")?, tail("tail-2")?];
        network.name("tail-samplers", &samplers.each_ref())?;
        let mut command = collector("balance.yaml");
        command.env("TAIL_SAMPLERS", "tail-samplers");
        Ok(Self {
            balance: network.start("balance", &mut command, &[GRPC, HTTP])?,
            samplers,
            behind,
        })
    }

    /// `HOST:PORT` of its OTLP.
    pub fn otlp(&self) -> String {
        format!("{}:{GRPC}", self.balance.address)
    }

    /// What is kept is to be what tail.yaml says, and whole.
    pub fn judge(&self, spans: &Spans) -> Result<Vec<Row>> {
        let found = self.behind.spans()?;
        let kept = spans::traces(&found);
        let mut of_traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
        for ((trace, _), span) in spans {
            of_traces.entry(trace).or_default().push(span);
        }
        let all = spans::traces(spans);
        let of_which = |is: &dyn Fn(&[&Span]) -> bool, among: &BTreeMap<String, usize>| -> BTreeMap<_, _> {
            let is = |trace: &str| of_traces.get(trace).is_some_and(|spans| is(spans));
            let traces = among.iter().filter(|(trace, _)| is(trace));
            traces.map(|(trace, spans)| (trace.clone(), *spans)).collect()
        };
        let fails = |spans: &[&Span]| spans.iter().any(|span| span.is_error);
        let [failed, failed_kept] = [&all, &kept].map(|among| of_which(&fails, among));
        let slow = |spans: &[&Span]| !fails(spans) && is_slow(spans);
        let [slow, slow_kept] = [&all, &kept].map(|among| of_which(&slow, among));
        let other = |spans: &[&Span]| !fails(spans) && !is_slow(spans);
        let [others, others_kept] = [&all, &kept].map(|among| of_which(&other, among));
        let (low, high) = share(others.len());
        let mut of_share = Row::new(
            BACKEND,
            "traces of the others, 5 in 100",
            format!("{low} to {high} of {}", others.len()),
            others_kept.len().to_string(),
        );
        of_share.is_right = (low..=high).contains(&others_kept.len());
        let whole = spans.iter().filter(|((trace, _), _)| kept.contains_key(trace));
        let whole = whole.map(|(id, span)| (id.clone(), span.clone())).collect();
        let [one, other] = &self.samplers;
        let (one, other) = (one.bytes()?, other.bytes()?);
        let mut of_samplers = Row::new(
            BACKEND,
            "bytes to each of two samplers",
            "a third or more".to_owned(),
            format!("{one} and {other}"),
        );
        of_samplers.is_right = one.min(other) * 3 >= one + other;
        Ok(vec![
            of_samplers,
            Row::of_maps(BACKEND, "traces with an error, whole", &failed, &failed_kept),
            Row::of_maps(BACKEND, "slow traces, whole", &slow, &slow_kept),
            of_share,
            Row::of_maps(
                BACKEND,
                "spans of what is kept, every field of each",
                &whole,
                &found,
            ),
        ])
    }
}

fn collector(file: &str) -> Command {
    let mut command = Command::new(COLLECTOR.program());
    command
        .arg("--config")
        .arg(root().join(Path::new("deploy/collector").join(file)));
    command
}

fn is_slow(spans: &[&Span]) -> bool {
    let start = spans.iter().map(|span| span.start).min().unwrap_or_default();
    let end = spans.iter().map(|span| span.end).max().unwrap_or_default();
    (end - start) / 1_000_000 > SLOW_MS
}

/// How few and how many of so many traces may be kept, if each is by chance.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of traces, not below none"
)]
fn share(traces: usize) -> (usize, usize) {
    let mean = traces as f64 * SHARE;
    let spread = DEVIATIONS * (mean * (1.0 - SHARE)).sqrt();
    ((mean - spread).max(0.0).ceil() as usize, (mean + spread) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_known_but_for_chance() {
        assert_eq!(share(800), (16, 64));
        assert_eq!(share(0), (0, 0));
    }
}
