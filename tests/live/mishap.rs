//! What goes wrong on a host: the agent says so, counts it, and goes on.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::Test;
use crate::agent::{Agent, MEMORY_MAX_KIB, Traced, capabilities};
use crate::http1::{answer, answer_untraced, of_kind, paired};
use crate::skip::{Skip, needs};
use crate::spans::Kind;

pub const TESTS: &[Test] = &[
    (
        "a_server_killed_in_the_middle_of_a_request_is_an_error_at_both_ends",
        killed,
    ),
    (
        "what_is_not_http_harms_nothing_and_the_next_request_is_right",
        noise,
    ),
    ("without_tracefs_nothing_is_missed", without_tracefs),
    (
        "without_type_information_the_error_says_what_to_do",
        without_type_information,
    ),
    ("a_process_that_has_ended_cannot_be_traced", ended),
    (
        "the_capabilities_that_are_documented_are_enough_and_one_less_is_named",
        least_rights,
    ),
    ("while_it_traces_the_agent_keeps_few_capabilities", kept_rights),
];

/// Starts `answer.py` on port `$1` beside what follows, which is to end soon.
const SERVER: &str = r#"
python3 "$2" --port "$1" -- sleep 20 >/dev/null 2>&1 &
server=$!
url=http://127.0.0.1:$1
until curl -s -o /dev/null "$url/ready"; do sleep 0.1; done
"#;

/// Runs a shell script under the agent, in which `$url` is a server and `$server` its process.
fn beside_server(agent: &Agent, script: &str) -> Result<Traced> {
    needs(&["python3", "curl"])?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let answer = concat!(env!("CARGO_MANIFEST_DIR"), "/live/answer.py");
    let noise = concat!(env!("CARGO_MANIFEST_DIR"), "/live/noise.py");
    let script = format!("{SERVER}{script}");
    agent
        .trace(&[], &["sh", "-c", &script, "sh", &port, answer, noise])?
        .successful()
}

/// The spans whose target is this path, at both ends.
fn of_path(traced: &Traced, path: &str) -> Traced {
    let is_wanted = |attribute: &str| attribute.ends_with(path);
    let spans = traced
        .spans
        .iter()
        .filter(|span| is_wanted(span.attribute("url.path")) || is_wanted(span.attribute("url.full")));
    Traced {
        spans: spans.cloned().collect(),
        export: traced.export.clone(),
        errors: traced.errors.clone(),
        status: traced.status,
        peak_memory_kib: traced.peak_memory_kib,
    }
}

