//! What the agent counts of itself, as metrics. In: the counters of its stages, the reports of its exporters, and what the kernel knows of its
//! process. Every loss is in one of them, by cause.

use std::time::Duration;

use super::{Family, Kind, Unit, Value, family::text, process::Usage};
use crate::{
    capture::input::Shed,
    export::{DropCause, Report},
    guard,
    live::Tally,
};

/// The counters of all stages: stage, what, how many.
pub type Counters = [(&'static str, &'static str, u64)];

/// Counters of `protocols` that tell of something that was not understood.
const PARSE_FAILURES: [&str; 5] = [
    "requests_unparsable",
    "requests_unpairable",
    "responses_unparsable",
    "responses_unpairable",
    "connections_unpairable",
];
/// Counters of `correlate` that tell what links were found by are named so.
const LINKED_BY: &str = "linked_";
/// Spans that begin a trace.
const ROOTS: &str = "roots";

/// What went over the way, and how late it was taken.
pub fn of_way(tally: &Tally, lag: Duration) -> Vec<Family> {
    let counter =
        |name, help, count| Family::new(name, Kind::Counter, Unit::None, help).with([], Value::Whole(count));
    vec![
        counter(
            "tracer.agent.records",
            "Records of the kernel side that were taken.",
            tally.records,
        ),
        counter(
            "tracer.agent.spans",
            "Spans that were made and handed to the exporters.",
            tally.spans,
        ),
        Family::new(
            "tracer.agent.capture.lag",
            Kind::Gauge,
            Unit::Seconds,
            "The longest that a record waited to be taken, since this was told before.",
        )
        .with([], Value::Real(lag.as_secs_f64())),
    ]
}

/// What the guard has the agent leave out, and what that took; and how often the core panicked.
pub fn of_guard(shed: Shed, guard: guard::Tally, panics: u64) -> Vec<Family> {
    let of = |family: Family, cpu: u64, memory: u64| {
        family
            .with([("limit", text("cpu"))], Value::Whole(cpu))
            .with([("limit", text("memory"))], Value::Whole(memory))
    };
    let step = Family::new(
        "tracer.agent.shed.step",
        Kind::Gauge,
        Unit::None,
        "How much is left out to keep within a limit, 0 for nothing; docs/protection.md has the steps.",
    );
    let changes = Family::new(
        "tracer.agent.shed.changes",
        Kind::Counter,
        Unit::None,
        "Steps that were entered or left.",
    );
    let waited = Duration::from_millis(guard.waited_ms).as_secs_f64();
    vec![
        of(step, shed.cpu.into(), shed.memory.into()),
        of(changes, guard.cpu_changes, guard.memory_changes),
        Family::new(
            "tracer.agent.shed.waited",
            Kind::Counter,
            Unit::Seconds,
            "How long the agent has waited to keep within its limit of processor time.",
        )
        .with([], Value::Real(waited)),
        Family::new(
            "tracer.agent.begun_anew",
            Kind::Counter,
            Unit::None,
            "How often the core has dropped what it held, by cause.",
        )
        .with([("cause", text("memory"))], Value::Whole(guard.begun_anew))
        .with([("cause", text("panic"))], Value::Whole(panics)),
    ]
}

/// The counters of all stages: losses in the kernel, links and parse failures under names of their own, the rest as events.
pub fn of_stages(counters: &Counters) -> Vec<Family> {
    let family = |name, help| Family::new(name, Kind::Counter, Unit::None, help);
    let mut losses = family(
        "tracer.agent.kernel.lost",
        "Events that the kernel side could not deliver, by cause.",
    );
    let mut links = family(
        "tracer.agent.links",
        "Spans by what their parent was found by; none: the root of a trace.",
    );
    let mut failures = family(
        "tracer.agent.parse_failures",
        "Messages that were not understood, by cause.",
    );
    let mut events = family(
        "tracer.agent.events",
        "What the stages of the agent have seen besides, by stage; docs/metrics.md says which are losses.",
    );
    for (stage, what, count) in counters {
        let count = Value::Whole(*count);
        let evidence = what.strip_prefix(LINKED_BY);
        let one = |label, value: &'static str| [(label, text(value))];
        match (*stage, evidence) {
            ("kernel", _) => losses = losses.with(one("cause", what), count),
            ("correlate", Some(evidence)) => {
                // As the attribute of a span has it.
                let evidence = text(evidence.replace('_', "-"));
                links = links.with([("evidence", evidence)], count);
            }
            ("correlate", None) if *what == ROOTS => links = links.with(one("evidence", "none"), count),
            ("protocols", _) if PARSE_FAILURES.contains(what) => {
                failures = failures.with(one("cause", what), count);
            }
            ("capture", _) => failures = failures.with(one("cause", what), count),
            _ => events = events.with([("stage", text(*stage)), ("event", text(*what))], count),
        }
    }
    vec![losses, links, failures, events]
}

