//! Secrets in every place that a request has, and none of them in anything that the agent writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Test;
use crate::agent::Agent;
use crate::http2::{needs_files, python};
use crate::skip::{Skip, needs};
use crate::tls::Place;

pub const TESTS: &[Test] = &[
    ("no_secret_of_a_request_is_in_anything_that_is_written", |agent| {
        canary(agent, "default")
    }),
    (
        "no_secret_of_a_request_is_in_anything_that_is_written_in_strictness",
        |agent| canary(agent, "strict"),
    ),
    (
        "no_credential_is_in_anything_that_is_written_in_the_open",
        |agent| canary(agent, "open"),
    ),
    ("no_core_file_is_made_of_the_agent", no_core_file),
];

/// Places of secrets that stand there as they are drawn: 32 hexadecimal digits.
const PLACES: &[&str] = &[
    "path hex",
    "path value",
    "path parameter",
    "path bare parameter",
    "query value",
    "query bare",
    "query more",
    "query key",
    "authorization",
    "proxy authorization",
    "cookie",
    "cookie more",
    "api key",
    "own header",
    "header name",
    "referer password",
    "referer path",
    "referer query",
    "referer fragment",
    "folded header",
    "set-cookie",
    "cookie path",
    "location path",
    "location query",
    "answer header",
    "realm",
    "body",
    "answer body",
    "fragment",
    "reason",
    "user",
    "password",
    "absolute path",
    "absolute query",
    "chunk extension",
    "chunk",
    "trailer",
    "answer chunk extension",
    "answer chunk",
    "answer trailer",
    "upgrade path",
    "websocket key",
    "websocket protocol",
    "upgraded payload",
    "upgraded answer",
    "connect password",
    "tunnel payload",
    "tunnel answer",
    "start line",
    "line",
    "answer line",
    "h2 path hex",
    "h2 path value",
    "h2 query value",
    "h2 query bare",
    "h2 authorization",
    "h2 cookie",
    "h2 own header",
    "h2 header name",
    "h2 referer path",
    "h2 body",
    "h2 trailer",
    "h2 set-cookie",
    "h2 answer header",
    "h2 answer body",
    "h2 answer trailer",
    "h2 userinfo",
    "grpc path",
    "grpc authorization",
    "grpc metadata",
    "grpc metadata in base64",
    "grpc message",
    "grpc initial metadata",
    "grpc answer",
    "grpc status message",
    "grpc trailing metadata",
    "argument",
    "password of an argument",
    "variable",
    "password of a variable",
    "folder",
];
/// Those of the process, which no request has.
const OF_PROCESS: &[&str] = &[
    "argument",
    "password of an argument",
    "variable",
    "password of a variable",
    "folder",
];
/// What is told in the open: paths and queries.
const OPEN: &[&str] = &[
    "path",
    "query",
    "absolute path",
    "absolute query",
    "referer path",
    "referer query",
    "location",
    "upgrade path",
    "h2 path",
    "h2 query",
    "h2 referer path",
    "grpc path",
    // A target with a blank in it.
    "start line",
];
/// Headers that are asked for, though most of them carry credentials.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "referer",
    "location",
];
/// As many characters of a secret are a find: 48 bits.
const PART: usize = 12;

/// A secret for each place, drawn anew in each run.
struct Secrets {
    /// As they are planted, by the name of the place.
    planted: BTreeMap<String, String>,
    /// What would be looked for of each.
    parts: Vec<(String, String)>,
}

