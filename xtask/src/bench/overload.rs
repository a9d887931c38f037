//! `cargo xtask soak --overload`: a server at full speed while the ring holds a few records only. Judged is whether every request is a span or a
//! counted loss, and whether what comes after the load is whole from its first request on: on new connections, many at once, and on connections
//! that were there all the time.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::ChildStdout,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::Value;

use super::{
    MIB,
    agent::Agent,
    load::{Nginx, Words},
};
use crate::process::{now, say};

/// The smallest ring that the agent takes: some twenty records with heads.
const RING: &str = "4K";
/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Connections that are there before the load and after it.
const KEPT: usize = 8;
/// Requests on each of them before it and after it.
const KEPT_ROUNDS: usize = 25;
/// Between two of them. What is asked before the load and after it has to find room in the ring while the agent is away for some 20 ms, whatever
/// else the two processors do: a kernel with 250 ticks a second lets it wait for 4 ms at a time. The ring has room for seven of these requests.
const PAUSE: Duration = Duration::from_millis(3);
/// Requests before the load and after it, one after the other, and as many of which some are in flight at once.
const ASKED: u64 = 200;
const AT_ONCE: u64 = 8;
/// Of those connections so many begin at the same moment: all eight take more than the ring has, in less time than it takes to wake the agent.
const BEGUN_AT_ONCE: u64 = 2;
/// So long after a request all spans of it must be there, and a part of the script that is no load must be done.
const LIMIT: Duration = Duration::from_secs(20);

/// What is asked for before the load and after it: on new connections one after the other, on some at once, and on those that are kept.
/// The first two nginx answers 100 times a second, for the same reason as [`PAUSE`]: three answers and what follows them have room.
const PATHS: [[&str; 3]; 2] = [
    ["/paced/before-one", "/paced/before-many", "/before/kept"],
    ["/paced/after-one", "/paced/after-many", "/after/kept"],
];
const KEPT_PATH: usize = 2;
/// Body of every answer.
const ANSWER: &str = "hello";

/// What is asked before, the load, and at once what is asked after it; then all is quiet until it may end.
const SCRIPT: &str = r#"
cd "$1"; host="$2"; seconds="$3"; connections="$4"; asked="$5"; clients="$6"; of_each="$7"
sh -c "$8" &
shift 8
until [ -s nginx.pid ]; do sleep 0.05; done
probe() {
    ab -q -n "$asked" -c 1 "$host$2" > one.txt 2>&1 || exit 1
    running=
    for client in $(seq "$clients"); do
        ab -q -k -n $((asked / clients)) -c "$of_each" "$host$3" > "many-$client.txt" 2>&1 &
        running="$running $!"
        sleep 0.1
    done
    for client in $running; do wait "$client" || exit 1; done
    : > "asked-$1"
}
probe before "$1" "$2"
until [ -e begin ]; do sleep 0.05; done
wrk -t1 -c"$connections" -d"$seconds"s "$host/load" > wrk.txt 2>&1 || exit 1
: > over
probe after "$3" "$4"
until [ -e end ]; do sleep 0.05; done
kill -QUIT "$(cat nginx.pid)"
wait
"#;

/// A span of what was asked before the load or after it.
#[derive(Debug)]
struct Asked {
    kind: u64,
    attributes: BTreeMap<String, String>,
}

/// What the agent exports, as it comes.
#[derive(Default)]
struct Exported {
    /// When the last span of the load came.
    load: Option<Instant>,
    asked: Vec<Asked>,
    /// When the first of them came that was asked after the load.
    first_after: Option<Instant>,
}

impl Exported {
    /// How many spans of these paths there are, and which of them are not whole.
    fn of(&self, paths: &[&str]) -> (u64, Vec<&Asked>) {
        let asked = |span: &&Asked| path(span).is_some_and(|path| paths.contains(&path));
        let of: Vec<_> = self.asked.iter().filter(asked).collect();
        let count = of.len() as u64;
        (count, of.into_iter().filter(|span| !is_whole(span)).collect())
    }
}

