//! Coroutines of CPython. Each runs in a `contextvars.Context` of its own, which the `PyThreadState` names of the thread that runs it.
//!
//! A thread finds its `PyThreadState` by a key for memory of its own, and so does this: sockets are written without the lock that says which
//! thread runs. A context is told by its address, which another may have when it is gone, changed by a number that nobody else knows.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns},
    macros::map,
    maps::Array,
};
use tracer_common::{
    layout::{COROUTINE_KINDS, CoroutineKind, mark},
    record::{self, CoroutineRecord},
};

use super::{emit, select::Current};
use crate::peek::{layout, member, user};

/// Where each kind of CPython keeps what is read of its coroutines.
#[map]
static COROUTINES: Array<CoroutineKind> = Array::with_max_entries(COROUTINE_KINDS as u32, 0);

/// The one that the current thread runs.
#[inline(always)]
pub fn running(current: Current) -> Option<u64> {
    let kind = kind_of(current)?;
    Some(context(kind)? ^ kind.mask)
}

#[inline(always)]
fn kind_of(current: Current) -> Option<&'static CoroutineKind> {
    let kind = COROUTINES.get_ptr(mark::coroutines(current.kind)? as u32)?;
    Some(unsafe { &*kind })
}

/// The context that the current thread runs in.
#[inline(always)]
fn context(kind: &CoroutineKind) -> Option<u64> {
    let place = kind.places;
    if place.context == 0 {
        return None;
    }
    let own: u64 = member(unsafe { bpf_get_current_task() }, layout().task_fsbase)?;
    let values: u64 = user(own.wrapping_add(place.values as u64))?;
    let state: u64 = user(values.wrapping_add(place.state as u64))?;
    // A thread that CPython knows nothing of.
    if state == 0 {
        return None;
    }
    user(state.wrapping_add(place.context as u64)).filter(|context| *context != 0)
}

/// The one that the current thread runs has made another, which runs in this context.
#[inline(always)]
pub fn made(current: Current, made: u64) -> Option<()> {
    let kind = kind_of(current)?;
    let maker = context(kind)?;
    if made != 0 {
        told(current, (made ^ kind.mask, maker ^ kind.mask));
    }
    Some(())
}

/// A coroutine was made by another, in the current thread.
#[inline(always)]
pub fn told(current: Current, (coroutine, maker): (u64, u64)) {
    emit::fixed(&CoroutineRecord {
        kind: record::kind::COROUTINE,
        size: size_of::<CoroutineRecord>() as u32,
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        coroutine,
        maker,
        tgid: current.tgid,
        tid: current.tid,
    });
}
