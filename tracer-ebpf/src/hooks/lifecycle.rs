//! Lives of connections and processes, for every hook family: by raw tracepoints, or by breakpoints for the family `kprobe`.
//!
//! Hooks: raw tracepoints
//! `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`,
//! `sched_process_fork(struct task_struct *parent, struct task_struct *child)`,
//! `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`,
//! `sched_process_exit(struct task_struct *p)`,
//! `cgroup_attach_task(struct cgroup *to, const char *path, struct task_struct *task, bool threadgroup)`.
//! From 7.0 on the kernel preempts the programs of raw tracepoints, and skips one on a CPU that is in the middle of the same one:
//! 20 to 52 times for 192 connections, beside two busy processes. It does not preempt breakpoints. They are at the functions where the tracepoints are or next
//! to them: `inet_sk_set_state` and `inet_sk_state_store`, which hold the only two `inet_sock_set_state`, `wake_up_new_task`,
//! `finalize_exec`, `exit_files`. Control groups take one task at a time, under a lock.
//! Produces: open, close and process records, and the process set.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::{kprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext},
};
use tracer_common::layout::mark;

use crate::{
    path::{
        call,
        connection::{self, TCP_CLOSE},
        select::{self, Current, Names},
        sock::Sock,
        wakes,
    },
    peek::{layout, member, member_or_zero},
};

const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn tracer_set_state(ctx: RawTracePointContext) -> i32 {
    state_set(ctx.arg(0), ctx.arg(2));
    0
}

/// `inet_sk_set_state(struct sock *sk, int state)`, `inet_sk_state_store(struct sock *sk, int newstate)`.
#[kprobe]
fn tracer_kprobe_set_state(ctx: ProbeContext) -> u32 {
    if let (Some(sock), Some(state)) = (ctx.arg(0), ctx.arg(1)) {
        state_set(sock, state);
    }
    0
}

#[inline(always)]
fn state_set(sock: u64, state: u32) -> Option<()> {
    let state = state as u8;
    let sock = Sock::tcp(sock)?;
    match state {
        TCP_SYN_SENT => connection::connecting(sock, Current::get()),
        TCP_ESTABLISHED => connection::established(sock),
        TCP_LISTEN => select::listens(Current::get().tgid, sock.local_port()),
        TCP_FIN_WAIT1 | TCP_LAST_ACK | TCP_CLOSE => connection::closing(sock, state),
        _ => {}
    }
    Some(())
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn tracer_fork(ctx: RawTracePointContext) -> i32 {
    born(ctx.arg(1));
    0
}

/// `wake_up_new_task(struct task_struct *p)`, called by the parent.
#[kprobe]
fn tracer_kprobe_fork(ctx: ProbeContext) -> u32 {
    if let Some(child) = ctx.arg(0) {
        born(child);
    }
    0
}

#[inline(always)]
fn born(child: u64) {
    let parent = Current::get().tgid;
    let Some(tgid) = member::<u32>(child, layout().task_tgid) else {
        return;
    };
    if tgid != parent {
        select::forked(parent, tgid);
    } else if let Some(current) = select::followed()
        && current.kind == mark::POOLS
    {
        wakes::noted(current, child);
    }
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn tracer_exec(ctx: RawTracePointContext) -> i32 {
    executes(ctx.arg(1), Names::Compared)
}

/// Without `bpf_loop`.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn tracer_exec_chain(ctx: RawTracePointContext) -> i32 {
    executes(ctx.arg(1), Names::Asked)
}

/// The current thread runs a program; `before` is the number that it had.
#[inline(always)]
fn executes(before: u64, names: Names) -> i32 {
    let current = Current::get();
    call::renumbered(current, before as u32);
    select::executed(current.tgid, names);
    0
}

/// `finalize_exec(struct linux_binprm *bprm)`: the process has the memory and the name of the new program.
#[kprobe]
fn tracer_kprobe_exec(_ctx: ProbeContext) -> u32 {
    select::executed(Current::get().tgid, Names::Compared);
    0
}

/// Without `bpf_loop`.
#[kprobe]
fn tracer_kprobe_exec_chain(_ctx: ProbeContext) -> u32 {
    select::executed(Current::get().tgid, Names::Asked);
    0
}

#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
fn tracer_cgroup_attach(ctx: RawTracePointContext) -> i32 {
    if let Some(tgid) = member::<u32>(ctx.arg(2), layout().task_tgid) {
        select::moved(tgid);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn tracer_exit(ctx: RawTracePointContext) -> i32 {
    exits(ctx.arg(0));
    0
}

/// `exit_files(struct task_struct *tsk)`: of the thread that ends, or of one that was not born after all.
#[kprobe]
fn tracer_kprobe_exit(ctx: ProbeContext) -> u32 {
    if let Some(task) = ctx.arg::<u64>(0)
        && task == unsafe { bpf_get_current_task() }
    {
        exits(task);
    }
    0
}

#[inline(always)]
fn exits(task: u64) {
    let current = Current::get();
    call::forget(current);
    let signal: u64 = member_or_zero(task, layout().task_signal);
    // The kernel counts the thread out before it calls the hook.
    if member::<u32>(signal, layout().signal_live) == Some(0) {
        select::exited(current.tgid);
    }
}