/// Spans that are expected of each of the three: both ends, or of what this process asks, which is not traced, one.
const EXPECTED: [u64; 3] = [2 * ASKED, 2 * ASKED, (KEPT * KEPT_ROUNDS) as u64];

pub fn run_overload(agent: &Agent, seconds: u64) -> Result<()> {
    let nginx = Nginx::prepare(CONNECTIONS + KEPT)?;
    for path in PATHS.iter().flat_map(|[one, many, _]| [one, many]) {
        nginx.answer_paced(path, ANSWER)?;
    }
    let (server, host) = (nginx.command(), nginx.url());
    let [before, after] = PATHS;
    let script = [
        "sh",
        "-c",
        SCRIPT,
        "sh",
        &nginx.folder().display().to_string(),
        host.trim_end_matches('/'),
        &seconds.to_string(),
        &CONNECTIONS.to_string(),
        &ASKED.to_string(),
        &(AT_ONCE / BEGUN_AT_ONCE).to_string(),
        &BEGUN_AT_ONCE.to_string(),
        server.last(),
        before[0],
        before[1],
        after[0],
        after[1],
    ];
    let options = ["--export", "json=-", "--ring-size", RING];
    let mut running = agent.trace_to_pipe(&options, &Words::new(&script))?;
    let exported = Arc::new(Mutex::new(Exported::default()));
    let reader = {
        let (out, exported) = (running.take_output()?, Arc::clone(&exported));
        thread::spawn(move || read(out, &exported))
    };
    let file = |name: &str| nginx.folder().join(name);
    wait_for(&file("asked-before"))?;
    let mut kept = Kept::open(&nginx)?;
    kept.ask(before[KEPT_PATH])?;
    come(&exported, &before);

    fs::write(file("begin"), "")?;
    let (over, most) = kept.ask_until(&file("over"), || running.rss())?;
    wait_for(&file("asked-after"))?;
    kept.ask(after[KEPT_PATH])?;
    let asked = now();
    come(&exported, &after);
    let came = now();
    let rss = running.rss()?;

    let served = nginx.served()?;
    fs::write(file("end"), "")?;
    let said = running.end()?;
    reader.join().map_err(|_| anyhow!("a thread panicked"))??;
    let by_wrk = requests_of_wrk(&file("wrk.txt"))?;
    let (spans, lost) = (said.spans()?, said.lost_requests());
    let least = served + by_wrk + 4 * ASKED;
    say(format!(
        "{by_wrk} requests of wrk in {seconds} s, {} on {KEPT} connections that this process kept",
        kept.asked
    ));
    say(format!(
        "{spans} spans and {lost} counted losses ({:.1} %), {least} expected at both ends and at most {CONNECTIONS} more, which wrk did not wait for",
        100.0 * lost as f64 / least as f64
    ));
    said.losses().for_each(|loss| say(format!("counted: {loss}")));
    let exported = lock(&exported);
    let since = |moment: Option<Instant>, begun: Instant| {
        let passed = moment.map(|moment| moment.saturating_duration_since(begun).as_secs_f64());
        passed.map_or("never".to_owned(), |seconds| format!("{seconds:.3} s"))
    };
    say(format!(
        "the last span of the load came {} after it, the first of what was asked after it {}; the last of that {} after it was asked",
        since(exported.load, over),
        since(exported.first_after, over),
        since(Some(came), asked)
    ));
    say(format!(
        "RSS: {:.1} MiB at most under load, {:.1} MiB after it",
        most / MIB,
        rss / MIB
    ));
    for (path, expected) in PATHS.iter().flat_map(|paths| paths.iter().zip(EXPECTED)) {
        let (count, wrong) = exported.of(&[path]);
        say(format!(
            "{path}: {count} spans of {expected}, {} of them not whole",
            wrong.len()
        ));
    }
    ensure!(
        lost > 0,
        "nothing was lost, so nothing is proven: {}",
        said.text()
    );
    ensure!(
        (least..=least + CONNECTIONS as u64).contains(&(spans + lost)),
        "the sums do not agree: {}",
        said.text()
    );
    for (when, paths) in [("before", &before), ("after", &after)] {
        let (count, wrong) = exported.of(paths);
        ensure!(
            count == EXPECTED.iter().sum::<u64>() && wrong.is_empty(),
            "of what was asked {when} the load {count} spans came, {} of them not whole: {wrong:?}",
            wrong.len()
        );
    }
    Ok(())
}

