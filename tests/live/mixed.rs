//! A shop of services that trace themselves, by OpenTelemetry's own SDK, beside others that do not: what the SDKs send and what the
//! agent exports are put together, and each end of each call is there once, by who is to tell of it, under the right parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, in_guest};
use crate::http2::{built, installed, needs_files};
use crate::skip::needs;
use crate::spans::{Kind, Span, read};
use crate::{Test, now};

pub const TESTS: &[Test] = &[
    ("a_mixed_shop_of_python_then_node_8_in_flight", |agent| {
        let services = "uvicorn+sdk,passing,nginx,node+sdk,go,node";
        shop(agent, services, "grpc", &["--calls", "2"])
    }),
    ("a_mixed_shop_of_node_then_python_8_in_flight", |agent| {
        let services = "node+sdk,passing,nginx,uvicorn+sdk,go,node";
        shop(agent, services, "http/protobuf", &["--calls", "2"])
    }),
    ("a_mixed_shop_whose_old_service_drops_the_context", |agent| {
        let services = "node+sdk,threads,nginx,uvicorn+sdk,go,node";
        shop(agent, services, "grpc", &[])
    }),
    ("a_mixed_shop_behind_an_old_service", |agent| {
        let services = "passing,nginx,uvicorn+sdk,go,node+sdk,passing";
        shop(agent, services, "http/protobuf", &[])
    }),
    (
        "a_mixed_shop_that_ends_in_a_service_that_exports_by_grpc",
        |agent| {
            let services = "node+sdk,threads,passing,nginx,uvicorn+sdk";
            shop(agent, services, "grpc", WARM_UP)
        },
    ),
    (
        "a_mixed_shop_that_ends_in_a_service_that_exports_by_http",
        |agent| {
            let services = "uvicorn+sdk,threads,passing,nginx,node+sdk";
            shop(agent, services, "http/protobuf", WARM_UP)
        },
    ),
];

/// A service that calls nobody is known for what it is by its first export.
const WARM_UP: &[&str] = &["--warm-up", "20"];
const IN_FLIGHT: &str = "8";
/// What passes all headers on.
const PROXY: &str = "nginx";
/// For the receiver to listen, also under emulation.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked at.
const STEP: Duration = Duration::from_millis(50);
/// Mistakes that are told in words.
const MISTAKES_MAX: usize = 20;

/// One service, by its word among the options of mixed.py.
struct Service {
    kind: String,
    /// Its name, where an SDK tells of it.
    name: Option<String>,
}

impl Service {
    fn passes_on(&self) -> bool {
        ["passing", PROXY].contains(&self.kind.as_str())
    }
}

/// One end of one call.
type End = (String, Kind);

/// What is to be known of one end.
#[derive(Debug)]
struct Expected {
    parent: Option<End>,
    /// The SDK that tells of it; the agent where there is none.
    sdk: Option<String>,
    /// What the agent finds the parent by, where one thing alone is right.
    evidence: Option<&'static str>,
}

/// The services in the order of their calls.
struct Shop(Vec<Service>);

impl Shop {
    fn new(kinds: &str) -> Self {
        let services = kinds.split(',').enumerate().map(|(number, kind)| Service {
            kind: kind.to_owned(),
            name: kind.ends_with("+sdk").then(|| format!("{kind}-{number}")),
        });
        Self(services.collect())
    }

    /// The place of who is called so: a hop makes a path longer, and nginx takes the segment off that leads to it.
    fn place(&self, path: &str) -> Option<usize> {
        let hops = self.0.iter().enumerate();
        let mut hops = hops.filter(|(_, service)| service.kind != PROXY);
        let (place, _) = hops.nth(path.matches('.').count())?;
        place.checked_sub(usize::from(path.starts_with("/via/")))
    }

    fn server(&self, path: &str) -> Option<&Service> {
        self.0.get(self.place(path)?)
    }

    /// Who calls so; none for the load.
    fn client(&self, path: &str) -> Option<&Service> {
        self.0.get(self.place(path)?.checked_sub(1)?)
    }

    /// The request in whose course this call was made, as its server saw it; none for the load.
    fn made_for(&self, path: &str) -> Option<String> {
        if self.client(path)?.kind == PROXY {
            return Some(format!("/via{path}"));
        }
        let (before, _) = path.rsplit_once('.')?;
        Some(before.trim_start_matches("/via").to_owned())
    }

