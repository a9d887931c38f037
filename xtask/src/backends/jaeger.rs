//! Jaeger, all in one, as it is by default; and what it has.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::network::{Network, Node};
use super::spans::{self, Spans};
use super::{Row, ask};
use crate::setup::backends::JAEGER;

const QUERY: u16 = 16686;
pub const GRPC: u16 = 4317;
pub const HTTP: u16 = 4318;
/// More than there are.
const TRACES_MAX: u32 = 100_000;
/// What is taken is not there at once.
const TRIES: usize = 20;

pub struct Jaeger(pub Node);

impl Jaeger {
    pub fn start(network: &mut Network, name: &str) -> Result<Self> {
        let mut command = Command::new(JAEGER.program());
        command
            .env("JAEGER_LISTEN_HOST", "0.0.0.0")
            // It traces the queries that it answers.
            .env("OTEL_TRACES_SAMPLER", "always_off");
        Ok(Self(network.start(name, &mut command, &[GRPC, HTTP, QUERY])?))
    }

    /// `HOST:PORT` of its OTLP.
    pub fn otlp(&self, port: u16) -> String {
        format!("{}:{port}", self.0.address)
    }

    pub fn services(&self) -> Result<Vec<String>> {
        let answer = self.ask("services")?;
        let names = answer.get("services").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        Ok(names.map(ToOwned::to_owned).collect())
    }

    /// Every trace of every service that it knows.
    pub fn spans(&self) -> Result<Spans> {
        let mut all = Spans::new();
        for service in self.services()? {
            let answer = self.ask(&format!(
                "traces?query.service_name={service}&query.num_traces={TRACES_MAX}\
                 &query.start_time_min=2000-01-01T00:00:00Z&query.start_time_max=2100-01-01T00:00:00Z"
            ))?;
            all.extend(spans::read(answer.get("result").cloned())?);
        }
        Ok(all)
    }

    /// What it has is to be what the agent wrote down.
    pub fn judge(&self, backend: &'static str, expected: &Spans) -> Result<Vec<Row>> {
        let mut found = self.spans()?;
        for _ in 0..TRIES {
            if found.len() >= expected.len() {
                break;
            }
            thread::sleep(Duration::from_millis(500));
            found = self.spans()?;
        }
        let services = expected.values().map(|span| (span.service.clone(), ()));
        let known = self.services()?.into_iter().map(|name| (name, ()));
        let parents = |spans: &Spans| -> BTreeMap<_, _> {
            let parents = spans.iter().map(|(id, span)| (id.clone(), span.parent.clone()));
            parents.filter(|(_, parent)| !parent.is_empty()).collect()
        };
        Ok(vec![
            Row::of_maps(backend, "services", &services.collect(), &known.collect()),
            Row::of_maps(
                backend,
                "traces, each with all its spans",
                &spans::traces(expected),
                &spans::traces(&found),
            ),
            Row::of_maps(backend, "parents", &parents(expected), &parents(&found)),
            Row::of_maps(backend, "spans, every field of each", expected, &found),
        ])
    }

    fn ask(&self, what: &str) -> Result<Value> {
        let answer = ask(&[&format!("http://{}:{QUERY}/api/v3/{what}", self.0.address)])?;
        serde_json::from_str(&answer).with_context(|| format!("Jaeger answered to {what}: {answer}"))
    }
}
