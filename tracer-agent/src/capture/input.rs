//! Everything the core is ever told: what the live agent pushes and what a recording holds are the same.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{BootNanos, Pid};

/// One thing the core is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Where and when: the first input of every run. If it comes again the core begins anew, and knows nothing any more but which
    /// connections there are, and what it has counted.
    Host(HostInfo),
    /// One record of the kernel side, still encoded.
    Record(&'a [u8]),
    /// What is known of a process; comes before the first record that needs it, and again after an exec.
    Process(Box<ProcessInfo>),
    /// How many events were lost since the last such input, by [`tracer_common::Loss`] (its counter index).
    Lost {
        /// Index of the cause.
        cause: u32,
        /// Number of events since the last such input.
        count: u64,
    },
    /// From here on so much detail is left out.
    Shed(Shed),
    /// The time went on; all deadlines up to it are due.
    Tick(BootNanos),
    /// No more records will come: everything that is held is flushed.
    End(BootNanos),
}

/// How much detail is left out for want of processor time and of memory: steps of `guard::steps`, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// For processor time.
    pub cpu: u8,
    /// For memory.
    pub memory: u8,
}

/// What is true of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostInfo {
    /// Unix time minus boot time, in nanoseconds, when the run began.
    pub unix_minus_boot_ns: i64,
    /// `host.name`
    pub host_name: String,
    /// `host.id` (machine-id), if there is one.
    pub host_id: Option<String>,
    /// `host.arch` in the words of the semantic conventions (`amd64`, `arm64`).
    pub host_arch: String,
    /// `os.type`, e.g. `linux`
    pub os_type: String,
    /// Kernel release, `os.version`.
    pub os_version: String,
    /// Seed of trace and span ids, so that a recording replays to the same ids.
    pub id_seed: [u64; 2],
}

/// What is known of one process: the raw facts, from which `spans` makes the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInfo {
    /// The process, in the initial pid namespace.
    pub pid: u32,
    /// `task_struct.comm`
    pub comm: String,
    /// Path of the executable as the process sees it.
    pub exe: Option<String>,
    /// It is written in Go: its requests are worked on by goroutines, which no thread keeps.
    pub has_goroutines: bool,
    /// The service it is, by the list in linking.md: `service.name` and friends, ready for export.
    pub service_name: String,
    /// Attributes of the resource besides `service.name` (process, container, `OTEL_RESOURCE_ATTRIBUTES` of the
    /// process), in the order in which they are exported. Never holds the command line's arguments.
    pub resource: Vec<(String, AttributeValue)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// true or false
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Double(f64),
    /// Text; most of what spans say is short.
    Text(CompactString),
    /// A list of texts; no longer than a text, or each value would take more.
    List(Box<[String]>),
}

const _: () = assert!(size_of::<AttributeValue>() == size_of::<CompactString>());

// Doubles in attributes come from configuration or arithmetic, never NaN.
impl Eq for AttributeValue {}

impl ProcessInfo {
    /// The process.
    pub fn pid(&self) -> Pid {
        Pid(self.pid)
    }
}
