//! Who works in a thread: the goroutine or the coroutine, where a process has such.
//!
//! Go keeps its current goroutine (`runtime.g`) in a register (`arch`), and calls the kernel on the goroutine's own stack. So of the registers
//! that a process has left when it called the kernel, that one is the goroutine if the stack pointer lies within that goroutine's stack;
//! where C code called, it is not. Nothing is attached to the process for that.
//!
//! A thread may have another send for it. Clients that keep connections and have threads of their own to write them look whether one is still
//! there before they use it: the thread that wants to use it tries to read a byte where none is to come. That one may do so for a third, which
//! has woken it for that (`wakes`).

use aya_ebpf::{
    helpers::{bpf_get_current_task, generated},
    macros::map,
    maps::Array,
};
use tracer_common::layout::{GO_KINDS, Goroutines, mark, registers};

use super::{
    connection::{self, Connection},
    coroutines, java,
    select::Current,
    sock::Sock,
    tokio, wakes,
};
use crate::{
    arch::{self, saved},
    peek::{at, layout, member, settings, user},
};

/// Where each kind of Go keeps what is read of its goroutines. Kind 0 is none.
#[map]
static GOROUTINES: Array<Goroutines> = Array::with_max_entries(GO_KINDS as u32, 0);

/// So many bytes are read by who only looks.
pub const LOOK: u64 = 1;

/// A goroutine and the one that made it, by number; 0 where that is not known.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Task {
    /// `goid`
    pub id: u64,
    /// `parentGoid`; of what is no goroutine its coroutine, or what [`data_flags::BY_THREAD`] and [`data_flags::BY_TASK`] say.
    pub maker: u64,
}

impl Task {
    /// Not known.
    pub const NONE: Self = Self { id: 0, maker: 0 };

    /// Whether anything is.
    #[inline(always)]
    pub fn is_known(self) -> bool {
        self.id | self.maker != 0
    }

    /// Whether it is a goroutine or a virtual thread of which nobody knows who made it.
    #[inline(always)]
    pub fn is_alone(self) -> bool {
        self.id != 0 && self.maker == 0
    }
}

/// The goroutine or the virtual thread that makes the current call into the kernel, or the coroutine that does if it sends.
#[inline(always)]
pub fn calling(current: Current, is_sent: bool) -> Task {
    let task = if current.has_goroutines() {
        goroutine(current)
    } else if current.kind == mark::POOLS {
        virtual_thread(current)
    } else if is_sent {
        sending(current)
    } else {
        None
    };
    task.unwrap_or(Task::NONE)
}

#[inline(always)]
fn sending(current: Current) -> Option<Task> {
    if current.kind == mark::TASKS {
        return tokio::sending(current);
    }
    let maker = coroutines::running(current)?;
    Some(Task { id: 0, maker })
}

#[inline(always)]
fn virtual_thread(current: Current) -> Option<Task> {
    java::running(current).map(|id| Task { id, maker: 0 })
}

/// Who takes a connection now, for whoever sends on it; `is_over`: that is all that the current thread was woken for.
#[inline(always)]
pub fn taking(current: Current, is_over: bool) -> Task {
    if current.kind == mark::POOLS {
        if let Some(own) = virtual_thread(current) {
            return own;
        }
        let woken = wakes::known(current.tid, is_over);
        if woken.is_known() {
            return woken;
        }
    }
    Task {
        id: 0,
        maker: current.tid as u64,
    }
}

#[inline(always)]
fn goroutine(current: Current) -> Option<Task> {
    let registers = registers()?;
    running(
        current,
        at(registers.wrapping_add(saved::GOROUTINE))?,
        at(registers.wrapping_add(saved::STACK))?,
    )
}

/// The goroutine at `address`, if it runs on the stack that `stack` points into.
#[inline(always)]
pub fn running(current: Current, address: u64, stack: u64) -> Option<Task> {
    let kind = GOROUTINES.get_ptr(mark::goroutines(current.kind) as u32)?;
    let offsets = unsafe { *kind };
    let [low, high]: [u64; 2] = user(address)?;
    if offsets.id == 0 || stack < low || stack > high {
        return None;
    }
    Some(Task {
        id: user(address.wrapping_add(offsets.id as u64))?,
        maker: if offsets.maker == 0 {
            0
        } else {
            user(address.wrapping_add(offsets.maker as u64))?
        },
    })
}

/// For whom the current thread is about to write at `seq`, if for another. Asked at the entry of the write: at its return the response may
/// have come, and the connection been handed the next request.
#[inline(always)]
pub fn caller(connection: &Connection, seq: u32, current: Current) -> Task {
    if current.kind == mark::TASKS {
        return tokio::sending(current).unwrap_or(Task::NONE);
    }
    let is_meant = connection.caller_seq == seq as u64 || connection.is_of_caller();
    let caller = if is_meant { connection.caller } else { Task::NONE };
    if current.has_goroutines() {
        return caller;
    }
    let has_pools = current.kind == mark::POOLS;
    let own = if has_pools { virtual_thread(current) } else { None };
    let woken = if has_pools && own.is_none() {
        wakes::known(current.tid, true)
    } else {
        Task::NONE
    };
    let is_itself = match own {
        Some(own) => caller.is_alone() && caller.id == own.id,
        None => caller.maker == current.tid as u64,
    };
    if is_itself {
        Task::NONE
    } else if caller.is_known() {
        caller
    } else {
        woken
    }
}

/// The current thread has tried to read [`LOOK`] of the sock, and nothing has come.
#[inline(always)]
pub fn looked(sock: Sock, current: Current) -> Option<()> {
    // Goroutines and coroutines are known by themselves.
    if !mark::has_threads_only(current.kind) || sock.unix {
        return None;
    }
    let connection = unsafe { &mut *connection::known(sock)? };
    let seq = sock.write_seq() as u64;
    // Who has a response looks first, and goes on with it; then who wants to send the next request.
    let is_first = connection.caller_seq != seq;
    connection.caller = taking(current, !is_first);
    connection.caller_seq = seq;
    Some(())
}

/// Where the registers are that the process had when it called the kernel.
#[inline(always)]
pub fn registers() -> Option<u64> {
    match settings().registers {
        registers::BY_HELPER => {
            let place = unsafe { generated::bpf_task_pt_regs(generated::bpf_get_current_task_btf()) };
            Some(place as u64)
        }
        registers::ON_STACK => {
            let stack: u64 = member(unsafe { bpf_get_current_task() }, layout().task_stack)?;
            Some(stack.wrapping_add(arch::STACK_SIZE - saved::SIZE))
        }
        _ => None,
    }
}
