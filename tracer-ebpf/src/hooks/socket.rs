//! The `socket` family: the kernel's own TCP functions, by trampolines (fentry and fexit). The cheapest: nothing runs for a
//! call that is not one on TCP, and what comes by io_uring or from 32-bit programs passes here too.
//!
//! Hooks: `tcp_sendmsg`, `tcp_recvmsg`, and where the kernel has them `tcp_sendpage` (before 6.5) and `tcp_splice_read`.
//! Produces: calls begun and ended.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, map},
    maps::ProgramArray,
    programs::{FEntryContext, FExitContext},
};

use super::{tcp, unix};
use crate::{
    path::message::{Chain, Loop, NoBytes, Repeat},
    peek::{at, layout},
};

/// Argument `n` of the hooked function, or behind the last its result. Read as memory: the number may come from BTF,
/// and what comes out is a plain number, with which the verifier lets us calculate.
#[inline(always)]
fn word(context: &impl EbpfContext, n: u32) -> Option<u64> {
    at((context.as_ptr() as u64).wrapping_add(n as u64 * 8))
}

/// Holds `tracer_fexit_chain`, on kernels without `bpf_loop`.
#[map]
static FEXIT_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[inline(always)]
fn chain(context: &FExitContext) -> Chain<'_, FExitContext> {
    Chain {
        context,
        next: &FEXIT_CHAIN,
    }
}

/// Number of arguments of `tcp_recvmsg`: the flags are the last but one.
#[inline(always)]
fn recvmsg_arguments() -> u32 {
    layout().recvmsg_flags.wrapping_add(2)
}

/// A function with this number of arguments, which the result follows, returns an `int`.
#[inline(always)]
fn returned(context: &FExitContext, arguments: u32, repeat: &impl Repeat) -> i32 {
    if let Some(result) = word(context, arguments) {
        tcp::returned(result as i32 as i64, repeat);
    }
    0
}

#[fentry]
fn tracer_fentry_sendmsg(ctx: FEntryContext) -> i32 {
    if let (Some(sock), Some(message)) = (word(&ctx, 0), word(&ctx, 1)) {
        tcp::sending(sock, message);
    }
    0
}

#[fexit]
fn tracer_fexit_sendmsg(ctx: FExitContext) -> i32 {
    returned(&ctx, 3, &Loop)
}

#[fexit]
fn tracer_fexit_sendmsg_chain(ctx: FExitContext) -> i32 {
    returned(&ctx, 3, &chain(&ctx))
}

#[fentry]
fn tracer_fentry_recvmsg(ctx: FEntryContext) -> i32 {
    let flags = word(&ctx, layout().recvmsg_flags);
    if let (Some(sock), Some(message), Some(flags)) = (word(&ctx, 0), word(&ctx, 1), flags) {
        tcp::receiving(sock, message, flags);
    }
    0
}

#[fexit]
fn tracer_fexit_recvmsg(ctx: FExitContext) -> i32 {
    returned(&ctx, recvmsg_arguments(), &Loop)
}

#[fexit]
fn tracer_fexit_recvmsg_chain(ctx: FExitContext) -> i32 {
    returned(&ctx, recvmsg_arguments(), &chain(&ctx))
}

#[fentry]
fn tracer_fentry_sendpage(ctx: FEntryContext) -> i32 {
    if let Some(sock) = word(&ctx, 0) {
        tcp::sending_page(sock);
    }
    0
}

#[fexit]
fn tracer_fexit_sendpage(ctx: FExitContext) -> i32 {
    returned(&ctx, 5, &NoBytes)
}

#[fentry]
fn tracer_fentry_splice_read(ctx: FEntryContext) -> i32 {
    if let Some(socket) = word(&ctx, 0) {
        tcp::splicing(socket);
    }
    0
}

#[fexit]
fn tracer_fexit_splice_read(ctx: FExitContext) -> i32 {
    returned(&ctx, 5, &NoBytes)
}

#[fentry]
fn tracer_fentry_unix_sendmsg(ctx: FEntryContext) -> i32 {
    if let (Some(socket), Some(message)) = (word(&ctx, 0), word(&ctx, 1)) {
        unix::sending(socket, message);
    }
    0
}

#[fexit]
fn tracer_fexit_unix_sendmsg(ctx: FExitContext) -> i32 {
    returned(&ctx, 3, &Loop)
}

#[fexit]
fn tracer_fexit_unix_sendmsg_chain(ctx: FExitContext) -> i32 {
    returned(&ctx, 3, &chain(&ctx))
}

#[fentry]
fn tracer_fentry_unix_sendpage(ctx: FEntryContext) -> i32 {
    if let Some(socket) = word(&ctx, 0) {
        unix::sending_page(socket);
    }
    0
}

#[fexit]
fn tracer_fexit_unix_sendpage(ctx: FExitContext) -> i32 {
    returned(&ctx, 5, &NoBytes)
}

#[fentry]
fn tracer_fentry_unix_read(ctx: FEntryContext) -> i32 {
    if let Some(state) = word(&ctx, 3) {
        unix::reading(state);
    }
    0
}

#[fexit]
fn tracer_fexit_unix_read(ctx: FExitContext) -> i32 {
    returned(&ctx, 4, &Loop)
}

#[fexit]
fn tracer_fexit_unix_read_chain(ctx: FExitContext) -> i32 {
    returned(&ctx, 4, &chain(&ctx))
}

#[fentry]
fn tracer_fentry_unix_splice(ctx: FEntryContext) -> i32 {
    if let Some(state) = word(&ctx, 3) {
        unix::splicing(state);
    }
    0
}

#[fexit]
fn tracer_fexit_unix_splice(ctx: FExitContext) -> i32 {
    returned(&ctx, 4, &NoBytes)
}

#[fentry]
fn tracer_fentry_unix_connect(ctx: FEntryContext) -> i32 {
    if let Some(socket) = word(&ctx, 0) {
        unix::connecting(socket);
    }
    0
}

#[fentry]
fn tracer_fentry_unix_accept(ctx: FEntryContext) -> i32 {
    if let Some(sock) = word(&ctx, 0) {
        unix::accepting(sock);
    }
    0
}

#[fentry]
fn tracer_fentry_unix_release(ctx: FEntryContext) -> i32 {
    if let Some(socket) = word(&ctx, 0) {
        unix::releasing(socket);
    }
    0
}

#[fexit]
fn tracer_fexit_chain(ctx: FExitContext) -> i32 {
    chain(&ctx).turns();
    0
}
