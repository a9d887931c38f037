//! An agent that is killed at any moment, while its backend comes and goes: a process of its own, this very test
//! binary, that hands spans to an exporter and says how many.
//!
//! By hand, for figures: `TRACER_OUTAGE=600 cargo test -p tracer-agent --lib export::tests::killed::an_outage --
//! --ignored --nocapture`, and `killed::twenty`.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::{
    backend,
    failures::{otlp, start},
    process, span,
};
use crate::{
    export::{DiskSettings, Target, disk::clock::millis},
    ids::SpanId,
    spans::{Span, span::SpanKind},
};

/// Spans are handed over this often.
const TICK: Duration = Duration::from_millis(10);
/// What came in this time is in memory alone: the delay of a batch, 200 ms, and what a busy machine adds to it.
const IN_MEMORY: Duration = Duration::from_millis(1_000);

/// What the process is to do, from its environment.
struct Orders {
    address: String,
    directory: String,
    /// Its spans are numbered from here.
    first: u64,
    a_second: u64,
}

/// The process: hands spans over until its standard input ends, then ends itself as an agent does.
#[test]
#[ignore = "the process of the tests below"]
fn the_agent() {
    let variable = |name: &str| env::var(format!("TRACER_KILLED_{name}")).ok();
    let Some(address) = variable("ADDRESS") else {
        return;
    };
    let number = |name| variable(name).unwrap().parse().unwrap();
    let orders = Orders {
        address,
        directory: variable("DIRECTORY").unwrap(),
        first: number("FIRST"),
        a_second: number("A_SECOND"),
    };
    let mut settings = otlp("http", orders.address.parse().unwrap(), &[("TIMEOUT", "2000")]);
    settings.disk = Some(DiskSettings {
        directory: orders.directory.into(),
        max_bytes: 512 << 20,
        max_age: Duration::from_secs(3600),
    });
    let (exporters, _) = start(&[Target::Otlp(settings)]);
    let ended = Arc::new(AtomicU64::new(0));
    let sees_end = ended.clone();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sees_end.store(1, SeqCst);
    });
    // Past the harness, which would keep it back; a line is written at once.
    let mut out = File::options().write(true).open("/proc/self/fd/1").unwrap();
    let (began, mut sent) = (Instant::now(), 0);
    while ended.load(SeqCst) == 0 {
        let due = millis(began.elapsed()) * orders.a_second / 1_000;
        exporters.send(spans(orders.first + sent, due - sent));
        sent = due;
        writeln!(out, "sent {sent}").unwrap();
        thread::sleep(TICK);
    }
    let report = exporters
        .shutdown(Duration::from_secs(20), &[])
        .exporters
        .remove(0);
    writeln!(
        out,
        "report {} {} {} {report}",
        report.kept,
        report.dropped_total(),
        report.resumed
    )
    .unwrap();
    thread::sleep(TICK);
}

fn spans(first: u64, count: u64) -> Vec<Span> {
    let process = process(20, "shop");
    (first + 1..=first + count)
        .map(|number| Span {
            id: SpanId::new(number.to_be_bytes()).unwrap(),
            ..span(1, 2, &process, SpanKind::Client, "/orders/{id}", (0, 1))
        })
        .collect()
}

struct Agent {
    child: Child,
    out: BufReader<ChildStdout>,
    sent: u64,
    began: Instant,
}

