//! Threads that wake others of their process, for `path/wakes.rs`.
//!
//! Hook: raw tracepoint `sched_waking(struct task_struct *p)`, in the thread that wakes, or in an interrupt of whatever thread: what was waited for by
//! `futex` is woken by one that calls it. It sees every thread of the host that is woken, so it is there only while a process with pools is traced.
//! Produces: who has work for which thread.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_common::layout::mark;

use crate::{
    path::{
        select::{self, Current},
        wakes,
    },
    peek::{layout, member},
};

#[raw_tracepoint(tracepoint = "sched_waking")]
fn tracer_waking(ctx: RawTracePointContext) -> i32 {
    let _ = waking(ctx.arg(0));
    0
}

#[inline(always)]
fn waking(task: u64) -> Option<()> {
    let process: u32 = member(task, layout().task_tgid)?;
    if process != Current::get().tgid {
        return None;
    }
    let current = select::followed()?;
    if current.kind != mark::POOLS {
        return None;
    }
    wakes::wakes(current, task)
}
