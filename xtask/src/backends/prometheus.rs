//! Prometheus, which scrapes the agent, and what it makes of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::spans::{Span, SpanId, Spans};
use super::{Row, ask};
use crate::process::root;
use crate::setup;

const BACKEND: &str = "Prometheus";
/// Where it listens, as it does by default.
const AT: &str = "http://127.0.0.1:9090";
/// Where the agent does.
pub const AGENT: &str = "127.0.0.1:9464";
/// The durations, and whether they are those of servers.
const DURATIONS: [(&str, bool); 2] = [
    ("http_server_request_duration_seconds", true),
    ("http_client_request_duration_seconds", false),
];
const QUANTILE: f64 = 0.9;

/// A running server; ends when dropped.
pub struct Prometheus {
    child: Child,
    log: PathBuf,
    tool: PathBuf,
}

/// What it said while the agent ran.
pub struct Said {
    up: Vec<Series>,
    faults: Vec<String>,
    lint: String,
    /// Of each of [`DURATIONS`].
    durations: Vec<Durations>,
    edges: Vec<Series>,
    exemplars: Vec<SpanId>,
}

struct Durations {
    counts: Vec<Series>,
    buckets: Vec<Series>,
    quantiles: Vec<Series>,
}

/// Its labels, and its value.
type Series = (BTreeMap<String, String>, f64);

