//! The `kprobe` family: the functions of the `socket` family by breakpoints, for kernels without trampolines.
//!
//! Hooks: `tcp_sendmsg`, `tcp_recvmsg`, `tcp_sendpage`, `tcp_splice_read` at entry and return, and `release_sock`, which each of
//! them calls when it has moved bytes. The return alone is not enough: of a function that waits, the kernel follows only
//! ten calls at once, or twice its processors, and every idle kept-alive connection of a server with a thread each is
//! such a call. Where `release_sock` runs, TCP's own sequence numbers say how many bytes the call has moved.
//! Produces: calls begun, followed and ended.

use aya_ebpf::{
    EbpfContext,
    macros::{kprobe, kretprobe, map},
    maps::ProgramArray,
    programs::{ProbeContext, RetProbeContext},
};

use super::{tcp, turn, unix};
use crate::{
    arch::argument,
    path::{
        call,
        message::{Chain, Loop, Repeat},
        select::Current,
        sock::Sock,
    },
    peek::{at, layout},
};

/// Holds `tracer_kprobe_chain`, on kernels without `bpf_loop`.
#[map]
static KPROBE_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[inline(always)]
fn chain<C: EbpfContext>(context: &C) -> Chain<'_, C> {
    Chain {
        context,
        next: &KPROBE_CHAIN,
    }
}

/// Programs at entries: each hands arguments of the function to what is to be done.
macro_rules! entries {
    ($($program:ident($($argument:literal),+) => $handle:path;)+) => {
        $(
            #[kprobe]
            fn $program(ctx: ProbeContext) -> u32 {
                let _: Option<()> = (|| $handle($(ctx.arg($argument)?),+))();
                0
            }
        )+
    };
}

entries! {
    tracer_kprobe_sendmsg(0, 1) => tcp::sending;
    tracer_kprobe_sendpage(0) => tcp::sending_page;
    tracer_kprobe_splice_read(0) => tcp::splicing;
    tracer_kprobe_unix_sendmsg(0, 1) => unix::sending;
    tracer_kprobe_unix_sendpage(0) => unix::sending_page;
    tracer_kprobe_unix_read(3) => unix::reading;
    tracer_kprobe_unix_splice(3) => unix::splicing;
    tracer_kprobe_unix_connect(0) => unix::connecting;
    tracer_kprobe_unix_accept(0) => unix::accepting;
    tracer_kprobe_unix_release(0) => unix::releasing;
    tracer_kprobe_wait(0) => turn::waiting;
    tracer_kprobe_pwait2(0) => turn::waiting_finely;
    tracer_kprobe_read(0) => turn::reading;
}

#[kprobe]
fn tracer_kprobe_recvmsg(ctx: ProbeContext) -> u32 {
    // Read as memory: which register it is comes from BTF, and the verifier wants to know at once.
    let register = if layout().recvmsg_flags == 4 {
        argument::FIFTH
    } else {
        argument::FOURTH
    };
    let flags = at((ctx.as_ptr() as u64).wrapping_add(register));
    if let (Some(sock), Some(message), Some(len), Some(flags)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2), flags) {
        tcp::receiving(sock, message, len, flags);
    }
    0
}

#[kprobe]
fn tracer_kprobe_release(ctx: ProbeContext) -> u32 {
    released(&ctx, &Loop)
}

#[kprobe]
fn tracer_kprobe_release_chain(ctx: ProbeContext) -> u32 {
    released(&ctx, &chain(&ctx))
}

#[inline(always)]
fn released(context: &ProbeContext, repeat: &impl Repeat) -> u32 {
    if let Some(sock) = context.arg::<u64>(0) {
        call::progress(Sock::moving(sock), Current::get(), repeat);
    }
    0
}

/// The return of every one of them that moves bytes.
#[kretprobe]
fn tracer_kretprobe(ctx: RetProbeContext) -> u32 {
    tcp::returned(ctx.ret::<i32>() as i64, &Loop);
    0
}

#[kretprobe]
fn tracer_kretprobe_chain(ctx: RetProbeContext) -> u32 {
    tcp::returned(ctx.ret::<i32>() as i64, &chain(&ctx));
    0
}

#[kprobe]
fn tracer_kprobe_chain(ctx: ProbeContext) -> u32 {
    chain(&ctx).turns();
    0
}
