//! `check`: what this host supports, what will work, and what to do about the rest.

use std::{fs, process};

use serde::Serialize;

use super::{Exit, attach::in_initial_pid_namespace};
use crate::kernel::{Plan, Probes, Selection, capability, layout};

/// One thing that tracing needs or profits from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    topic: &'static str,
    state: State,
    detail: String,
    /// What to do; empty where nothing needs to be done.
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
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
    let findings = [
        kernel(),
        namespace(),
        capabilities(),
        process_sight(),
        type_information(),
        hooks(),
    ];
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

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let detail = format!("Linux {} on {}", release.trim(), std::env::consts::ARCH);
    match std::env::consts::ARCH {
        "x86_64" => Finding {
            topic: "kernel",
            state: State::Ok,
            detail,
            advice: "",
        },
        _ => Finding {
            topic: "kernel",
            state: State::Missing,
            detail,
            advice: "this version traces x86_64 only",
        },
    }
}

fn namespace() -> Finding {
    let (state, detail, advice) = if in_initial_pid_namespace() {
        (State::Ok, "that of the host", "")
    } else {
        (
            State::Missing,
            "one of its own: process ids mean others than the kernel's",
            "start the container with --pid=host",
        )
    };
    Finding {
        topic: "pid namespace",
        state,
        detail: detail.to_owned(),
        advice,
    }
}

fn capabilities() -> Finding {
    let missing = capability::missing();
    if missing.is_empty() {
        let detail = "enough to load programs into the kernel".to_owned();
        return Finding {
            topic: "capabilities",
            state: State::Ok,
            detail,
            advice: "",
        };
    }
    Finding {
        topic: "capabilities",
        state: State::Missing,
        detail: format!("without {}", missing.join(", ")),
        advice: "run as root, or: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep PATH/TO/tracer-agent",
    }
}

/// Whether programs of others can be named: their `/proc/PID/exe` needs `CAP_SYS_PTRACE`.
fn process_sight() -> Finding {
    let topic = "process names";
    match fs::read_link("/proc/1/exe") {
        Ok(_) => Finding {
            topic,
            state: State::Ok,
            detail: "programs of all users".to_owned(),
            advice: "",
        },
        Err(error) => Finding {
            topic,
            state: State::Degraded,
            detail: format!("programs of other users are named by their command only ({error})"),
            advice: "run as root, or add cap_sys_ptrace",
        },
    }
}

fn type_information() -> Finding {
    let topic = "type information";
    match layout::of_running_kernel() {
        Ok(resolved) if resolved.missing.is_empty() => Finding {
            topic,
            state: State::Ok,
            detail: format!("BTF in {}", layout::VMLINUX),
            advice: "",
        },
        Ok(resolved) => Finding {
            topic,
            state: State::Degraded,
            detail: format!("this kernel has no {}", resolved.missing.join(", ")),
            advice: "what depends on it is left out",
        },
        Err(error) => Finding {
            topic,
            state: State::Missing,
            detail: error.to_string(),
            advice: "",
        },
    }
}

/// The proof: the probes are attached for a moment, with nothing selected.
fn hooks() -> Finding {
    let topic = "hooks";
    let plan = Plan {
        selection: Selection::default(),
        agent_pid: process::id(),
        ring_bytes: 1 << 16,
    };
    match Probes::attach(&plan) {
        Ok(_) => {
            let detail = "syscall: loads and attaches".to_owned();
            Finding {
                topic,
                state: State::Ok,
                detail,
                advice: "",
            }
        }
        Err(error) => Finding {
            topic,
            state: State::Missing,
            detail: error.to_string(),
            advice: "",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do_below_what_is_wrong() {
        let findings = [
            Finding {
                topic: "kernel",
                state: State::Ok,
                detail: "Linux 6.1".into(),
                advice: "",
            },
            Finding {
                topic: "hooks",
                state: State::Missing,
                detail: "refused".into(),
                advice: "ask",
            },
        ];
        assert_eq!(
            table(&findings, false),
            "ok        kernel  Linux 6.1\nMISSING   hooks   refused\n                  -> ask\n\n\
             tracing does not work here: see MISSING above\n"
        );
    }
}
