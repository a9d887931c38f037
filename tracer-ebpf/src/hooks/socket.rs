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

use super::{tcp, turn, unix};
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

/// Programs at entries: each hands arguments of the function to what is to be done.
macro_rules! entries {
    ($($program:ident($($argument:literal),+) => $handle:path;)+) => {
        $(
            #[fentry]
            fn $program(ctx: FEntryContext) -> i32 {
                let _: Option<()> = (|| $handle($(word(&ctx, $argument)?),+))();
                0
            }
        )+
    };
}

entries! {
    tracer_fentry_sendmsg(0, 1) => tcp::sending;
    tracer_fentry_sendpage(0) => tcp::sending_page;
    tracer_fentry_splice_read(0) => tcp::splicing;
    tracer_fentry_unix_sendmsg(0, 1) => unix::sending;
    tracer_fentry_unix_sendpage(0) => unix::sending_page;
    tracer_fentry_unix_read(3) => unix::reading;
    tracer_fentry_unix_splice(3) => unix::splicing;
    tracer_fentry_unix_connect(0) => unix::connecting;
    tracer_fentry_unix_accept(0) => unix::accepting;
    tracer_fentry_unix_release(0) => unix::releasing;
    tracer_fentry_wait(0) => turn::waiting;
    tracer_fentry_pwait(0) => turn::waiting;
    tracer_fentry_pwait2(0) => turn::waiting_finely;
    tracer_fentry_eventfd_read(0) => turn::reading;
    tracer_fentry_udp_recvmsg(0) => turn::reading;
    tracer_fentry_udpv6_recvmsg(0) => turn::reading;
}

#[fentry]
fn tracer_fentry_recvmsg(ctx: FEntryContext) -> i32 {
    let flags = word(&ctx, layout().recvmsg_flags);
    if let (Some(sock), Some(message), Some(len), Some(flags)) =
        (word(&ctx, 0), word(&ctx, 1), word(&ctx, 2), flags)
    {
        tcp::receiving(sock, message, len, flags);
    }
    0
}

/// Programs at returns of functions that have so many arguments, and how they frame.
macro_rules! returns {
    ($($program:ident($arguments:expr) => |$context:ident| $repeat:expr;)+) => {
        $(
            #[fexit]
            fn $program($context: FExitContext) -> i32 {
                returned(&$context, $arguments, &$repeat)
            }
        )+
    };
}

returns! {
    tracer_fexit_sendmsg(3) => |ctx| Loop;
    tracer_fexit_sendmsg_chain(3) => |ctx| chain(&ctx);
    tracer_fexit_recvmsg(recvmsg_arguments()) => |ctx| Loop;
    tracer_fexit_recvmsg_chain(recvmsg_arguments()) => |ctx| chain(&ctx);
    tracer_fexit_sendpage(5) => |ctx| NoBytes;
    tracer_fexit_splice_read(5) => |ctx| NoBytes;
    tracer_fexit_unix_sendmsg(3) => |ctx| Loop;
    tracer_fexit_unix_sendmsg_chain(3) => |ctx| chain(&ctx);
    tracer_fexit_unix_sendpage(5) => |ctx| NoBytes;
    tracer_fexit_unix_read(4) => |ctx| Loop;
    tracer_fexit_unix_read_chain(4) => |ctx| chain(&ctx);
    tracer_fexit_unix_splice(4) => |ctx| NoBytes;
}

#[fexit]
fn tracer_fexit_chain(ctx: FExitContext) -> i32 {
    chain(&ctx).turns();
    0
}
