//! Answers of the `timing` rung to a file of exchanges: `cargo xtask link --exchanges FILE` builds and runs it.
//!
//!     link EXCHANGES [TRUTH]
//!
//! A line in is `{"id","process","side":"inbound|outbound","peer","start_ns","end_ns"[,"thread"]}`, a line out
//! `{"id":outbound,"parent":inbound or null,"confidence":0..1}`, in the order of the calls.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracer_agent::{
    correlate::timing::{Answer, Kind, Search, Thread, What},
    ids::BootNanos,
    protocols::ExchangeId,
};

/// A file is gone through so often to learn from, before its calls are answered.
const ROUNDS: usize = 3;
/// Nothing more will be known of a call that is older than this.
const WAIT_NS: u64 = 60_000_000_000;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    process: String,
    side: Side,
    #[serde(default)]
    peer: String,
    start_ns: u64,
    end_ns: u64,
    thread: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Side {
    Inbound,
    Outbound,
}

#[derive(Deserialize)]
struct True {
    id: String,
    parent: String,
    trace: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    parent: Option<&'a str>,
    confidence: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("link: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut paths = std::env::args().skip(1);
    let Some(path) = paths.next() else {
        bail!("say which file of exchanges");
    };
    let exchanges: Vec<Exchange> = read(&path)?;
    let mut processes: BTreeMap<&str, Vec<(u64, &Exchange)>> = BTreeMap::new();
    for (number, exchange) in (0..).zip(&exchanges) {
        processes
            .entry(&exchange.process)
            .or_default()
            .push((number, exchange));
    }
    let mut answered: HashMap<ExchangeId, Answer> = HashMap::new();
    for exchanges in processes.values() {
        answered.extend(
            answers(exchanges)?
                .into_iter()
                .map(|answer| (answer.call, answer)),
        );
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut given = HashMap::new();
    for (number, exchange) in (0..).zip(&exchanges) {
        if exchange.side == Side::Inbound {
            continue;
        }
        let answer = answered.get(&ExchangeId(number));
        let parent = answer.and_then(|answer| answer.request);
        let parent = parent.and_then(|request| exchanges.get(usize::try_from(request.0).ok()?));
        let line = Line {
            id: &exchange.id,
            parent: parent.map(|parent| parent.id.as_str()),
            confidence: answer.map_or(0.0, |answer| answer.confidence),
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
        given.insert(exchange.id.as_str(), line);
    }
    out.flush()?;
    if let Some(path) = paths.next() {
        judge(&read(&path)?, &given);
    }
    Ok(())
}

/// The lines of a file, which may be compressed.
fn read<T: DeserializeOwned>(path: &str) -> Result<Vec<T>> {
    let file = File::open(path).with_context(|| path.to_owned())?;
    let file: Box<dyn Read> = if path.ends_with(".gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let lines = (1..).zip(BufReader::new(file).lines());
    let read = lines.map(|(number, line)| {
        let line = line.with_context(|| path.to_owned())?;
        serde_json::from_str(&line).with_context(|| format!("{path}, line {number}"))
    });
    read.collect()
}

/// Tells how right the answers are, and how often those of each confidence.
fn judge(truth: &[True], given: &HashMap<&str, Line<'_>>) {
    let mut wrong_traces = HashSet::new();
    let mut bins = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map(Bin::from);
    let [mut right, mut orphans] = [0; 2];
    for link in truth {
        let answer = given.get(link.id.as_str());
        let parent = answer.and_then(|answer| answer.parent);
        let is_right = parent == Some(&link.parent);
        if !is_right {
            wrong_traces.insert(link.trace);
        }
        orphans += usize::from(parent.is_none());
        right += usize::from(is_right);
        let confidence = answer.map_or(0.0, |answer| answer.confidence);
        let bin = bins.iter_mut().rev().find(|bin| bin.from <= confidence);
        if let (Some(bin), Some(_)) = (bin, parent) {
            bin.all += 1;
            bin.right += usize::from(is_right);
        }
    }
    let traces: HashSet<u64> = truth.iter().map(|link| link.trace).collect();
    #[expect(clippy::cast_precision_loss, reason = "they are counted")]
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let all = truth.len();
    eprintln!(
        "links {all} recall {:.1} precision {:.1} wrong {:.1} orphans {:.1} whole {:.1}",
        share(right, all),
        share(right, all - orphans),
        share(all - orphans - right, all),
        share(orphans, all),
        share(traces.len() - wrong_traces.len(), traces.len()),
    );
    for bin in bins.iter().filter(|bin| bin.all > 0) {
        eprintln!(
            "confidence from {}: {} links, {:.1} of 100 right",
            bin.from,
            bin.all,
            share(bin.right, bin.all)
        );
    }
}

/// Links of about the same confidence.
struct Bin {
    from: f64,
    all: usize,
    right: usize,
}

impl From<f64> for Bin {
    fn from(from: f64) -> Self {
        Self {
            from,
            all: 0,
            right: 0,
        }
    }
}

/// What is answered for the calls of one process.
fn answers(exchanges: &[(u64, &Exchange)]) -> Result<Vec<Answer>> {
    let mut kinds: HashMap<&str, Kind> = HashMap::new();
    let mut threads = HashMap::new();
    let mut search = Search::new(WAIT_NS);
    let mut answers = Vec::new();
    for round in 0..=ROUNDS {
        search.start_anew(round < ROUNDS);
        answers.clear();
        for (number, exchange) in exchanges {
            let id = ExchangeId(*number);
            let next = Kind::try_from(kinds.len())?;
            let kind = *kinds.entry(&exchange.peer).or_insert(next);
            let next = Thread::try_from(threads.len())?;
            let thread = exchange
                .thread
                .as_ref()
                .map(|thread| *threads.entry(thread.to_string()).or_insert(next));
            let (start, end) = match exchange.side {
                Side::Inbound => (What::Came { asks: kind, thread }, What::Responded),
                Side::Outbound => (
                    What::Called {
                        whom: kind,
                        thread,
                        known: None,
                        hint: None,
                    },
                    What::Answered,
                ),
            };
            search.tell(BootNanos(exchange.start_ns), id, start);
            search.tell(BootNanos(exchange.end_ns), id, end);
        }
        search.finish(&mut answers);
    }
    Ok(answers)
}
