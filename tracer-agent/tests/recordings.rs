//! Recordings of real programs, made by the live agent together with its json export: a replay gives the same spans.
//! `tests/recordings/README.md` says how they were made, and when they may change.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tracer_agent::capture::{
    Replayed,
    recording::{Content, Recording},
};
use tracer_agent::privacy::Privacy;

fn recordings() -> Vec<PathBuf> {
    files("rec")
}

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
    let mut recordings: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    recordings.sort();
    recordings
}

fn replay(recording: &Path) -> String {
    replay_with(&[], recording)
}

fn replay_with(options: &[&str], recording: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer-agent"))
        .args(["replay", "--quiet", "--export", "json=-"])
        .args(options)
        .arg(recording)
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", recording.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Every span of an export with the resource it is of, in a fixed order: how live spans fall into batches depends on
/// the time.
fn spans(export: &str) -> Vec<String> {
    let requests = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let list = |value: &Value, key: &str| value.get(key).unwrap().as_array().unwrap().clone();
    let mut spans: Vec<_> = requests
        .flat_map(|request| list(&request, "resourceSpans"))
        .flat_map(|group| {
            let resource = group.get("resource").unwrap().to_string();
            let scopes = list(&group, "scopeSpans").into_iter();
            let spans = scopes.flat_map(|scope| list(&scope, "spans"));
            spans.map(|span| format!("{span} {resource}")).collect::<Vec<_>>()
        })
        .collect();
    spans.sort();
    spans
}

#[test]
fn a_replay_gives_the_spans_of_the_live_agent_and_the_same_bytes_each_time() {
    let recordings = recordings();
    assert!(recordings.len() >= 8, "{recordings:?}");
    for recording in recordings {
        let live = fs::read_to_string(recording.with_extension("json")).unwrap();
        assert!(live.contains("\"spanId\""), "{}", recording.display());
        let [once, twice] = [replay(&recording), replay(&recording)];
        assert_eq!(once, twice, "{} twice", recording.display());
        assert_eq!(spans(&once), spans(&live), "{}", recording.display());
    }
}

/// Every span of an export by its id, with its parent and the list that says how it was sampled.
fn sampled(export: &str) -> BTreeMap<String, (String, String)> {
    let requests = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let list = |value: &Value, key: &str| value.get(key).unwrap().as_array().unwrap().clone();
    let text = |span: &Value, key: &str| {
        span.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    requests
        .flat_map(|request| list(&request, "resourceSpans"))
        .flat_map(|group| list(&group, "scopeSpans"))
        .flat_map(|scope| list(&scope, "spans"))
        .map(|span| {
            let place = (text(&span, "parentSpanId"), text(&span, "traceState"));
            (text(&span, "spanId"), place)
        })
        .collect()
}

#[test]
fn what_is_sampled_of_a_recording_is_the_same_each_time_and_leaves_no_span_without_its_parent() {
    let mut left_out = 0;
    for recording in recordings() {
        let all = sampled(&replay(&recording));
        for options in [
            ["--tail", "errors,slow=20ms,ratio=0.5"],
            ["--tail", "slow=p99,ratio=0.3,rate=5"],
            ["--sampler", "traceidratio=0.5"],
            ["--sample", "/leaf* drop"],
        ] {
            let [once, twice] = [0, 1].map(|_| replay_with(&options, &recording));
            assert_eq!(once, twice, "{} with {options:?}", recording.display());
            let kept = sampled(&once);
            left_out += all.len() - kept.len();
            for (span, (parent, _)) in &kept {
                let (parent_of_all, _) = all.get(span).unwrap();
                assert_eq!(parent, parent_of_all);
                assert!(
                    !all.contains_key(parent) || kept.contains_key(parent),
                    "{span} under {parent}"
                );
            }
            let says_so = kept.values().all(|(_, tracestate)| tracestate == "ot=th:8");
            assert!(options.first() != Some(&"--sampler") || says_so, "{kept:?}");
        }
    }
    assert!(left_out > 100, "only {left_out} were left out");
}

/// What was checked by hand against tshark: `tests/recordings/README.md`.
#[test]
fn a_capture_gives_the_exchanges_that_another_dissector_finds_and_the_same_bytes_each_time() {
    let captures = files("pcap");
    assert!(captures.len() >= 7, "{captures:?}");
    for capture in captures {
        let golden = fs::read_to_string(capture.with_extension("pcap.json")).unwrap();
        assert_eq!(replay(&capture), golden, "{}", capture.display());
        assert_eq!(replay(&capture), golden, "{} twice", capture.display());
    }
}

/// Of HTTP/1 and of HTTP/2, in which what is masked decides how the rest is read.
#[test]
fn what_is_redacted_gives_the_spans_that_it_gave_before() {
    for capture in files("pcap") {
        let golden = fs::read_to_string(capture.with_extension("pcap.json")).unwrap();
        let name = capture.with_extension("rec").file_name().unwrap().to_owned();
        let redacted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut recording = Recording::create(&redacted, Content::Redacted(Privacy::Default)).unwrap();
        let mut inputs = Replayed::open(&capture).unwrap();
        while let Some(input) = inputs.next_input().unwrap() {
            recording.write(&input).unwrap();
        }
        recording.finish().unwrap();
        assert_eq!(spans(&replay(&redacted)), spans(&golden), "{}", capture.display());
    }
}

#[test]
fn a_recording_and_its_export_hold_no_query_value_and_no_credential() {
    for recording in recordings() {
        for file in [recording.with_extension("json"), recording] {
            let bytes = fs::read(&file).unwrap();
            let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!holds(b"secret=1"), "{}", file.display());
            assert!(!holds(b"open-sesame"), "{}", file.display());
        }
    }
}