impl Agent {
    fn start(address: &str, directory: &Path, first: u64, a_second: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "--nocapture",
                "export::tests::killed::the_agent",
            ])
            .env("TRACER_KILLED_ADDRESS", address)
            .env("TRACER_KILLED_DIRECTORY", directory)
            .env("TRACER_KILLED_FIRST", first.to_string())
            .env("TRACER_KILLED_A_SECOND", a_second.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            out,
            sent: 0,
            began: Instant::now(),
        }
    }

    /// Reads what it says until so much time has passed since its start.
    fn listen(&mut self, until: Duration) {
        while self.began.elapsed() < until {
            let mut line = String::new();
            assert_ne!(
                self.out.read_line(&mut line).unwrap(),
                0,
                "the agent has ended by itself"
            );
            if let Some(sent) = line.strip_prefix("sent ") {
                self.sent = sent.trim().parse().unwrap();
            }
        }
    }

    /// Ends it without a word; how many spans it was given.
    fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let last = self.out.lines().map_while(Result::ok).last();
        last.and_then(|line| line.strip_prefix("sent ")?.parse().ok())
            .unwrap_or(self.sent)
    }

    /// Ends it as a signal does; how many spans it was given, and what it kept and dropped.
    fn end(mut self) -> (u64, u64, u64, String) {
        drop(self.child.stdin.take());
        let mut report = None;
        for line in self.out.lines().map_while(Result::ok) {
            if let Some(sent) = line.strip_prefix("sent ") {
                self.sent = sent.parse().unwrap();
            } else if let Some(words) = line.strip_prefix("report ") {
                let mut words = words.splitn(4, ' ');
                let mut number = || words.next().unwrap().parse().unwrap();
                report = Some((number(), number(), number(), words.next().unwrap().to_owned()));
            }
        }
        assert!(self.child.wait().unwrap().success());
        let (kept, dropped, _resumed, words): (u64, u64, u64, String) = report.unwrap();
        (self.sent, kept, dropped, words)
    }

    /// Resident bytes now, and the most there ever were.
    fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Processor time so far, in milliseconds, and bytes that were given to the disk and taken back.
    fn cost(&self) -> (u64, u64, u64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let ticks: u64 = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = io.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        (ticks * 10, field("write_bytes:"), field("cancelled_write_bytes:"))
    }
}

/// How often each span has arrived, at an address where a backend may be or not.
struct Arrivals {
    address: String,
    arrived: Arc<Mutex<HashMap<u64, u32>>>,
}

impl Arrivals {
    /// An address without a backend.
    fn reserve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: listener.local_addr().unwrap().to_string(),
            arrived: Arc::default(),
        }
    }

    fn begin(&self) -> backend::Toggled {
        let arrived = self.arrived.clone();
        backend::toggled(&self.address, move |body| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let mut arrived = arrived.lock().unwrap();
            for span in request
                .resource_spans
                .iter()
                .flat_map(|resource| &resource.scope_spans)
                .flat_map(|scope| &scope.spans)
            {
                let number = u64::from_be_bytes(span.span_id.as_slice().try_into().unwrap());
                *arrived.entry(number).or_default() += 1;
            }
        })
    }

    /// Spans that arrived, of those up to `last`; and how often one arrived again.
    fn up_to(&self, last: u64) -> (u64, u64) {
        let arrived = self.arrived.lock().unwrap();
        let known = arrived.iter().filter(|(number, _)| **number <= last);
        known.fold((0, 0), |(spans, again), (_, times)| {
            (spans + 1, again + u64::from(times - 1))
        })
    }
}

/// Pseudo-random, the same in each run of the test.
fn moments(count: u64) -> impl Iterator<Item = Duration> {
    (0..count).scan(0x2545_f491_4f6c_dd1d_u64, |state, _| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        Some(Duration::from_millis(300 + *state % 700))
    })
}

#[test]
fn a_kill_costs_what_was_not_yet_written_and_no_more() {
    kill_at(moments(4), 5_000);
}

#[test]
#[ignore = "measures: takes half a minute"]
fn twenty_kills_cost_what_was_not_yet_written_and_no_more() {
    kill_at(moments(20), 10_000);
}