impl Prometheus {
    pub fn start(folder: &Path) -> Result<Self> {
        let setup::backends::Prometheus { server, tool } = setup::backends::prometheus()?;
        let (log, stored) = (folder.join("prometheus.log"), folder.join("prometheus"));
        if stored.exists() {
            fs::remove_dir_all(&stored)?;
        }
        let child = Command::new(server)
            .arg("--config.file")
            .arg(root().join("tests/prometheus/prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(&stored)
            .args([
                "--web.listen-address=127.0.0.1:9090",
                "--enable-feature=exemplar-storage",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("Prometheus does not start")?;
        Ok(Self { child, log, tool })
    }

    /// To be asked while the agent runs: what ends is gone at once.
    pub fn ask(&self) -> Result<Said> {
        let mut durations = Vec::new();
        for (name, _) in DURATIONS {
            durations.push(Durations {
                counts: query(&format!("sum by (service_name) ({name}_count)"))?,
                buckets: query(&format!("sum by (service_name, le) ({name}_bucket)"))?,
                quantiles: query(&format!(
                    "histogram_quantile({QUANTILE}, sum by (service_name, le) ({name}_bucket))"
                ))?,
            });
        }
        let edges = "sum by (client, server) (traces_service_graph_request_total{connection_type=\"\"})";
        Ok(Said {
            up: query("up")?,
            faults: self.faults()?,
            lint: self.lint()?,
            durations,
            edges: query(edges)?,
            exemplars: exemplars()?,
        })
    }

    /// What it did not take as it was, or warned of.
    fn faults(&self) -> Result<Vec<String>> {
        let targets: Value = serde_json::from_str(&ask(&[&format!("{AT}/api/v1/targets")])?)?;
        let error = targets.pointer("/data/activeTargets/0/lastError");
        let error = error.and_then(Value::as_str).context("no target")?.to_owned();
        let own = ask(&[&format!("{AT}/metrics")])?;
        let refused = own
            .lines()
            .filter(|line| line.starts_with("prometheus_target_scrapes_") && !line.ends_with(" 0"));
        let log = fs::read_to_string(&self.log)?;
        let warned = log
            .lines()
            .filter(|line| line.contains("level=warn") || line.contains("level=error"));
        let told = refused.chain(warned).map(ToOwned::to_owned);
        Ok(told
            .chain(Some(error).filter(|error| !error.is_empty()))
            .collect())
    }

    /// What promtool finds in a scrape, if anything.
    fn lint(&self) -> Result<String> {
        let script = "curl -sS \"$1\" | \"$2\" check metrics 2>&1 || echo \"promtool ended with $?\"";
        let checked = Command::new("sh")
            .args(["-c", script, "sh", &format!("http://{AGENT}/metrics")])
            .arg(&self.tool)
            .output()?;
        Ok(String::from_utf8_lossy(&checked.stdout).trim().to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// What it makes of the spans is to be what they are. So many requests were sent.
    pub fn judge(&self, spans: &Spans, sent: usize) -> Vec<Row> {
        let up: Vec<_> = self.up.iter().map(|(_, value)| value.to_string()).collect();
        let mut rows = vec![
            Row::new(BACKEND, "up", "1", up.join(", ")),
            Row::new(BACKEND, "scrape errors and warnings", "", self.faults.join("; ")),
            Row::new(BACKEND, "promtool check metrics", "", self.lint.clone()),
        ];
        for ((_, of_servers), told) in DURATIONS.iter().zip(&self.durations) {
            rows.extend(told.judge(*of_servers, spans, sent));
        }
        let mut edges: BTreeMap<_, usize> = BTreeMap::new();
        for ((trace, _), span) in spans.iter().filter(|(_, span)| span.is_server) {
            if let Some(client) = spans.get(&(trace.clone(), span.parent.clone())) {
                *edges
                    .entry(vec![client.service.clone(), span.service.clone()])
                    .or_default() += 1;
            }
        }
        let told = by_labels(&self.edges, ["client", "server"]);
        rows.push(Row::of_maps(
            BACKEND,
            "edges of the service graph, with their requests",
            &edges,
            &told,
        ));
        let real = self.exemplars.iter().filter(|id| spans.contains_key(id)).count();
        let all = self.exemplars.len();
        let mut of_exemplars = Row::new(
            BACKEND,
            "exemplars that are spans",
            all.to_string(),
            real.to_string(),
        );
        of_exemplars.is_right &= all > 0;
        rows.push(of_exemplars);
        rows
    }
}

impl Durations {
    fn judge(&self, of_servers: bool, spans: &Spans, sent: usize) -> Vec<Row> {
        let [counted, in_buckets, quantiles, sum] = if of_servers {
            [
                "services, with the requests that they served",
                "buckets of servers, with their requests",
                "histogram_quantile of servers, in the right bucket",
                "requests that were sent, as counted by servers",
            ]
        } else {
            [
                "services, with the requests that they sent",
                "buckets of clients, with their requests",
                "histogram_quantile of clients, in the right bucket",
                "requests that were sent, as counted by clients",
            ]
        };
        let mut by_service: BTreeMap<Vec<String>, Vec<f64>> = BTreeMap::new();
        let is_counted = |span: &&Span| span.is_server == of_servers && span.is_answered;
        for span in spans.values().filter(is_counted) {
            by_service
                .entry(vec![span.service.clone()])
                .or_default()
                .push(span.seconds());
        }
        let counts = by_service
            .iter()
            .map(|(service, seconds)| (service.clone(), seconds.len()));
        let told = by_labels(&self.counts, ["service_name"]);
        let buckets = by_labels(&self.buckets, ["service_name", "le"]);
        // Which buckets there are is theirs to say; what is in them is not.
        let expected = buckets.keys().filter_map(|labels| {
            let [service, limit] = labels.as_slice() else {
                return None;
            };
            let limit: f64 = limit.parse().ok()?;
            let seconds = by_service
                .get(std::slice::from_ref(service))
                .map_or(&[][..], Vec::as_slice);
            Some((
                labels.clone(),
                seconds.iter().filter(|seconds| **seconds <= limit).count(),
            ))
        });
        let right = self.quantiles.iter().filter(|(labels, value)| {
            let service = labels.get("service_name").map(String::as_str).unwrap_or_default();
            is_in_bucket(&buckets, service, *value)
        });
        vec![
            Row::of_maps(BACKEND, counted, &counts.collect(), &told),
            Row::new(
                BACKEND,
                sum,
                sent.to_string(),
                told.values().sum::<usize>().to_string(),
            ),
            Row::of_maps(BACKEND, in_buckets, &expected.collect(), &buckets),
            Row::new(
                BACKEND,
                quantiles,
                by_service.len().to_string(),
                right.count().to_string(),
            ),
        ]
    }
}

/// Whether a quantile lies where the bucket of its rank does.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn is_in_bucket(buckets: &BTreeMap<Vec<String>, usize>, service: &str, quantile: f64) -> bool {
    let of_service = buckets
        .iter()
        .filter_map(|(labels, count)| match labels.as_slice() {
            [name, limit] if name == service => Some((limit.parse::<f64>().ok()?, *count as f64)),
            _ => None,
        });
    let mut of_service: Vec<_> = of_service.collect();
    of_service.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let rank = of_service.last().map_or(0.0, |(_, all)| all * QUANTILE);
    let mut below = 0.0;
    for (limit, count) in of_service {
        if count >= rank {
            return below <= quantile && quantile <= limit;
        }
        below = limit;
    }
    false
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that is none differs from what is expected"
)]
fn by_labels<const N: usize>(series: &[Series], names: [&str; N]) -> BTreeMap<Vec<String>, usize> {
    let count = |(labels, value): &Series| {
        let label = |name| labels.get(name).cloned().unwrap_or_default();
        (names.map(label).to_vec(), *value as usize)
    };
    series.iter().map(count).collect()
}

fn query(expression: &str) -> Result<Vec<Series>> {
    let asked = format!("query={expression}");
    let answer = ask(&["--get", "--data-urlencode", &asked, &format!("{AT}/api/v1/query")])?;
    let read = || {
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let series = answer.pointer("/data/result")?.as_array()?.iter().map(|series| {
            let labels = series.get("metric")?.as_object()?.iter();
            let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
            let value = series.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((labels.collect::<Option<_>>()?, value))
        });
        series.collect::<Option<Vec<Series>>>()
    };
    read().with_context(|| format!("Prometheus answered to {expression}: {answer}"))
}

fn exemplars() -> Result<Vec<SpanId>> {
    let asked = "query={__name__=~\"http_.*_bucket\"}";
    let answer = ask(&[
        "--get",
        "--data-urlencode",
        asked,
        "--data-urlencode",
        "start=0",
        "--data-urlencode",
        "end=4102444800",
        &format!("{AT}/api/v1/query_exemplars"),
    ])?;
    let answer: Value = serde_json::from_str(&answer)?;
    let series = answer
        .get("data")
        .and_then(Value::as_array)
        .context("no exemplars")?;
    let all = series
        .iter()
        .filter_map(|series| series.get("exemplars")?.as_array())
        .flatten();
    let id = |exemplar: &Value| {
        let label = |name| Some(exemplar.get("labels")?.get(name)?.as_str()?.to_owned());
        Some((label("trace_id")?, label("span_id")?))
    };
    all.map(|exemplar| id(exemplar).with_context(|| format!("exemplar {exemplar}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_rank() {
        let bucket = |limit: &str, count| (vec!["shop".to_owned(), limit.to_owned()], count);
        // The ninth of ten is the first above 0.5.
        let buckets = BTreeMap::from([
            bucket("0.1", 5),
            bucket("0.5", 8),
            bucket("10", 9),
            bucket("+Inf", 10),
        ]);
        for (quantile, is_right) in [
            (0.4, false),
            (0.6, true),
            (10.0, true),
            (10.1, false),
            (f64::NAN, false),
        ] {
            assert_eq!(is_in_bucket(&buckets, "shop", quantile), is_right, "{quantile}");
        }
        assert!(!is_in_bucket(&buckets, "bank", 0.6));
    }
}
