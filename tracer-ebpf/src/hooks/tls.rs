//! What is in TLS, where OpenSSL or GnuTLS does it.
//!
//! Hooks: uprobes at the entries of
//! `int SSL_do_handshake(SSL *ssl)`, which `SSL_connect` and `SSL_accept` call,
//! `int SSL_read(SSL *ssl, void *buf, int num)`, `int SSL_write(SSL *ssl, const void *buf, int num)`,
//! `int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes)` and
//! `int SSL_write_ex(SSL *ssl, const void *buf, size_t num, size_t *written)`,
//! `int gnutls_handshake(gnutls_session_t session)`, `ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t size)` and
//! `ssize_t gnutls_record_send(gnutls_session_t session, const void *data, size_t size)`,
//! and uretprobes at their returns; `void SSL_free(SSL *ssl)` and `void gnutls_deinit(gnutls_session_t session)` at their entries. Both are
//! written in C: a return address may be changed there. Processes that are not traced come here too, since a breakpoint is in a file, and leave at once.
//! Produces: what passes in sessions.

use aya_ebpf::{
    macros::{map, uprobe, uretprobe},
    maps::ProgramArray,
    programs::{ProbeContext, RetProbeContext},
};

use super::nowhere::NOWHERE;
use crate::{
    arch,
    path::{
        call::Call,
        message::{self, Chain, Loop, Repeat, Source},
        select::{self, Current},
        tls::{self, Act},
        tls_go::{self, Goroutine},
    },
};

/// Holds `tracer_tls_chain`, on kernels without `bpf_loop`.
#[map]
static TLS_CHAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Programs at entries: what the function does, and whether its fourth argument is where it leaves how many bytes it moved.
macro_rules! entries {
    ($($program:ident => $act:expr, $count:expr;)+) => {
        $(
            #[uprobe]
            fn $program(ctx: ProbeContext) -> u32 {
                let count = if $count { ctx.arg(3) } else { Some(0) };
                if let (Some(session), Some(buffer), Some(count)) = (ctx.arg(0), ctx.arg(1), count) {
                    let _ = tls::begin($act, session, buffer, count);
                }
                unsafe { NOWHERE.tail_call(&ctx, 0) };
                0
            }
        )+
    };
}

entries! {
    tracer_tls_handshake => Act::Handshake, false;
    tracer_tls_free => Act::Free, false;
    tracer_tls_read => Act::Read, false;
    tracer_tls_read_ex => Act::Read, true;
    tracer_tls_write => Act::Write, false;
    tracer_tls_write_ex => Act::Write, true;
}

/// At the returns, and at those that [`super::tls_go`] tells of.
#[uretprobe]
fn tracer_tls_moved(ctx: RetProbeContext) -> u32 {
    let _ = moved(&ctx, &Loop);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[uretprobe]
fn tracer_tls_moved_chain(ctx: RetProbeContext) -> u32 {
    let _ = moved(&ctx, &chain(&ctx));
    0
}

#[inline(always)]
fn moved(ctx: &RetProbeContext, repeat: &impl Repeat) -> Option<()> {
    let mut current = Current::get();
    let registers = unsafe { &*ctx.regs };
    let mut call = Call::NONE;
    let moves = if tls::is_inside(current) {
        tls::end(arch::result(registers) as i32, current, &mut call)
    } else {
        current = select::followed()?;
        let goroutine = Goroutine::of(current, arch::go::goroutine(registers));
        tls_go::end(arch::result(registers), goroutine, &mut call)
    };
    if moves {
        message::moved(&call, call.memory.count, current, Source::Library, repeat);
    }
    Some(())
}

#[uretprobe]
fn tracer_tls_chain(ctx: RetProbeContext) -> u32 {
    chain(&ctx).turns();
    0
}

#[inline(always)]
fn chain(context: &RetProbeContext) -> Chain<'_, RetProbeContext> {
    Chain {
        context,
        next: &TLS_CHAIN,
    }
}
