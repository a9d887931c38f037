//! A tail call that leads nowhere, at the end of what runs at breakpoints.

use aya_ebpf::{macros::map, maps::ProgramArray};

/// Empty. Newer kernels give a program a stack for each processor instead of each run, and unlike others those at breakpoints may be
/// preempted by another run of themselves: one goroutine's request was then noted as another's. A program that may make a
/// tail call gets none.
#[map]
pub static NOWHERE: ProgramArray = ProgramArray::with_max_entries(1, 0);
