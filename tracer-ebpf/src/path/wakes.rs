//! Who has woken threads that had nothing to do. The threads of a pool wait for work, for a minute or so, and who has work for one wakes it; or makes
//! it, where there is none. Who waits for a lock, or for an answer, waits without limit, or looks again after a moment: who wakes that hands it nothing.
//!
//! ```text
//!          woken or made ──▶ noted ┬─ wakes or makes another ──▶ who has woken this one has woken that one
//!                                  ├─ sends, connects, takes a connection ──▶ that is for who has woken it; forgotten
//!                                  └─ reads: what it works on it has read itself ──▶ forgotten
//! ```

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns, generated::bpf_ktime_get_ns},
    macros::map,
    maps::Array,
};

use super::{
    select::Current,
    task::{self, Task},
};
use crate::{
    arch::{self, number, saved},
    peek::{at, layout, member, user},
};

/// `FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG`: until some time of `CLOCK_MONOTONIC`.
const WAIT_UNTIL: u32 = 9 | 128;

/// Who waits for a lock of Java may do so for a second at a time, to look whether it is free.
const WORK_IS_WAITED_FOR: u64 = 2_000_000_000;

/// Those with equal last digits are in one set: what is noted of one takes the place of what was noted longest ago there.
const SETS: u32 = 512;
const IN_SET: usize = 4;

/// A thread that was woken.
#[repr(C)]
#[derive(Clone, Copy)]
struct Woken {
    /// Its number in the low half, and of who has woken it in the high one: written at once.
    threads: u64,
    /// When.
    at_ns: u64,
    /// For whom it has sent last, where that is told.
    served: u32,
    reserved: u32,
}

#[map]
static WOKEN: Array<[Woken; IN_SET]> = Array::with_max_entries(SETS, 0);

#[inline(always)]
fn set(thread: u32) -> Option<&'static mut [Woken; IN_SET]> {
    let set = WOKEN.get_ptr_mut(thread % SETS)?;
    Some(unsafe { &mut *set })
}

/// What is noted of a thread.
#[inline(always)]
fn place(thread: u32) -> Option<&'static mut Woken> {
    set(thread)?
        .iter_mut()
        .find(|woken| woken.threads as u32 == thread)
}

/// The same, or what of its set was noted longest ago.
#[inline(always)]
fn room(thread: u32) -> Option<&'static mut Woken> {
    let set = set(thread)?;
    let mut found = 0;
    let mut oldest = u64::MAX;
    for (number, woken) in set.iter().enumerate() {
        if woken.threads as u32 == thread {
            found = number;
            break;
        }
        if woken.at_ns < oldest {
            oldest = woken.at_ns;
            found = number;
        }
    }
    set.get_mut(found)
}

/// The current thread wakes another of its process, which is a `struct task_struct *`.
#[inline(always)]
pub fn wakes(current: Current, task: u64) -> Option<()> {
    let registers = task::registers()?;
    if arch::number_of(registers)? != number::FUTEX {
        return None;
    }
    // As a number, with which the verifier lets us calculate.
    let registers: u64 = at((&raw const registers) as u64)?;
    // They are in the same place of every thread's stack.
    let stack: u64 = member(unsafe { bpf_get_current_task() }, layout().task_stack)?;
    let others: u64 = member(task, layout().task_stack)?;
    let registers = others.wrapping_add(registers.wrapping_sub(stack));
    if arch::number_of(registers)? != number::FUTEX {
        return None;
    }
    let command: u64 = at(registers.wrapping_add(saved::SECOND))?;
    let timeout: u64 = at(registers.wrapping_add(saved::FOURTH))?;
    if command as u32 != WAIT_UNTIL || timeout == 0 {
        return None;
    }
    // Both have the same memory.
    let [seconds, nanos]: [u64; 2] = user(timeout)?;
    let until = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
    let is_for_work = until > unsafe { bpf_ktime_get_ns() } + WORK_IS_WAITED_FOR;
    if is_for_work { noted(current, task) } else { None }
}

/// The current thread has work for another, which it has made or woken; or passes on what it was woken for itself.
#[inline(always)]
pub fn noted(current: Current, task: u64) -> Option<()> {
    let thread: u32 = member(task, layout().task_pid)?;
    let own = known(current.tid, false);
    if own.is_known() {
        let waker = (own.maker >> 32) as u32;
        note_at(thread, waker, own.id)
    } else {
        note(thread, current.tid)
    }
}

/// A thread, or what else has a number here, was woken by another now.
#[inline(always)]
pub fn note(thread: u32, waker: u32) -> Option<()> {
    note_at(thread, waker, unsafe { bpf_ktime_get_boot_ns() })
}

#[inline(always)]
fn note_at(thread: u32, waker: u32, at_ns: u64) -> Option<()> {
    let woken = room(thread)?;
    let before = unsafe { (&raw const woken.threads).read_volatile() };
    if before as u32 != thread {
        woken.served = 0;
    } else if waker != 0 && waker == woken.served && is_another(before, waker) {
        // It is done with what it was served, and another waits already.
        return None;
    }
    woken.at_ns = at_ns;
    let threads = (waker as u64) << 32 | thread as u64;
    unsafe { (&raw mut woken.threads).write_volatile(threads) };
    Some(())
}

/// Whether who has woken it before is known, and not this one.
#[inline(always)]
fn is_another(before: u64, waker: u32) -> bool {
    let before = (before >> 32) as u32;
    before != 0 && before != waker
}

/// The current thread, and who has woken it and when, if that was for what it does now; `is_over`: and for nothing else.
#[inline(always)]
pub fn known(thread: u32, is_over: bool) -> Task {
    let Some(woken) = place(thread) else {
        return Task::NONE;
    };
    let threads = unsafe { (&raw const woken.threads).read_volatile() };
    if threads as u32 != thread {
        return Task::NONE;
    }
    let at = woken.at_ns;
    if is_over {
        woken.threads = 0;
        woken.at_ns = 0;
    }
    Task {
        id: at,
        maker: threads,
    }
}

/// The same of what else has a number here, which sends for who has woken it.
#[inline(always)]
pub fn served(thread: u32) -> Task {
    let last = known(thread, false);
    if last.is_known()
        && let Some(woken) = place(thread)
    {
        woken.served = (last.maker >> 32) as u32;
    }
    last
}

/// A thread does something else.
#[inline(always)]
pub fn forget(thread: u32) {
    known(thread, true);
}