/// What became of the spans, an exporter each.
pub fn of_exporters(report: &Report) -> Vec<Family> {
    let family = |name, kind, help| Family::new(name, kind, Unit::None, help);
    let mut accepted = family(
        "tracer.agent.exporter.accepted_spans",
        Kind::Counter,
        "Spans handed to the exporter.",
    );
    let mut delivered = family(
        "tracer.agent.exporter.delivered_spans",
        Kind::Counter,
        "Spans that arrived.",
    );
    let mut dropped = family(
        "tracer.agent.exporter.dropped_spans",
        Kind::Counter,
        "Spans that did not arrive, by cause.",
    );
    let mut retries = family(
        "tracer.agent.exporter.retries",
        Kind::Counter,
        "Requests that were sent again.",
    );
    let mut pending = family(
        "tracer.agent.exporter.pending_spans",
        Kind::Gauge,
        "Spans in the queue of the exporter or under way.",
    );
    let mut resumed = family(
        "tracer.agent.exporter.resumed_spans",
        Kind::Counter,
        "Spans that an earlier run had left on disk.",
    );
    let mut on_disk = family(
        "tracer.agent.exporter.on_disk_spans",
        Kind::Gauge,
        "Spans that wait on disk.",
    );
    let mut disk_errors = family(
        "tracer.agent.exporter.disk_errors",
        Kind::Counter,
        "What the queue on disk could not do when it was asked.",
    );
    let mut took = family(
        "tracer.agent.exporter.endpoint.delivered_spans",
        Kind::Counter,
        "Spans that one of several endpoints took.",
    );
    let mut failed = family(
        "tracer.agent.exporter.endpoint.failures",
        Kind::Counter,
        "Requests that one of several endpoints failed.",
    );
    for exporter in &report.exporters {
        let name = || ("exporter", text(exporter.exporter.clone()));
        let settled = exporter.delivered + exporter.dropped_total();
        accepted = accepted.with([name()], Value::Whole(exporter.accepted));
        delivered = delivered.with([name()], Value::Whole(exporter.delivered));
        retries = retries.with([name()], Value::Whole(exporter.retries));
        let taken = exporter.accepted + exporter.resumed;
        pending = pending.with([name()], Value::Whole(taken.saturating_sub(settled)));
        resumed = resumed.with([name()], Value::Whole(exporter.resumed));
        on_disk = on_disk.with([name()], Value::Whole(exporter.kept));
        disk_errors = disk_errors.with([name()], Value::Whole(exporter.disk_errors));
        for cause in DropCause::ALL {
            let counted = exporter.dropped.iter().find(|(known, _)| *known == cause);
            let count = Value::Whole(counted.map_or(0, |(_, count)| *count));
            dropped = dropped.with([name(), ("cause", text(cause.name()))], count);
        }
        for endpoint in &exporter.endpoints {
            let labels = || [name(), ("endpoint", text(endpoint.endpoint.clone()))];
            took = took.with(labels(), Value::Whole(endpoint.delivered));
            failed = failed.with(labels(), Value::Whole(endpoint.failures));
        }
    }
    vec![
        accepted,
        delivered,
        dropped,
        retries,
        pending,
        resumed,
        on_disk,
        disk_errors,
        took,
        failed,
    ]
}

/// The process of the agent; what could not be read is absent.
pub fn of_process(usage: Usage, up: Duration) -> Vec<Family> {
    let mut families = vec![
        Family::new(
            "tracer.agent.build_info",
            Kind::Gauge,
            Unit::None,
            "Always 1; its label is the version of the agent.",
        )
        .with([("version", text(env!("CARGO_PKG_VERSION")))], Value::Whole(1)),
        Family::new(
            "tracer.agent.uptime",
            Kind::Gauge,
            Unit::Seconds,
            "How long the agent has run.",
        )
        .with([], Value::Real(up.as_secs_f64())),
    ];
    if let Some(cpu) = usage.cpu {
        families.push(
            Family::new(
                "tracer.agent.process.cpu",
                Kind::Counter,
                Unit::Seconds,
                "Processor time of the agent, user and system; that of its kernel side is with the traced programs.",
            )
            .with([], Value::Real(cpu.as_secs_f64())),
        );
    }
    if let Some(bytes) = usage.resident_bytes {
        families.push(
            Family::new(
                "tracer.agent.process.resident_memory",
                Kind::Gauge,
                Unit::Bytes,
                "Resident memory of the agent.",
            )
            .with([], Value::Whole(bytes)),
        );
    }
    families
}