/// The server has read a request and is gone before it answers.
fn killed(agent: &Agent) -> Result<()> {
    let traced = beside_server(agent, r#"curl -s "$url/die"; [ $? = 52 ] || [ $? = 56 ]; true"#)?;
    let died = of_path(&traced, "/die");
    for kind in [Kind::Server, Kind::Client] {
        for span in of_kind(&died, kind, 1)? {
            ensure!(
                span.attribute("error.type").starts_with("connection_"),
                "no error: {span:?}"
            );
            ensure!(
                span.attribute("http.response.status_code").is_empty(),
                "a status that nobody sent: {span:?}"
            );
        }
    }
    Ok(())
}

/// Garbage, NUL bytes, endless lines and heads, 100,000 headers, lengths without end.
fn noise(agent: &Agent) -> Result<()> {
    let script = r#"python3 "$3" 127.0.0.1 "$1" && curl -s "$url/after" && kill $server"#;
    let traced = beside_server(agent, script)?;
    paired(&of_path(&traced, "/after"), 1)?;
    ensure!(
        traced.errors.contains("protocols: requests_unparsable"),
        "nothing is said of what could not be read; standard error was:\n{}",
        traced.errors
    );
    ensure!(
        (1..MEMORY_MAX_KIB).contains(&traced.peak_memory_kib),
        "the agent took {} KiB",
        traced.peak_memory_kib
    );
    Ok(())
}

/// Raw tracepoints are opened by name, not by files of tracefs.
fn without_tracefs(agent: &Agent) -> Result<()> {
    let traced = hidden(agent, "/sys/kernel/tracing")?;
    ensure!(
        traced.status.success() && traced.errors.contains("0 spans"),
        "it did not trace: {}",
        traced.errors
    );
    Ok(())
}

fn without_type_information(agent: &Agent) -> Result<()> {
    let traced = hidden(agent, "/sys/kernel/btf")?;
    ensure!(
        traced.status.code() == Some(1)
            && traced.errors.contains("/sys/kernel/btf/vmlinux")
            && traced.errors.contains("CONFIG_DEBUG_INFO_BTF"),
        "ended with {}: {}",
        traced.status,
        traced.errors
    );
    Ok(())
}

/// Runs the agent where a folder of the system is empty, as in a container that was not given it.
fn hidden(agent: &Agent, folder: &str) -> Result<Traced> {
    needs(&["unshare"])?;
    let can_hide = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", folder])
        .stderr(Stdio::null())
        .status()?;
    if !can_hide.success() {
        bail!(Skip(format!("{folder} cannot be hidden here")));
    }
    let script = r#"mount -t tmpfs none "$1" && shift && exec "$@""#;
    agent.under(
        &["unshare", "--mount", "sh", "-c", script, "sh", folder],
        &["trace"],
        &["true"],
    )
}

/// Its number is still taken, since nobody has asked how it ended.
fn ended(agent: &Agent) -> Result<()> {
    let mut dead = Command::new("true").spawn()?;
    let pid = dead.id().to_string();
    let stat = format!("/proc/{pid}/stat");
    while !std::fs::read_to_string(&stat)?.contains(") Z ") {
        std::thread::yield_now();
    }
    let error = agent
        .run(&["--pid", &pid])
        .err()
        .context("it traces a process that has ended")?;
    dead.wait()?;
    let said = format!("{error:#}");
    ensure!(said.contains(&format!("process {pid}")), "it says: {said}");
    Ok(())
}

/// Root without any capability but those that docs/kernels.md names.
fn least_rights(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl", "setpriv", "bash"])?;
    // Before 5.11 maps count as locked memory, which is not to be limited then.
    let script = r#"ulimit -l unlimited 2>/dev/null; exec setpriv --bounding-set "-all,$1" "${@:2}""#;
    // Debian's kernel has a level that keeps kprobes from everyone else.
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?;
    let is_for_admin = agent.family() == "kprobe" && paranoid.trim().parse::<i32>()? > 2;
    let with = |set: &str| {
        let starter = ["bash", "-c", script, "bash", set];
        agent.under(&starter, &["trace"], &answer(&[], &["curl", "-sS", "{url}/a"]))
    };
    let traced = with(if is_for_admin {
        "+bpf,+perfmon,+sys_ptrace,+sys_admin"
    } else {
        "+bpf,+perfmon,+sys_ptrace"
    })?;
    if traced.errors.contains("setpriv: ") {
        bail!(Skip(format!(
            "capabilities cannot be dropped here: {}",
            traced.errors
        )));
    }
    paired(&traced.successful()?, 1)?;
    for (set, missing) in [
        ("+bpf,+sys_ptrace", "CAP_PERFMON"),
        ("+perfmon,+sys_ptrace", "CAP_BPF"),
    ] {
        let refused = with(set)?;
        ensure!(
            refused.status.code() == Some(1) && refused.errors.contains(missing),
            "without {missing} it ended with {}: {}",
            refused.status,
            refused.errors
        );
    }
    Ok(())
}

/// `CAP_DAC_READ_SEARCH`, `CAP_KILL`, `CAP_SYS_PTRACE`, `CAP_BPF`.
const KEPT: u64 = 1 << 2 | 1 << 5 | 1 << 19 | 1 << 39;
/// `CAP_SYS_PTRACE`, `CAP_SYS_ADMIN`: of the threads that set breakpoints, one for Go programs, one for libraries.
const TO_SET: u64 = 1 << 19 | 1 << 21;

fn kept_rights(agent: &Agent) -> Result<()> {
    needs(&["python3", "curl"])?;
    if capabilities(Path::new("/proc/self"))? & !KEPT == 0 {
        bail!(Skip("there is no other capability here to give up".to_owned()));
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    // One thread for programs of Go, one for libraries of TLS.
    for (uprobes, tls, for_breakpoints) in [
        ("off", "off", 0),
        ("auto", "off", 1),
        ("off", "auto", 1),
        ("auto", "auto", 2),
    ] {
        let running = agent.run(&["--port", &port, "--uprobes", uprobes, "--tls", tls])?;
        answer_untraced(&["--port", &port], &["curl", "-sS", "{url}/a"])?;
        let kept = running.capabilities()?;
        let (few, more): (Vec<u64>, Vec<u64>) = kept.iter().partition(|set| **set & !KEPT == 0);
        ensure!(
            few.len() > 1 && more.len() <= for_breakpoints && more.iter().all(|set| set & !TO_SET == 0),
            "with --uprobes {uprobes} and --tls {tls} its threads have {kept:x?}"
        );
        of_kind(&running.stop()?, Kind::Server, 1)?;
    }
    Ok(())
}