impl Secrets {
    fn draw() -> Result<Self> {
        let mut random = File::open("/dev/urandom")?;
        let mut hex = move || -> Result<String> {
            let mut bytes = [0; 16];
            random.read_exact(&mut bytes)?;
            Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let mut secrets = Self {
            planted: BTreeMap::new(),
            parts: Vec::new(),
        };
        for place in PLACES {
            let secret = hex()?;
            secrets.add(place, &secret, &secret);
        }
        let word = hex()?;
        secrets.add(
            "path base64",
            &base64(word.as_bytes(), 0),
            &base64(word.as_bytes(), 0),
        );
        let signature = hex()?;
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjF9.{signature}");
        secrets.add("path jwt", &jwt, &signature);
        let issued = hex()?;
        secrets.add("path issued", &format!("sk_live_{issued}"), &issued);
        for (place, at) in [
            ("path mail", "@"),
            ("h2 path mail", "@"),
            ("path mail encoded", "%40"),
            ("path mail twice encoded", "%2540"),
        ] {
            let name: String = hex()?.chars().take(16).collect();
            secrets.add(place, &format!("{name}{at}example.com"), &name);
        }
        for place in ["path card", "h2 path card"] {
            let card = card(&hex()?);
            secrets.add(place, &card, &card);
        }
        Ok(secrets)
    }

    fn add(&mut self, place: &str, planted: &str, secret: &str) {
        self.planted.insert(place.to_owned(), planted.to_owned());
        self.parts.push((place.to_owned(), secret.to_owned()));
    }

    fn of(&self, place: &str) -> &str {
        self.planted.get(place).map_or("", String::as_str)
    }

    /// The places whose secrets are in a text, or a part of them, in whatever case, percent-encoded, in hexadecimal digits or in base64.
    fn found_in(&self, text: &[u8]) -> Vec<&str> {
        let lower = text.to_ascii_lowercase();
        let is_in = |(_, secret): &&(String, String)| {
            let secret = secret.as_bytes();
            let of_all: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let of_all_percent: String = secret.iter().map(|byte| format!("%{byte:02x}")).collect();
            secret
                .windows(PART)
                .any(|part| holds(&lower, &part.to_ascii_lowercase()))
                || holds(&lower, of_all.as_bytes())
                || holds(&lower, of_all_percent.as_bytes())
                || (0..3).any(|skipped| holds(text, base64(secret, skipped).as_bytes()))
        };
        let found = self.parts.iter().filter(is_in);
        found.map(|(place, _)| place.as_str()).collect()
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// What is the same in the base64 of whatever begins so many bytes before this.
fn base64(bytes: &[u8], skipped: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = bytes.get(skipped..).unwrap_or_default().chunks_exact(3);
    let digits = whole.flat_map(|three| {
        let word = three
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| {
            DIGITS
                .get((word >> shift & 63) as usize)
                .map_or(b' ', |digit| *digit)
        })
    });
    digits.map(char::from).collect()
}

/// The number of a card, of these digits.
fn card(hex: &str) -> String {
    let digits = hex.bytes().map(|digit| u32::from(digit) % 10).take(14);
    let digits: Vec<_> = [4].into_iter().chain(digits).collect();
    let doubled = |(place, digit): (usize, &u32)| match place % 2 {
        0 => 2 * digit / 10 + 2 * digit % 10,
        _ => *digit,
    };
    let sum: u32 = digits.iter().enumerate().map(doubled).sum();
    let check = (10 - sum % 10) % 10;
    digits.iter().chain([&check]).map(ToString::to_string).collect()
}

/// Takes whatever is exported over HTTP, and keeps it.
struct Receiver {
    address: String,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Receiver {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || answer(stream, &kept));
            }
        });
        Ok(Self { address, received })
    }
}

fn answer(mut stream: TcpStream, kept: &Mutex<Vec<u8>>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let len = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))?;
        let mut body = vec![0; len.trim().parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        kept.lock().ok()?.extend([head, body].concat());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}

