//! Tasks of tokio. Each has a number of its own, and the thread that polls one keeps that in its own memory, which a program that was linked as a whole has
//! at the same distance in every thread.
//!
//! A task that sends does so for another that has woken it, or made it, to hand it something: the tasks that write to connections are woken by
//! those that have requests. What waits for files and times runs tasks too, under a number that no task has: it was never made or woken,
//! and what it wakes has nothing handed to it.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, helpers::bpf_get_current_task, macros::map, maps::HashMap};
use tracer_common::layout::tokio;

use super::{coroutines, select::Current, task::Task, wakes};
use crate::peek::{layout, member, user};

/// Processes of which that distance is known.
const PROCESSES: u32 = 256;
/// Process to the distance from the thread's own memory, of which it is in front.
#[map]
static TOKIO: HashMap<u32, u32> = HashMap::with_max_entries(PROCESSES, BPF_F_NO_PREALLOC);

/// What was done to a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    Made,
    Woken,
}

/// The task that the current thread polls, which sends, and who has handed it something and when, if that is known.
#[inline(always)]
pub fn sending(current: Current) -> Option<Task> {
    let own = tracer_task(current.tgid);
    if own == 0 {
        return None;
    }
    let last = wakes::served(key(current, own));
    Some(Task {
        id: last.id,
        maker: last.maker >> 32 << 32 | own as u64,
    })
}

/// The last digits of the number of the task that the current thread polls; 0 if it polls none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_task(tgid: u32) -> u32 {
    number(tgid).unwrap_or(0) as u32
}

#[inline(always)]
fn number(tgid: u32) -> Option<u64> {
    let distance = unsafe { TOKIO.get(tgid) }.copied()?;
    let own: u64 = member(unsafe { bpf_get_current_task() }, layout().task_fsbase)?;
    user(own.wrapping_sub(distance as u64))
}

/// What it has among threads that were woken: two of different processes hardly ever have the same.
#[inline(always)]
fn key(current: Current, number: u32) -> u32 {
    number ^ current.tgid.wrapping_mul(0x9e37_79b1)
}

/// A task, which has its header there, was made or is woken by the one that the current thread polls, or by what is no task.
#[inline(always)]
pub fn handed(current: Current, header: u64, how: Handed) -> Option<()> {
    let other = user::<u64>(header.wrapping_add(tokio::ID))? as u32;
    let own = tracer_task(current.tgid);
    if other == own || other == 0 {
        return None;
    }
    let is_task = how == Handed::Made || wakes::known(key(current, own), false).is_known();
    wakes::note(key(current, other), if is_task { own } else { 0 })?;
    if how == Handed::Made && own != 0 {
        coroutines::told(current, (other as u64, own as u64));
    }
    Some(())
}
