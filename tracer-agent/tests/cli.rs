//! The command line from outside: exit statuses, and what is said to whom. Nothing here needs rights.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use tracer_agent::{
    capture::{
        Input,
        input::HostInfo,
        recording::{Content, Recording},
    },
    ids::BootNanos,
    privacy::Privacy,
};

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-agent"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACER_") || name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit status and standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn recording(path: &Path) {
    let mut recording = Recording::create(path, Content::Redacted(Privacy::Default)).unwrap();
    let host = HostInfo {
        host_name: "h".into(),
        id_seed: [1, 2],
        ..HostInfo::default()
    };
    for input in [
        Input::Host(host),
        Input::Tick(BootNanos(5)),
        Input::End(BootNanos(9)),
    ] {
        recording.write(&input).unwrap();
    }
    recording.finish().unwrap();
}

#[test]
fn misuse_is_status_2_and_says_what_is_wrong() {
    for (arguments, said) in [
        (
            &["run"][..],
            "nothing is selected: say what to trace with --pid PID",
        ),
        (
            &["run", "--port", "abc"],
            r#"--port: "abc" is not a list of ports such as 80,8000-8010"#,
        ),
        (&["run", "--pid", "-1"], r#"--pid: "-1" is not a process id"#),
        (
            &["run", "--pid", "1", "--export", "otlp=host"],
            r#"--export: "otlp=host" is not console, otlp,"#,
        ),
        (&["run", "--prot", "80"], "'--port'"),
        (&["tarce", "--", "true"], "'trace'"),
        (&["trace"], "CMD"),
        (
            &["trace", "--record-raw", "--", "true"],
            "--record-raw needs --record as well",
        ),
        (&["replay"], "<FILE>"),
        (
            &["run", "--config", "/nonexistent.yaml"],
            "cannot read the configuration /nonexistent.yaml: No such file",
        ),
    ] {
        let (status, text) = run(&mut agent(arguments));
        assert_eq!(status, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}

#[test]
fn help_is_no_misuse_and_goes_to_standard_output() {
    for arguments in [&["--help"][..], &["run", "-h"], &["--version"]] {
        let output = agent(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "all: true\nexcude_port: 80").unwrap();
    let path = file.path().to_str().unwrap();
    let (status, text) = run(&mut agent(&["run", "--config", path]));
    assert_eq!(status, Some(2));
    let said = format!(r#"{path}:2: unknown key "excude_port"; did you mean "exclude_port"?"#);
    assert!(text.contains(&said), "{text}");
}

#[test]
fn a_variable_is_checked_like_a_flag_and_an_unknown_one_is_remarked() {
    let (status, text) = run(agent(&["run"]).env("TRACER_PORT", "abc"));
    assert_eq!(status, Some(2));
    assert!(
        text.contains(r#"TRACER_PORT: "abc" is not a list of ports"#),
        "{text}"
    );
    let (_, text) = run(agent(&["run"]).env("TRACER_PRT", "1"));
    let said = "warning: the variable TRACER_PRT means nothing to the agent; did you mean TRACER_PORT?";
    assert!(text.contains(said), "{text}");
}

#[test]
fn without_capabilities_they_are_named_with_what_to_do() {
    let mut command = agent(&["trace", "--", "true"]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let (status, text) = run(&mut command);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("CAP_BPF") && text.contains("CAP_PERFMON") && text.contains("run as root"),
        "{text}"
    );
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    let (status, text) = run(&mut agent(&["run", "--pid", "4194303"]));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("there is no process 4194303"), "{text}");
}

#[test]
fn a_hook_family_that_is_asked_for_is_taken_or_refused_by_name() {
    for family in ["socket", "kprobe", "syscall"] {
        let (status, text) = run(&mut agent(&[
            "trace",
            "--log-level",
            "debug",
            "--hooks",
            family,
            "--",
            "true",
        ]));
        let (taken, refused) = (format!("hooks: {family}"), format!("{family}: "));
        match status {
            Some(0) => assert!(text.contains(&taken), "{text}"),
            Some(1) => assert!(
                text.contains(&refused)
                    || text.contains("not permitted")
                    || text.contains("type information"),
                "{text}"
            ),
            status => panic!("{status:?}: {text}"),
        }
    }
    let (status, text) = run(&mut agent(&["trace", "--hooks", "kprobes", "--", "true"]));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("auto, socket, kprobe or syscall"), "{text}");
}

#[test]
fn check_speaks_to_machines_and_its_status_says_whether_tracing_works() {
    let output = agent(&["check", "--json"]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["works"].as_bool(), Some(output.status.success()));
    let findings = answer["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["topic"] == "capabilities"));
}

#[test]
fn a_whole_recording_replays_without_rights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whole.rec");
    recording(&file);
    let (status, text) = run(&mut agent(&[
        "replay",
        file.to_str().unwrap(),
        "--export",
        "json=-",
    ]));
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn a_recording_that_is_none_or_cut_off_or_newer_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.rec");
    recording(&whole);
    let bytes = fs::read(&whole).unwrap();
    let mut newer = bytes.clone();
    newer[8] = 200;
    for (name, bytes, said) in [
        (
            "text",
            b"hello, this is some text and no recording at all".to_vec(),
            "is not a recording",
        ),
        (
            "empty",
            vec![],
            "is not a recording, nor a packet capture (pcap, pcapng)",
        ),
        (
            "packed.pcap.gz",
            vec![0x1f, 0x8b, 8],
            "is compressed; unpack it first",
        ),
        (
            "header.pcap",
            b"\xd4\xc3\xb2\xa1\x02".to_vec(),
            "it ends within its header",
        ),
        ("cut", bytes[..bytes.len() - 3].to_vec(), "cut off at byte"),
        ("newer", newer, "this one reads up to format"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (status, text) = run(&mut agent(&["replay", path.to_str().unwrap()]));
        assert_eq!(status, Some(1), "{name}: {text}");
        assert!(text.contains(said), "{name}: {text}");
    }
    let (status, text) = run(&mut agent(&["replay", "/nonexistent.rec"]));
    assert_eq!(status, Some(1));
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn a_capture_is_told_by_its_bytes_and_one_that_is_cut_off_gives_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-suffix");
    let http = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings/http.pcap");
    let bytes = fs::read(http).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let path = file.to_str().unwrap();
    let (status, text) = run(&mut agent(&["replay", path, "--export", "json=-"]));
    assert_eq!(status, Some(0), "{text}");
    let said = format!(
        "capture {path} is cut off at byte {}, in the middle of a packet",
        bytes.len() - 5
    );
    assert!(
        text.contains(&said) && text.contains("2 spans made\ntracer-agent: capture: cut_off 1"),
        "{text}"
    );
}

#[test]
fn a_destination_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whole.rec");
    recording(&file);
    let to = "json=/nonexistent/spans.json";
    let (status, text) = run(&mut agent(&["replay", file.to_str().unwrap(), "--export", to]));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("/nonexistent/spans.json"), "{text}");
}