    fn client_end(&self, path: &str) -> Expected {
        let client = self.client(path);
        let made_for = self.made_for(path);
        let came = made_for.as_deref().and_then(|request| self.context(request));
        let is_passed = came.is_some() && client.is_some_and(Service::passes_on);
        Expected {
            parent: made_for.map(|request| (request, Kind::Server)),
            sdk: client.and_then(|client| client.name.clone()),
            evidence: is_passed.then_some("header"),
        }
    }

    fn server_end(&self, path: &str) -> Expected {
        let sdk = self.server(path).and_then(|server| server.name.clone());
        let is_called_by_sdk = self.client(path).is_some_and(|client| client.name.is_some());
        Expected {
            // An SDK goes by the header alone, the agent by the connection first.
            parent: if sdk.is_some() {
                self.context(path)
            } else {
                Some((path.to_owned(), Kind::Client))
            },
            sdk,
            evidence: Some(if is_called_by_sdk { "header" } else { "connection" }),
        }
    }

    /// The span that the trace context of this call names: of the last SDK before it, where all since have passed it on.
    fn context(&self, path: &str) -> Option<End> {
        let client = self.client(path)?;
        if client.name.is_some() {
            return Some((path.to_owned(), Kind::Client));
        }
        let came = self.made_for(path).filter(|_| client.passes_on())?;
        self.context(&came)
    }

    /// What is to be there of the calls that were made.
    fn expected<'path>(&self, paths: impl Iterator<Item = &'path str>) -> BTreeMap<End, Expected> {
        let ends = paths.flat_map(|path| {
            [
                ((path.to_owned(), Kind::Client), self.client_end(path)),
                ((path.to_owned(), Kind::Server), self.server_end(path)),
            ]
        });
        ends.collect()
    }
}

/// What takes the spans of the SDKs: OpenTelemetry's own messages, in a process that the agent does not trace.
struct Receiver {
    process: Child,
    /// It ends with it.
    input: Option<ChildStdin>,
    output: PathBuf,
    grpc: u16,
    http: u16,
}

impl Receiver {
    /// What it gets stands in this folder.
    fn start(folder: &Path) -> Result<Self> {
        let output = folder.join("received");
        let mut process = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/otlp/receiver.py"))
            .stdin(Stdio::piped())
            .stdout(File::create(&output)?)
            .spawn()?;
        let mut receiver = Self {
            input: process.stdin.take(),
            process,
            output,
            grpc: 0,
            http: 0,
        };
        let begun = now();
        loop {
            let said = fs::read_to_string(&receiver.output)?;
            if let Some((line, _)) = said.split_once('\n') {
                let ["grpc", grpc, "http", http] = line.split(' ').collect::<Vec<_>>()[..] else {
                    bail!("the receiver says {line:?}");
                };
                (receiver.grpc, receiver.http) = (grpc.parse()?, http.parse()?);
                return Ok(receiver);
            }
            ensure!(begun.elapsed() < LIMIT, "the receiver does not listen");
            thread::sleep(STEP);
        }
    }

    /// All that came, when nobody sends any more.
    fn end(mut self) -> Result<Vec<Span>> {
        drop(self.input.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "the receiver ended with {status}");
        let received = fs::read_to_string(&self.output)?;
        let requests = received.lines().skip(1).map(|line| {
            let came: Value = serde_json::from_str(line).context("a line of the receiver is not JSON")?;
            let request = came
                .get("request")
                .context("a line of the receiver has no request")?;
            Ok(request.to_string())
        });
        read(&requests.collect::<Result<Vec<_>>>()?.join("\n"))
    }
}

