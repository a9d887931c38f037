//! Lives of connections and processes, for every hook family.
//!
//! Hooks: raw tracepoints
//! `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`,
//! `sched_process_fork(struct task_struct *parent, struct task_struct *child)`,
//! `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`,
//! `sched_process_exit(struct task_struct *p)`,
//! `cgroup_attach_task(struct cgroup *to, const char *path, struct task_struct *task, bool threadgroup)`.
//! Produces: open, close and process records, and the process set.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    path::{
        call,
        connection::{self, Sock, TCP_CLOSE},
        select::{self, Current, Names},
    },
    peek::{layout, member},
};

const TCP_ESTABLISHED: u8 = 1;
const TCP_SYN_SENT: u8 = 2;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn tracer_set_state(ctx: RawTracePointContext) -> i32 {
    let state: u32 = ctx.arg(2);
    let state = state as u8;
    let Some(sock) = Sock::tcp(ctx.arg(0)) else {
        return 0;
    };
    match state {
        TCP_SYN_SENT => connection::connecting(sock, Current::get()),
        TCP_ESTABLISHED => connection::established(sock),
        TCP_LISTEN => select::listens(Current::get().tgid, sock.local_port()),
        TCP_FIN_WAIT1 | TCP_LAST_ACK | TCP_CLOSE => connection::closing(sock, state),
        _ => {}
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn tracer_fork(ctx: RawTracePointContext) -> i32 {
    let child: u64 = ctx.arg(1);
    let parent = Current::get().tgid;
    if let Some(tgid) = member::<u32>(child, layout().task_tgid)
        && tgid != parent
    {
        select::forked(parent, tgid);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn tracer_exec(_ctx: RawTracePointContext) -> i32 {
    select::executed(Current::get().tgid, Names::Compared);
    0
}

/// Without `bpf_loop`.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn tracer_exec_chain(_ctx: RawTracePointContext) -> i32 {
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
    let task: u64 = ctx.arg(0);
    let current = Current::get();
    call::forget(current);
    let signal: u64 = member(task, layout().task_signal).unwrap_or(0);
    // The kernel counts the thread out before it calls the hook.
    if member::<u32>(signal, layout().signal_live) == Some(0) {
        select::exited(current.tgid);
    }
    0
}