/// The backend is there in every other life of the agent, and goes away in the middle of it.
fn kill_at(moments: impl Iterator<Item = Duration>, a_second: u64) {
    let folder = tempfile::tempdir().unwrap();
    let arrivals = Arrivals::reserve();
    let (mut first, mut lives) = (0, Vec::new());
    for (life, moment) in moments.enumerate() {
        let backend = (life % 2 == 0).then(|| arrivals.begin());
        let mut agent = Agent::start(&arrivals.address, folder.path(), first, a_second);
        agent.listen(moment / 2);
        drop(backend);
        agent.listen(moment);
        let sent = agent.kill();
        lives.push((first, sent));
        first += 1_000_000;
    }
    let _backend = arrivals.begin();
    let (sent, kept, dropped, words) = Agent::start(&arrivals.address, folder.path(), first, a_second).end();
    println!("{words}");
    assert_eq!((kept, dropped), (0, 0), "{words}");
    let most = a_second * millis(IN_MEMORY) / 1_000;
    let (mut before, mut all, mut all_lost) = (0, 0, 0);
    for (first, sent) in lives.into_iter().chain([(first, sent)]) {
        let (arrived, again) = arrivals.up_to(first + sent);
        let lost = sent - (arrived - before);
        println!("{sent} sent, {lost} lost, {again} came again up to now");
        assert!(
            lost <= most,
            "{lost} of {sent} lost, {most} are in memory at most"
        );
        (before, all, all_lost) = (arrived, all + sent, all_lost + lost);
    }
    println!(
        "{all} sent, {all_lost} lost, {} came again",
        arrivals.up_to(u64::MAX).1
    );
    assert!(before > 0);
}

/// An outage of `TRACER_OUTAGE` seconds, killed in the middle.
#[test]
#[ignore = "measures: takes as long as the outage"]
fn an_outage_under_load_with_a_kill_in_its_middle() {
    let seconds = env::var("TRACER_OUTAGE").map_or(20, |text| text.parse().unwrap());
    let a_second = env::var("TRACER_SPANS").map_or(1_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let arrivals = Arrivals::reserve();
    let outage = Duration::from_secs(seconds);
    let healthy = Duration::from_secs(10);
    let on_disk = || -> u64 {
        let mut queues = std::fs::read_dir(folder.path()).unwrap();
        let queue = queues.next().unwrap().unwrap().path();
        let files = std::fs::read_dir(queue).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let tell = |when: &str, agent: &Agent| {
        let (now, most) = agent.memory();
        let (cpu, written, cancelled) = agent.cost();
        println!(
            "{when}: {} sent, RSS {:.1} MiB (most {:.1}), disk {:.1} MiB, {cpu} ms CPU, {:.1} MiB written, {:.1} taken back",
            agent.sent,
            now as f64 / 1048576.0,
            most as f64 / 1048576.0,
            on_disk() as f64 / 1048576.0,
            written as f64 / 1048576.0,
            cancelled as f64 / 1048576.0,
        );
        assert!(most < 100 << 20 && on_disk() <= 512 << 20);
    };
    let backend = arrivals.begin();
    let mut agent = Agent::start(&arrivals.address, folder.path(), 0, a_second);
    agent.listen(healthy);
    tell("healthy", &agent);
    drop(backend);
    agent.listen(healthy + outage / 2);
    tell("half of the outage", &agent);
    let sent_before = agent.kill();
    let second = 1 << 40;
    let mut agent = Agent::start(&arrivals.address, folder.path(), second, a_second);
    agent.listen(outage / 2);
    tell("the end of the outage", &agent);
    let _backend = arrivals.begin();
    let due = agent.sent;
    let healed = Instant::now();
    let in_memory = a_second * millis(IN_MEMORY) / 1_000;
    while arrivals.up_to(second + due).0 + in_memory < sent_before + due {
        agent.listen(agent.began.elapsed() + TICK);
        assert!(healed.elapsed() < Duration::from_secs(120), "it is not delivered");
    }
    println!("the backlog has arrived after {:?}", healed.elapsed());
    tell("healed", &agent);
    let (sent_after, kept, dropped, words) = agent.end();
    println!("{words}");
    let (arrived, again) = arrivals.up_to(u64::MAX);
    let sent = sent_before + sent_after;
    let lost = sent - arrived - dropped - kept;
    println!(
        "{sent} sent = {arrived} arrived + {dropped} dropped + {kept} kept + {lost} lost by the kill; {again} came again"
    );
    assert!(lost <= in_memory, "{lost}");
}
