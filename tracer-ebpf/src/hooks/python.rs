//! CPython: which coroutine made which.
//!
//! Hook: a uretprobe at `PyObject *PyContext_CopyCurrent(void)`, which gives the one that a new task runs in, from the one of whoever makes the task.
//! It is written in C: a return address may be changed there. Produces: a record of both. What copies a context for a callback comes here
//! too.

use aya_ebpf::{macros::uretprobe, programs::RetProbeContext};

use super::nowhere::NOWHERE;
use crate::path::{coroutines, select};

#[uretprobe]
fn tracer_python_copied(ctx: RetProbeContext) -> u32 {
    if let Some(current) = select::followed() {
        let _ = coroutines::made(current, ctx.ret());
    }
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}