fn canary(agent: &Agent, privacy: &str) -> Result<()> {
    needs(&["python3", "openssl"])?;
    needs_files("h2", &[python().with_file_name("hypercorn")])?;
    let secrets = Secrets::draw()?;
    let place = Place::new()?;
    let folder = TempDir::new()?;
    let plain_id = "700100200300";
    let planted = folder.path().join("planted.json");
    let mut all = secrets.planted.clone();
    all.insert("plain id".to_owned(), plain_id.to_owned());
    all.insert("of the process".to_owned(), OF_PROCESS.join(","));
    fs::write(&planted, serde_json::to_string(&all)?)?;

    let receiver = Receiver::start()?;
    let file = |name: &str| folder.path().join(name);
    let run = |recording: &Path, export: &Path, raw: bool| {
        let working = folder.path().join(secrets.of("folder"));
        fs::create_dir_all(&working)?;
        let mut command = Command::new(agent.program());
        command
            .args(["trace", "-v", "--hooks", agent.family(), "--privacy", privacy])
            .args([
                "--export",
                "console",
                "--export",
                &format!("otlp={}", receiver.address),
            ])
            .arg("--export")
            .arg(format!("json={}", export.display()))
            .arg("--record")
            .arg(recording)
            .args(raw.then_some("--record-raw"))
            .args(HEADERS.iter().flat_map(|name| ["--capture-header", *name]))
            .arg("--")
            .arg(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/canary.py"))
            .args([&planted, Path::new(place.both())])
            .arg(format!("--token={}", secrets.of("argument")))
            .arg(format!(
                "postgres://me:{}@db/shop",
                secrets.of("password of an argument")
            ))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("API_TOKEN", secrets.of("variable"))
            .env(
                "DATABASE_URL",
                format!("mysql://me:{}@db/shop", secrets.of("password of a variable")),
            )
            .current_dir(working)
            .stdin(Stdio::null());
        Ok::<_, anyhow::Error>(command.output()?)
    };
    let ran = run(&file("recording"), &file("spans.json"), false)?;
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.success(), "ended with {}:\n{errors}", ran.status);
    let replay = |export: &str, raw: bool| {
        let recording = file(if raw { "raw" } else { "recording" });
        let mut command = Command::new(agent.program());
        command.args(["replay", "-v", "--privacy", privacy, "--export", export]);
        command.args(HEADERS.iter().flat_map(|name| ["--capture-header", *name]));
        command.arg(recording).stdin(Stdio::null()).output()
    };
    let replayed = replay("json=-", false)?;
    let shown = replay("console", false)?;
    let checked = Command::new(agent.program()).arg("check").output()?;
    let outputs = [
        ("the console", ran.stdout.clone()),
        ("the log", ran.stderr.clone()),
        ("the json export", fs::read(file("spans.json"))?),
        (
            "the otlp export",
            receiver
                .received
                .lock()
                .map_or_else(|_| Vec::new(), |all| all.clone()),
        ),
        ("the recording", fs::read(file("recording"))?),
        (
            "the replay of the recording",
            [replayed.stdout.clone(), replayed.stderr].concat(),
        ),
        ("its console", [shown.stdout, shown.stderr].concat()),
        ("check", [checked.stdout, checked.stderr].concat()),
    ];
    let is_told = |place: &&str| privacy == "open" && OPEN.iter().any(|open| place.starts_with(open));
    let mut hits = Vec::new();
    for (output, text) in &outputs {
        ensure!(!text.is_empty(), "{output} is empty:\n{errors}");
        let found = secrets.found_in(text).into_iter().filter(|place| !is_told(place));
        hits.extend(found.map(|place| format!("{place} in {output}")));
    }
    ensure!(hits.is_empty(), "{hits:#?}\n{errors}");

    let text = |output: &str| {
        let text = outputs.iter().find(|(name, _)| *name == output);
        text.map(|(_, text)| text.as_slice()).unwrap_or_default()
    };
    // Whoever looked for nothing would find nothing: what is no secret is there, and a secret is where nothing is masked.
    for output in [
        "the json export",
        "the otlp export",
        "the recording",
        "the replay of the recording",
    ] {
        let is_there = holds(text(output), plain_id.as_bytes());
        ensure!(
            is_there == (privacy != "strict"),
            "the plain id in {output}: {is_there}"
        );
        ensure!(
            holds(text(output), b"shop.example"),
            "no request in {output}:\n{errors}"
        );
    }
    // The same masks on both ways: what is replayed is what was exported live.
    if privacy != "strict" {
        let live = urls(text("the json export"))?;
        ensure!(!live.is_empty(), "no paths were exported");
        let again = urls(&replayed.stdout)?;
        ensure!(live == again, "live:\n{live:#?}\nreplayed:\n{again:#?}");
    }
    let raw = run(&file("raw"), &file("raw.json"), true)?;
    ensure!(raw.status.success(), "ended with {}", raw.status);
    let found = secrets.found_in(&fs::read(file("raw"))?);
    for place in [
        "path hex",
        "path mail",
        "path card",
        "query value",
        "cookie",
        "set-cookie",
        "user",
    ] {
        ensure!(
            found.contains(&place),
            "{place} is not in the raw recording: {found:?}"
        );
    }
    let exported = secrets.found_in(&fs::read(file("raw.json"))?);
    ensure!(
        exported.iter().all(is_told),
        "{exported:?} are exported beside a raw recording"
    );
    Ok(())
}

/// What the spans of an export say of URLs and names, in order.
fn urls(export: &[u8]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for span in crate::spans::read(std::str::from_utf8(export)?)? {
        // What stands behind a blank in a broken line is no path to a recording.
        if span.attribute("http.response.status_code") == "400" {
            continue;
        }
        let said = [
            "url.path",
            "url.full",
            "url.query",
            "http.route",
            "url.template",
            "rpc.method",
        ];
        all.push(said.map(|key| span.attribute(key).to_owned()).join(" "));
    }
    all.sort();
    Ok(all)
}

/// A core file of it would hold all that requests have.
fn no_core_file(agent: &Agent) -> Result<()> {
    let folder = TempDir::new()?;
    let killed = |program: &str| -> Result<bool> {
        let script = format!(
            "ulimit -c unlimited && cd {} && {program}",
            folder.path().display()
        );
        let status = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.core_dumped())
    };
    if !killed("exec sh -c 'kill -SEGV $$'")? {
        bail!(Skip("this host makes no core files".to_owned()));
    }
    // It is killed by what it traces, while it traces.
    let program = agent.program().display();
    let traced = format!("exec {program} trace --export json=/dev/null -- sh -c 'kill -SEGV $PPID'");
    ensure!(!killed(&traced)?, "a core file was made");
    // What it starts may leave one as before.
    let script = "sh -c 'ulimit -c; kill -SEGV $$' || test $? -gt 128";
    let own = format!("{program} trace --export json=/dev/null -- {script}");
    killed(&own).context("the command of the agent")?;
    let left = fs::read_dir(folder.path())?.flatten().count();
    ensure!(left > 0, "what the agent starts leaves no core file either");
    Ok(())
}
