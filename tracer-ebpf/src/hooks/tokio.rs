//! Tokio: which task has work for which.
//!
//! Hooks: uprobes at the entries of `tokio::runtime::task::waker::wake_by_ref` and `wake_by_val`, both `unsafe fn(header: *const ())`, and of
//! `OwnedTasks<S>::bind_inner(&self, task: Task<S>, notified: Notified<S>)`, to which a new task comes, a pointer to its header too. Arguments
//! are in registers as in C: pointers are passed so by Rust as well. Produces: who has handed something to which task, and a record of both if it
//! has made it.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use tracer_common::layout::mark;

use super::nowhere::NOWHERE;
use crate::path::{
    select,
    tokio::{self, Handed},
};

#[uprobe]
fn tracer_tokio_wakes(ctx: ProbeContext) -> u32 {
    let _ = handed(ctx.arg(0), Handed::Woken);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[uprobe]
fn tracer_tokio_makes(ctx: ProbeContext) -> u32 {
    let _ = handed(ctx.arg(1), Handed::Made);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn handed(header: Option<u64>, how: Handed) -> Option<()> {
    let current = select::followed()?;
    if current.kind != mark::TASKS {
        return None;
    }
    tokio::handed(current, header?, how)
}
