//! `check`: what this host supports, what will work, and what to do about the rest.

use std::{fs, process};

use serde::Serialize;

use super::{
    Exit,
    attach::{families, in_initial_pid_namespace},
};
use crate::{
    config::values::Hooks,
    kernel::{KernelError, Plan, Probes, Refusal, Selection, capability, layout},
};

const HOOKS: &str = "hooks";

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

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let detail = format!("Linux {} on {}", release.trim(), std::env::consts::ARCH);
    match std::env::consts::ARCH {
        "x86_64" => Finding {
            topic: "kernel",
            state: State::Ok,
            detail,
            advice: "",
            verifier: None,
        },
        _ => Finding {
            topic: "kernel",
            state: State::Missing,
            detail,
            advice: "this version traces x86_64 only",
            verifier: None,
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
        verifier: None,
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
            verifier: None,
        };
    }
    Finding {
        topic: "capabilities",
        state: State::Missing,
        detail: format!("without {}", missing.join(", ")),
        advice: "run as root, or: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep PATH/TO/tracer-agent",
        verifier: None,
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
            verifier: None,
        },
        Err(error) => Finding {
            topic,
            state: State::Degraded,
            detail: format!("programs of other users are named by their command only ({error})"),
            advice: "run as root, or add cap_sys_ptrace",
            verifier: None,
        },
    }
}

fn type_information() -> Finding {
    let topic = "type information";
    match layout::of_running_kernel() {
        Ok(resolved) if resolved.missing().next().is_none() => Finding {
            topic,
            state: State::Ok,
            detail: format!("BTF in {}", layout::VMLINUX),
            advice: "",
            verifier: None,
        },
        Ok(resolved) => Finding {
            topic,
            state: State::Degraded,
            detail: format!(
                "this kernel has no {}",
                resolved.missing().collect::<Vec<_>>().join(", ")
            ),
            advice: "what depends on it is left out",
            verifier: None,
        },
        Err(error) => Finding {
            topic,
            state: State::Missing,
            detail: error.to_string(),
            advice: "",
            verifier: None,
        },
    }
}

/// The proof: the probes are attached for a moment, with nothing selected. Says of each hook family what became of it.
fn hooks() -> Vec<Finding> {
    let plan = Plan {
        selection: Selection::default(),
        families: families(Hooks::Auto),
        joins: false,
        agent_pid: process::id(),
        ring_bytes: 1 << 16,
    };
    match Probes::attach(&plan) {
        Ok(probes) => {
            let blind = probes.family.blind_spots();
            let taken = Finding {
                topic: HOOKS,
                state: if blind.is_empty() {
                    State::Ok
                } else {
                    State::Degraded
                },
                detail: format!("{} loads and attaches", probes.family),
                advice: blind,
                verifier: None,
            };
            let refused = probes
                .refused
                .into_iter()
                .map(|refusal| refused(refusal, State::Unused));
            [taken].into_iter().chain(refused).collect()
        }
        Err(KernelError::NoFamily { refused: all }) => all
            .into_iter()
            .map(|refusal| refused(refusal, State::Missing))
            .collect(),
        Err(error) => vec![Finding {
            topic: HOOKS,
            state: State::Missing,
            detail: error.to_string(),
            advice: "",
            verifier: None,
        }],
    }
}

fn refused(refusal: Refusal, state: State) -> Finding {
    let Refusal { family, reason, log } = refusal;
    Finding {
        topic: HOOKS,
        state,
        detail: format!("{family}: {reason}"),
        advice: "",
        verifier: log,
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
                verifier: None,
            },
            Finding {
                topic: "hooks",
                state: State::Missing,
                detail: "refused".into(),
                advice: "ask",
                verifier: None,
            },
        ];
        assert_eq!(
            table(&findings, false),
            "ok        kernel  Linux 6.1\nMISSING   hooks   refused\n                  -> ask\n\n\
             tracing does not work here: see MISSING above\n"
        );
    }
}
