//! Who has woken threads that had nothing to do. The threads of a pool wait for work, for a limited time, and who has work for one wakes it; or makes
//! it, where there is none. Who waits for a lock, or for an answer, waits without limit: who wakes that hands it nothing.
//!
//! ```text
//!          woken or made ──▶ noted ── sends, connects, looks at a connection ──▶ that is for who has woken it; forgotten
//!                              └───── reads: what it works on it has read itself ──▶ forgotten
//! ```

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns},
    macros::map,
    maps::Array,
};

use super::{
    select::Current,
    task::{self, Task},
};
use crate::{
    arch::{self, number, saved},
    peek::{at, layout, member},
};

/// Commands of `futex`, and what else stands in its second argument.
const FUTEX_WAIT: u32 = 0;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_COMMAND: u32 = 127;

/// Threads are told apart by so many numbers.
const NUMBERS: u32 = 2048;

/// A thread that was woken.
#[repr(C)]
#[derive(Clone, Copy)]
struct Woken {
    /// Its number in the low half, and of who has woken it in the high one: written at once.
    threads: u64,
    /// When.
    at_ns: u64,
}

/// By the last digits of the thread's number: the later of two takes the place.
#[map]
static WOKEN: Array<Woken> = Array::with_max_entries(NUMBERS, 0);

#[inline(always)]
fn place(thread: u32) -> Option<&'static mut Woken> {
    WOKEN
        .get_ptr_mut(thread % NUMBERS)
        .map(|woken| unsafe { &mut *woken })
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
    let waits = matches!(command as u32 & FUTEX_COMMAND, FUTEX_WAIT | FUTEX_WAIT_BITSET);
    if !waits || timeout == 0 {
        return None;
    }
    noted(current, task)
}

/// The current thread has work for another, which it has made or woken.
#[inline(always)]
pub fn noted(current: Current, task: u64) -> Option<()> {
    let thread: u32 = member(task, layout().task_pid)?;
    let woken = place(thread)?;
    woken.at_ns = unsafe { bpf_ktime_get_boot_ns() };
    let threads = (current.tid as u64) << 32 | thread as u64;
    unsafe { (&raw mut woken.threads).write_volatile(threads) };
    Some(())
}

/// Who has woken a thread and when, if that was for what it does now.
#[inline(always)]
pub fn taken(thread: u32) -> Option<Task> {
    let woken = place(thread)?;
    let threads = unsafe { (&raw const woken.threads).read_volatile() };
    if threads as u32 != thread {
        return None;
    }
    let task = Task {
        id: woken.at_ns,
        maker: threads >> 32,
    };
    woken.threads = 0;
    Some(task)
}

/// A thread does something else.
#[inline(always)]
pub fn forget(thread: u32) {
    let _ = taken(thread);
}