/// Waits until all spans of these paths are there, or for too long.
fn come(exported: &Mutex<Exported>, paths: &[&str]) {
    let begun = now();
    while lock(exported).of(paths).0 < EXPECTED.iter().sum() && begun.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(10));
    }
}

fn lock(exported: &Mutex<Exported>) -> MutexGuard<'_, Exported> {
    exported.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_for(file: &Path) -> Result<()> {
    let begun = now();
    while !file.exists() {
        ensure!(begun.elapsed() < LIMIT, "{} does not come", file.display());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Connections of this process, which is not traced: of each request there is one end.
struct Kept {
    connections: Vec<TcpStream>,
    asked: u64,
}

impl Kept {
    fn open(nginx: &Nginx) -> Result<Self> {
        let connections = (0..KEPT).map(|_| TcpStream::connect(("127.0.0.1", nginx.port())));
        Ok(Self {
            connections: connections.collect::<Result<_, _>>()?,
            asked: 0,
        })
    }

    /// Asks on each of them, one after the other.
    fn round(&mut self, path: &str) -> Result<()> {
        for connection in &mut self.connections {
            connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
            let mut answer = Vec::new();
            let mut room = [0; 1024];
            while !answer.ends_with(ANSWER.as_bytes()) {
                let len = connection.read(&mut room)?;
                ensure!(len > 0, "nginx has closed a connection that was kept");
                answer.extend(room.get(..len).unwrap_or_default());
            }
            self.asked += 1;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn ask(&mut self, path: &str) -> Result<()> {
        (0..KEPT_ROUNDS).try_for_each(|_| self.round(path))
    }

    /// Asks now and then until there is such a file: when that was, and the most that `rss` told in between.
    fn ask_until(&mut self, file: &Path, mut rss: impl FnMut() -> Result<f64>) -> Result<(Instant, f64)> {
        let mut most = 0.0_f64;
        while !file.exists() {
            self.round("/kept")?;
            most = most.max(rss()?);
        }
        Ok((now(), most))
    }
}

/// Takes every line, and keeps the spans of what was asked before the load and after it.
fn read(out: ChildStdout, exported: &Mutex<Exported>) -> Result<()> {
    for line in BufReader::with_capacity(1 << 20, out).lines() {
        let line = line?;
        let came = now();
        let mut exported = lock(exported);
        if line.contains("/load\"") {
            exported.load = Some(came);
        }
        let [is_before, is_after] = PATHS.map(|paths| paths.iter().any(|path| line.contains(path)));
        if is_before || is_after {
            spans(&serde_json::from_str(&line)?, &mut exported.asked);
        }
        if is_after {
            exported.first_after.get_or_insert(came);
        }
    }
    Ok(())
}

fn spans(request: &Value, asked: &mut Vec<Asked>) {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        let found = value.get(name).and_then(Value::as_array);
        found.cloned().unwrap_or_default()
    };
    for resource in list(request, "resourceSpans") {
        for scope in list(&resource, "scopeSpans") {
            for span in list(&scope, "spans") {
                let span = Asked {
                    kind: span.get("kind").and_then(Value::as_u64).unwrap_or_default(),
                    attributes: list(&span, "attributes").iter().filter_map(attribute).collect(),
                };
                if path(&span).is_some_and(|path| PATHS.as_flattened().contains(&path)) {
                    asked.push(span);
                }
            }
        }
    }
}

fn attribute(attribute: &Value) -> Option<(String, String)> {
    let value = attribute.get("value")?.as_object()?.values().next()?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some((attribute.get("key")?.as_str()?.to_owned(), text))
}

/// The path that was asked for; a client says all of the URL.
fn path(span: &Asked) -> Option<&str> {
    let url = span.attributes.get("url.full").and_then(|url| {
        let (_, behind) = url.split_once("://")?;
        behind.find('/').and_then(|at| behind.get(at..))
    });
    url.or_else(|| span.attributes.get("url.path").map(String::as_str))
}

fn is_whole(span: &Asked) -> bool {
    let is = |name: &str, value: &str| span.attributes.get(name).is_some_and(|told| told == value);
    is("http.request.method", "GET")
        && is("http.response.status_code", "200")
        && is("http.request.body.size", "0")
        && is("http.response.body.size", &ANSWER.len().to_string())
        && !span.attributes.contains_key("tracer.incomplete")
        && !span.attributes.contains_key("error.type")
        && matches!(span.kind, 2 | 3)
}

/// Responses that wrk has read.
fn requests_of_wrk(report: &Path) -> Result<u64> {
    let text = fs::read_to_string(report)?;
    let number = text.split_once(" requests in ").and_then(|(before, _)| {
        let word = before.split_whitespace().next_back()?;
        word.parse().ok()
    });
    match number {
        Some(number) if !text.contains("Socket errors") => Ok(number),
        _ => bail!("wrk says something else:\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::record::{DataRecord, OpenRecord};

    use super::*;

    /// What the kernel adds to each record of a ring.
    const HEADER: usize = 8;

    /// Bytes that are told at both ends of connections which begin at the same moment, up to their first requests.
    fn told(connections: u64) -> u64 {
        let request = "GET /paced/before-many HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:10000\r\n\
                       User-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n";
        let one_end = 2 * HEADER + size_of::<OpenRecord>() + size_of::<DataRecord>() + request.len();
        connections * 2 * one_end as u64
    }

    #[test]
    fn connections_that_begin_at_the_same_moment_have_room_in_the_ring_beside_what_goes_on() {
        let ring = 4 << 10;
        assert!(2 * told(BEGUN_AT_ONCE) < ring);
        assert!(told(AT_ONCE) > ring, "they need not be begun apart");
        assert_eq!(
            (AT_ONCE % BEGUN_AT_ONCE, ASKED % (AT_ONCE / BEGUN_AT_ONCE)),
            (0, 0)
        );
    }

    #[test]
    fn spans_of_both_ends_are_found_and_one_that_lacks_something_is_not_whole() {
        let line = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
            {"kind":2,"attributes":[{"key":"url.path","value":{"stringValue":"/paced/after-one"}},
                {"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"http.response.status_code","value":{"intValue":"200"}},
                {"key":"http.request.body.size","value":{"intValue":"0"}},{"key":"http.response.body.size","value":{"intValue":"5"}}]},
            {"kind":3,"attributes":[{"key":"url.full","value":{"stringValue":"http://127.0.0.1:1/paced/after-many"}}]},
            {"kind":2,"attributes":[{"key":"url.path","value":{"stringValue":"/load"}}]}]}]}]}"#;
        let mut exported = Exported::default();
        spans(&serde_json::from_str(line).unwrap(), &mut exported.asked);
        let told = |paths| {
            let (count, wrong) = exported.of(paths);
            (count, wrong.len())
        };
        assert_eq!(told(&["/paced/after-one"]), (1, 0));
        assert_eq!(told(&["/paced/after-many"]), (1, 1));
        assert_eq!(told(&PATHS[1]), (2, 1));
        assert_eq!(told(&PATHS[0]), (0, 0));
    }
}
