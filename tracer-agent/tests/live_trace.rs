//! `trace` and `run` on a real kernel: what CMD and its caller notice of being traced. Skipped, with the reason, where
//! `check` says that tracing does not work. Only processes that a test has started are traced.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

fn agent(arguments: &[&str]) -> Command {
    // A shell that runs the tests in the background has them ignore SIGINT, which would be handed down.
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_tracer-agent")])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Whether this host can trace; says why not.
fn works() -> bool {
    let output = agent(&["check"]).output().unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stdout));
    }
    output.status.success()
}

fn sh(script: &str) -> Command {
    agent(&["trace", "--", "sh", "-c", script])
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn status(output: &Output) -> Option<i32> {
    output.status.code()
}

fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Reads lines until one contains this.
fn wait_for(lines: impl Read, wanted: &str) -> String {
    BufReader::new(lines)
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains(wanted))
        .unwrap()
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    if !works() {
        return;
    }
    assert_eq!(status(&sh("exit 7").output().unwrap()), Some(7));
    assert_eq!(status(&sh("kill -9 $$").output().unwrap()), Some(137));
}

#[test]
fn a_command_that_is_not_there_or_cannot_be_run_is_told_as_shells_do() {
    if !works() {
        return;
    }
    let output = agent(&["trace", "--", "no-such-command"]).output().unwrap();
    assert_eq!(status(&output), Some(127));
    assert!(text(output.stderr).contains(r#"cannot run "no-such-command": No such file"#));
    let output = agent(&["trace", "--", "/etc/passwd"]).output().unwrap();
    assert_eq!(status(&output), Some(126));
    assert!(text(output.stderr).contains(r#"cannot run "/etc/passwd": Permission denied"#));
}

#[test]
fn the_command_has_the_input_environment_and_descriptors_of_its_caller() {
    if !works() {
        return;
    }
    let said = |mut command: Command| {
        let mut child = command
            .env("MARK", "m")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"from outside\n").unwrap();
        text(child.wait_with_output().unwrap().stdout)
    };
    let script = "cat; env | sort; ls /proc/$$/fd; echo end";
    let mut plain = Command::new("sh");
    plain.args(["-c", script]);
    let (traced, plain) = (said(sh(script)), said(plain));
    assert!(
        plain.starts_with("from outside\n") && plain.contains("MARK=m\n"),
        "{plain}"
    );
    assert_eq!(traced.split_inclusive("end\n").next(), Some(plain.as_str()));
}

#[test]
fn a_signal_to_the_agent_is_the_commands() {
    if !works() {
        return;
    }
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let script = format!("trap 'exit 3' {name}; echo ready; while :; do sleep 0.05; done");
        let mut child = sh(&script).spawn().unwrap();
        wait_for(child.stdout.as_mut().unwrap(), "ready");
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(3), "{name}");
    }
}

#[test]
fn a_command_that_signals_its_own_group_hears_it_once() {
    if !works() {
        return;
    }
    use std::os::unix::process::CommandExt;
    let script = "n=0; trap 'n=$((n+1))' TERM; kill -TERM 0; sleep 0.3; sleep 0.3; exit $n";
    let mut child = sh(script).process_group(0).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn processes_that_outlive_the_command_are_named() {
    if !works() {
        return;
    }
    let output = sh("sleep 1 >&- 2>&- & exit 0").output().unwrap();
    assert_eq!(status(&output), Some(0));
    let said = text(output.stderr);
    assert!(
        said.contains("of CMD still runs; it is no longer traced"),
        "{said}"
    );
}

#[test]
fn a_daemon_ends_in_good_order_when_asked_to() {
    if !works() {
        return;
    }
    let mut watched = Command::new("sleep").arg("30").spawn().unwrap();
    let mut child = agent(&["run", "--pid", &watched.id().to_string()])
        .spawn()
        .unwrap();
    wait_for(child.stderr.as_mut().unwrap(), "tracing process");
    kill(&child, Signal::TERM);
    let status = child.wait().unwrap();
    watched.kill().unwrap();
    watched.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn two_agents_at_once_do_not_get_in_each_others_way() {
    if !works() {
        return;
    }
    let inner = format!("{} trace -- sh -c 'exit 5'", env!("CARGO_BIN_EXE_tracer-agent"));
    let output = sh(&inner).output().unwrap();
    assert_eq!(status(&output), Some(5), "{}", text(output.stderr));
}
