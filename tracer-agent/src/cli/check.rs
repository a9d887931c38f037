//! `check`: what this host supports, what will work, and what to do about the rest.

use std::{fs, process};

use serde::Serialize;

use super::{Exit, attach::families};
use crate::{
    config::values::Hooks,
    discovery::Discovery,
    kernel::{KernelError, LeftOut, Plan, Probes, Refusal, Selection, capability, layout},
};

const HOOKS: &str = "hooks";
/// Who does TLS so that it is not seen on any host: docs/tls.md says more.
const NEVER_IN_TLS: &str = "not visible, here and elsewhere: TLS of Java (JSSE), rustls, NSS, and OpenSSL inside programs that do not say \
                            where its functions are";

/// One thing that tracing needs or profits from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    topic: &'static str,
    state: State,
    detail: String,
    /// What to do; empty where nothing needs to be done.
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
    /// What the kernel's verifier wrote of it; in the answer for machines only.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifier: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Not needed here: there is something else in its place.
    Unused,
    /// Tracing works, but knows less.
    Degraded,
    /// Tracing does not work.
    Missing,
}

/// The whole answer, for machines.
#[derive(Serialize)]
struct Answer<'a> {
    version: &'static str,
    works: bool,
    findings: &'a [Finding],
}

/// Looks, and prints what there is; failed if tracing will not work.
pub fn check(json: bool) -> anyhow::Result<Exit> {
    let mut findings = vec![
        kernel(),
        namespace(),
        capabilities(),
        process_sight(),
        type_information(),
    ];
    findings.extend(hooks());
    let works = findings.iter().all(|finding| finding.state != State::Missing);
    let text = if json {
        let answer = Answer {
            version: env!("CARGO_PKG_VERSION"),
            works,
            findings: &findings,
        };
        serde_json::to_string(&answer)? + "\n"
    } else {
        table(&findings, works)
    };
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(if works { Exit::Done } else { Exit::Failed })
}

fn table(findings: &[Finding], works: bool) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.topic.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Unused => "unused",
            State::Degraded => "degraded",
            State::Missing => "MISSING",
        };
        text.push_str(&format!(
            "{state:<8}  {:<width$}  {}\n",
            finding.topic, finding.detail
        ));
        if !finding.advice.is_empty() {
            text.push_str(&format!("{:<8}  {:<width$}  -> {}\n", "", "", finding.advice));
        }
    }
    text + if works {
        "\ntracing works here\n"
    } else {
        "\ntracing does not work here: see MISSING above\n"
    }
}

impl Finding {
    fn new(topic: &'static str, state: State, detail: impl Into<String>, advice: &'static str) -> Self {
        Self {
            topic,
            state,
            detail: detail.into(),
            advice,
            verifier: None,
        }
    }
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let detail = format!("Linux {} on {}", release.trim(), std::env::consts::ARCH);
    Finding::new("kernel", State::Ok, detail, "")
}

fn namespace() -> Finding {
    let (state, detail, advice) = if Discovery::new("/proc".into()).is_of_kernel() {
        (State::Ok, "that of the host", "")
    } else {
        (
            State::Missing,
            "one of its own: process ids mean others than the kernel's",
            "start the container with --pid=host, or see --host-root",
        )
    };
    Finding::new("pid namespace", state, detail, advice)
}

fn capabilities() -> Finding {
    let missing = capability::missing();
    let (state, detail, advice) = if missing.is_empty() {
        (
            State::Ok,
            "enough to load programs into the kernel".to_owned(),
            "",
        )
    } else {
        (
            State::Missing,
            format!("without {}", missing.join(", ")),
            "run as root, or: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep PATH/TO/tracer-agent",
        )
    };
    Finding::new("capabilities", state, detail, advice)
}

/// Whether programs of others can be named: their `/proc/PID/exe` needs `CAP_SYS_PTRACE`.
fn process_sight() -> Finding {
    let (state, detail, advice) = match fs::read_link("/proc/1/exe") {
        Ok(_) => (State::Ok, "programs of all users".to_owned(), ""),
        Err(error) => (
            State::Degraded,
            format!("programs of other users are named by their command only ({error})"),
            "run as root, or add cap_sys_ptrace",
        ),
    };
    Finding::new("process names", state, detail, advice)
}

fn type_information() -> Finding {
    let (state, detail, advice) = match layout::of_running_kernel(None) {
        Ok(resolved) => {
            let missing: Vec<_> = resolved.missing().collect();
            if missing.is_empty() {
                (State::Ok, format!("BTF in {}", layout::VMLINUX), "")
            } else {
                let detail = format!("this kernel has no {}", missing.join(", "));
                (State::Degraded, detail, "what depends on it is left out")
            }
        }
        Err(error) => (State::Missing, error.to_string(), ""),
    };
    Finding::new("type information", state, detail, advice)
}

