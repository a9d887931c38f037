//! Which processes are traced. Decided before anything is copied; children inherit.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, generated::bpf_get_current_comm},
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::{
    Loss,
    layout::process::{EXCLUDED, SELECTED},
    record::{ProcessRecord, kind},
};

use super::emit;
use crate::peek::settings;

/// Process id to [`tracer_common::layout::process`].
#[map]
static PROCESSES: HashMap<u32, u8> = HashMap::with_max_entries(16384, 0);

/// One bit a TCP port: processes that listen on it are selected.
#[map]
static PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// The thread that runs now.
#[derive(Clone, Copy)]
pub struct Current {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
}

impl Current {
    /// The thread that runs now.
    #[inline(always)]
    pub fn get() -> Self {
        let both = bpf_get_current_pid_tgid();
        Self {
            tgid: (both >> 32) as u32,
            tid: both as u32,
        }
    }

    /// Both ids in one key.
    #[inline(always)]
    pub fn key(self) -> u64 {
        (self.tgid as u64) << 32 | self.tid as u64
    }
}

/// Whether a process is traced.
#[inline(always)]
pub fn selected(tgid: u32) -> bool {
    let settings = settings();
    if tgid == settings.agent_tgid {
        return false;
    }
    match mark(tgid) {
        Some(mark) => mark == SELECTED,
        None => settings.select_all != 0,
    }
}

/// The thread that runs now, if its process is traced.
#[inline(always)]
pub fn traced() -> Option<Current> {
    let current = Current::get();
    selected(current.tgid).then_some(current)
}

/// Whether a process is the agent.
#[inline(always)]
pub fn is_agent(tgid: u32) -> bool {
    tgid == settings().agent_tgid
}

#[inline(always)]
fn mark(tgid: u32) -> Option<u8> {
    PROCESSES.get_ptr(tgid).map(|mark| unsafe { *mark })
}

/// A process made another: the child is marked like its parent.
#[inline(always)]
pub fn forked(parent: u32, child: u32) {
    let Some(mark) = mark(parent) else { return };
    if PROCESSES.insert(child, mark, 0).is_err() {
        emit::lost(Loss::ProcessesFull);
    } else if mark == SELECTED {
        report(tracer_common::record::process_event::FORK, child, parent);
    }
}

/// The current process runs a new program.
#[inline(always)]
pub fn executed(tgid: u32) {
    if mark(tgid) == Some(SELECTED) {
        report(tracer_common::record::process_event::EXEC, tgid, 0);
    }
}

/// The last thread of the current process ended.
#[inline(always)]
pub fn exited(tgid: u32) {
    let known = mark(tgid);
    if known.is_some() {
        let _ = PROCESSES.remove(tgid);
    }
    if known == Some(SELECTED) {
        report(tracer_common::record::process_event::EXIT, tgid, 0);
    }
}

/// The current process was seen on the network: with everything selected, its life is followed from here on.
#[inline(always)]
pub fn seen(tgid: u32) {
    if settings().select_all != 0 && mark(tgid).is_none() && PROCESSES.insert(tgid, SELECTED, 0).is_err() {
        emit::lost(Loss::ProcessesFull);
    }
}

/// The current process listens on a port: it is selected if the port is.
#[inline(always)]
pub fn listens(tgid: u32, port: u16) {
    let Some(bits) = PORTS.get(port as u32 >> 6) else {
        return;
    };
    if bits & (1 << (port & 63)) == 0 || mark(tgid) == Some(EXCLUDED) || is_agent(tgid) {
        return;
    }
    if PROCESSES.insert(tgid, SELECTED, 0).is_err() {
        emit::lost(Loss::ProcessesFull);
    } else {
        report(tracer_common::record::process_event::SELECTED, tgid, 0);
    }
}

#[inline(always)]
fn report(event: u32, tgid: u32, parent: u32) {
    let mut record = ProcessRecord {
        kind: kind::PROCESS,
        size: size_of::<ProcessRecord>() as u32,
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        event,
        tgid,
        parent,
        reserved: 0,
        comm: [0; 16],
    };
    current_name(&mut record.comm);
    emit::fixed(&record);
}

/// Name of the current process; left as it is if the kernel does not say.
#[inline(always)]
pub fn current_name(name: &mut [u8; 16]) {
    unsafe { bpf_get_current_comm(name.as_mut_ptr().cast(), 16) };
}