impl Drop for Receiver {
    /// Does nothing to one that has ended.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Python with the SDK.
fn python() -> PathBuf {
    installed("otel-python/bin/python")
}

fn shop(agent: &Agent, services: &str, protocol: &str, options: &[&str]) -> Result<()> {
    needs(&["node", "nginx"])?;
    needs_files("OpenTelemetry's SDK for Python", &[python()])?;
    needs_files(
        "OpenTelemetry's SDK for Node",
        &[installed("otel-js/node_modules/@opentelemetry/sdk-node")],
    )?;
    needs_files("the hop in Go", &[built("hop-go")])?;
    agent.alone()?;
    let folder = TempDir::new()?;
    let receiver = Receiver::start(folder.path())?;
    let port = if protocol == "grpc" {
        receiver.grpc
    } else {
        receiver.http
    };
    let truth = folder.path().join("truth.txt").display().to_string();
    let hop = format!("HOP_GO={}", built("hop-go").display());
    let python = python().display().to_string();
    let url = format!("http://127.0.0.1:{port}");
    let command = [
        "env",
        &hop,
        // What a proxy gets that no context comes to, it tells apart by these.
        "REQUEST_IDS=1",
        &python,
        concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/mixed.py"),
        "--truth",
        &truth,
        "--services",
        services,
        "--otlp",
        &url,
        "--protocol",
        protocol,
        "--in-flight",
        IN_FLIGHT,
        "--total",
        if in_guest() { "32" } else { "100" },
        // Calls of Go before its breakpoints are there have no parent.
        "--settle-ms",
        if in_guest() { "6000" } else { "1000" },
        "--export-ms",
        if in_guest() { "20000" } else { "2000" },
    ];
    let traced = agent.trace(&[], &[&command, options].concat())?.successful()?;
    let by_sdks = receiver.end()?;
    let called = fs::read_to_string(&truth)?;
    let expected = Shop::new(services).expected(called.lines());
    let mistakes = mistakes(&expected, &by_sdks, &traced.spans);
    let first: Vec<_> = mistakes.iter().take(MISTAKES_MAX).map(String::as_str).collect();
    ensure!(
        mistakes.is_empty() && !expected.is_empty(),
        "{} mistakes in {} spans, {} of the SDKs and {} of the agent; the first are:\n{}\nstandard error was:\n{}",
        mistakes.len(),
        expected.len(),
        by_sdks.len(),
        traced.spans.len(),
        first.join("\n"),
        traced.errors
    );
    Ok(())
}

/// The path that was called, at either end.
fn path(span: &Span) -> String {
    let url = span.attribute("url.full");
    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}"));
    path.unwrap_or_else(|| span.attribute("url.path").to_owned())
}

fn mistakes(expected: &BTreeMap<End, Expected>, by_sdks: &[Span], by_agent: &[Span]) -> Vec<String> {
    // It is tried whether nginx is there already.
    let is_beside =
        |span: &Span| path(span).contains("/job/warm") || span.attribute("error.type") == "ECONNREFUSED";
    let of_agent = by_agent.iter().map(|span| (None, span));
    let of_sdks = by_sdks.iter().map(|span| (Some(span.service.clone()), span));
    // What an SDK tells beside calls hangs under them.
    let all = of_agent.chain(of_sdks.filter(|(_, span)| span.kind != Kind::Other));
    let all: Vec<_> = all.filter(|(_, span)| !is_beside(span)).collect();
    let by_id: BTreeMap<_, _> = all.iter().map(|(_, span)| (span.id.as_str(), *span)).collect();
    let mut found = BTreeSet::new();
    let mut mistakes = Vec::new();
    for (sdk, span) in &all {
        let teller = sdk.as_deref().unwrap_or("the agent");
        let end = (path(span), span.kind);
        let told = format!("{:?} {} of {teller}", end.1, end.0);
        let Some(wanted) = expected.get(&end) else {
            mistakes.push(format!("{told} was never made: {span:?}"));
            continue;
        };
        if wanted.sdk != *sdk {
            mistakes.push(format!("{told} is for {:?} to tell", wanted.sdk));
        }
        if !found.insert(end) {
            mistakes.push(format!("{told} is there twice"));
        }
        let parent = by_id.get(span.parent.as_str());
        let parent_end = parent.map(|parent| (path(parent), parent.kind));
        if parent_end != wanted.parent || span.parent.is_empty() != wanted.parent.is_none() {
            mistakes.push(format!("{told} is under {parent_end:?}, not {:?}", wanted.parent));
        }
        if parent.is_some_and(|parent| parent.trace != span.trace) {
            mistakes.push(format!("{told} is in another trace than its parent"));
        }
        let evidence = span.attribute("tracer.link.evidence");
        if sdk.is_none() && wanted.evidence.is_some_and(|wanted| wanted != evidence) {
            mistakes.push(format!(
                "{told} was found by {evidence:?}, not {:?}",
                wanted.evidence
            ));
        }
    }
    let missing = expected.keys().filter(|end| !found.contains(*end));
    mistakes.extend(missing.map(|(path, kind)| format!("{kind:?} {path} is missing")));
    mistakes
}
