//! Go's HTTP/2 and gRPC: goroutines that read and write a connection do so for all its requests, and others work on them.
//!
//! Hooks: uprobes at the entries of
//! - `net/http.(*http2serverConn).runHandler(sc *http2serverConn, rw *http2responseWriter, …)`, which a goroutine is made for with each request,
//!   and of the same in `golang.org/x/net/http2`;
//! - `net/http.(*http2ClientConn).roundTrip(…)`, which makes a goroutine that sends, and of the same there;
//! - `google.golang.org/grpc.(*Server).handleStream(s *Server, t transport.ServerTransport, stream *transport.ServerStream, …)`;
//!
//! and where `google.golang.org/grpc/internal/transport.(*http2Client).NewStream(…) (*ClientStream, error)` returns: the stream has its number then,
//! and its first frame may be sent before or after that. Produces: which goroutine works on which stream, or has had it sent.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, pt_regs},
    macros::{map, uprobe},
    maps::HashMap,
    programs::ProbeContext,
};
use tracer_common::layout::GrpcGo;

use super::{go, nowhere::NOWHERE};
use crate::{
    arch::{
        go::{argument, goroutine, stack},
        result,
    },
    path::{
        select::{self, Current},
        streams,
        task::{self, Task},
    },
    peek::user,
};

/// Offsets of the value of `http2serverConn.conn`, and of `http2stream.id`.
const CONN: u64 = 24;
const ID: u64 = 8;
/// Offset of the value of an interface.
const VALUE: u64 = 8;

/// Process to where its gRPC keeps things.
#[map]
static GRPC_GO: HashMap<u32, GrpcGo> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

#[uprobe]
fn tracer_go_serves(ctx: ProbeContext) -> u32 {
    let _ = serves(unsafe { &*ctx.regs });
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn serves(registers: &pt_regs) -> Option<()> {
    let (current, task) = running(registers)?;
    // `rw.rws.stream`, each the first of what it is in.
    let stream: u64 = user(user(argument::<1>(registers))?)?;
    let id = user(stream.wrapping_add(ID))?;
    let sock = go::sock(user(argument::<0>(registers).wrapping_add(CONN))?)?;
    streams::taken(sock, id, current, task)
}

#[uprobe]
fn tracer_go_calls(ctx: ProbeContext) -> u32 {
    if let Some((current, task)) = running(unsafe { &*ctx.regs }) {
        streams::calls(current, task);
    }
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[uprobe]
fn tracer_grpc_go_serves(ctx: ProbeContext) -> u32 {
    let registers = unsafe { &*ctx.regs };
    let _ = grpc_serves(registers);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn grpc_serves(registers: &pt_regs) -> Option<()> {
    let (current, task) = running(registers)?;
    let known = known(current)?;
    // Where the connection is another's, this is another type, and there is no socket in that place.
    let sock = go::sock(user(place(
        argument::<2>(registers),
        known.server_conn + VALUE as u32,
    ))?)?;
    streams::taken(sock, id(argument::<3>(registers), &known)?, current, task)
}

#[uprobe]
fn tracer_grpc_go_called(ctx: ProbeContext) -> u32 {
    let registers = unsafe { &*ctx.regs };
    let _ = grpc_called(registers);
    unsafe { NOWHERE.tail_call(&ctx, 0) };
    0
}

#[inline(always)]
fn grpc_called(registers: &pt_regs) -> Option<()> {
    let (current, task) = running(registers)?;
    let known = known(current)?;
    let stream = result(registers);
    if stream == 0 {
        // It failed.
        return None;
    }
    let client: u64 = user(place(stream, known.client))?;
    let sock = go::sock(user(place(client, known.client_conn + VALUE as u32))?)?;
    streams::taken(sock, id(stream, &known)?, current, task)
}

/// The number of a stream.
#[inline(always)]
fn id(stream: u64, known: &GrpcGo) -> Option<u32> {
    let stream = if known.is_pointed != 0 {
        user(stream)?
    } else {
        stream
    };
    user(place(stream, known.id))
}

#[inline(always)]
fn known(current: Current) -> Option<GrpcGo> {
    unsafe { GRPC_GO.get(current.tgid) }.copied()
}

#[inline(always)]
fn place(base: u64, offset: u32) -> u64 {
    base.wrapping_add(offset as u64)
}

/// The goroutine that runs, if its process is traced.
#[inline(always)]
fn running(registers: &pt_regs) -> Option<(Current, Task)> {
    let current = select::followed()?;
    let task = task::running(current, goroutine(registers), stack(registers))?;
    Some((current, task))
}