/// The proof: the probes are attached for a moment, with nothing selected. Says of each hook family what became of it.
fn hooks() -> Vec<Finding> {
    let plan = Plan {
        selection: Selection::default(),
        families: families(Hooks::Auto),
        follows_sampling: true,
        has_uprobes: true,
        sees_tls: true,
        libraries: Vec::new(),
        joins: true,
        agent_pid: process::id(),
        speaks: false,
        ring_bytes: Some(1 << 16),
    };
    match Probes::attach(&plan) {
        Ok(probes) => {
            let blind = probes.family.blind_spots();
            let state = if blind.is_empty() {
                State::Ok
            } else {
                State::Degraded
            };
            let detail = format!("{} loads and attaches", probes.family);
            let taken = Finding::new(HOOKS, state, detail, blind);
            let refused = probes
                .refused
                .into_iter()
                .map(|refusal| refused(refusal, State::Unused));
            let go = go_programs(probes.go_obstacle);
            let unix = unix_sockets(probes.unix_obstacle);
            let tls = in_tls(probes.tls_obstacle);
            let python = python_programs(probes.python_obstacle);
            let java = java_programs(probes.java_obstacle);
            let rust = rust_programs(probes.rust_obstacle);
            let seen = [unix, go, python, java, rust, tls];
            let left_out = probes.left_out.into_iter().map(left_out);
            let findings = [taken].into_iter().chain(refused).chain(left_out);
            findings.chain(seen).collect()
        }
        Err(KernelError::NoFamily { refused: all }) => all
            .into_iter()
            .map(|refusal| refused(refusal, State::Missing))
            .collect(),
        Err(error) => vec![Finding::new(HOOKS, State::Missing, error.to_string(), "")],
    }
}

fn unix_sockets(obstacle: Option<String>) -> Finding {
    let (state, detail) = match obstacle {
        None => (State::Ok, "HTTP over Unix sockets is traced".to_owned()),
        Some(obstacle) => (State::Degraded, format!("not traced: {obstacle}")),
    };
    Finding::new("unix sockets", state, detail, "")
}

fn go_programs(obstacle: Option<&'static str>) -> Finding {
    let (state, detail) = match obstacle {
        None => (State::Ok, "calls are linked by goroutine".to_owned()),
        Some(obstacle) => (
            State::Degraded,
            format!("calls of net/http are linked by times only: {obstacle}"),
        ),
    };
    Finding::new("go programs", state, detail, "")
}

fn python_programs(obstacle: Option<&'static str>) -> Finding {
    let (state, detail) = match obstacle {
        None => (
            State::Ok,
            "calls of event loops are linked by coroutine".to_owned(),
        ),
        Some(obstacle) => (
            State::Degraded,
            format!("calls of event loops are linked {obstacle}"),
        ),
    };
    Finding::new("python programs", state, detail, "")
}

fn java_programs(obstacle: Option<&'static str>) -> Finding {
    let (state, detail) = match obstacle {
        None => (
            State::Ok,
            "calls are linked by thread, also those that a pool makes for it".to_owned(),
        ),
        Some(obstacle) => (
            State::Degraded,
            format!("calls that a pool makes for a thread are linked by times only: {obstacle}"),
        ),
    };
    Finding::new("java programs", state, detail, "")
}

fn rust_programs(obstacle: Option<&'static str>) -> Finding {
    let (state, detail) = match obstacle {
        None => (
            State::Ok,
            "calls of tokio are linked by task, unless a program was stripped".to_owned(),
        ),
        Some(obstacle) => (
            State::Degraded,
            format!("calls of tokio are linked by times only: {obstacle}"),
        ),
    };
    Finding::new("rust programs", state, detail, "")
}

fn in_tls(obstacle: Option<&'static str>) -> Finding {
    let (state, detail, limit) = match obstacle {
        None => (
            State::Ok,
            "HTTP in TLS is traced where OpenSSL, GnuTLS or Go does it".to_owned(),
            NEVER_IN_TLS,
        ),
        Some(obstacle) => (State::Degraded, format!("not looked into: {obstacle}"), ""),
    };
    Finding::new("tls", state, detail, limit)
}

fn left_out(program: LeftOut) -> Finding {
    Finding {
        verifier: program.log,
        ..Finding::new(HOOKS, State::Degraded, program.reason, "what it sees is missed")
    }
}

fn refused(refusal: Refusal, state: State) -> Finding {
    let Refusal { family, reason, log } = refusal;
    Finding {
        verifier: log,
        ..Finding::new(HOOKS, state, format!("{family}: {reason}"), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_tls_is_looked_into_it_is_said_what_of_it_is_never_visible() {
        assert_eq!(in_tls(None).state, State::Ok);
        assert_eq!(in_tls(None).advice, NEVER_IN_TLS);
        assert_eq!(in_tls(Some("no rights")).advice, "");
    }

    #[test]
    fn the_table_says_what_to_do_below_what_is_wrong() {
        let findings = [
            Finding::new("kernel", State::Ok, "Linux 6.1", ""),
            Finding::new("hooks", State::Missing, "refused", "ask"),
        ];
        assert_eq!(
            table(&findings, false),
            "ok        kernel  Linux 6.1\nMISSING   hooks   refused\n                  -> ask\n\n\
             tracing does not work here: see MISSING above\n"
        );
    }
}
