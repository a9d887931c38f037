//! Bytes that a call moved: framed as HTTP/1 messages, heads delivered, bodies counted.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_ktime_get_boot_ns, bpf_loop, generated},
    macros::map,
    maps::{PerCpuArray, ProgramArray},
};
use tracer_common::{
    Loss,
    framer::{self, HEAD_MAX, Port, Step, Work},
    lane::{CARRY, Lane, State, fact},
    layout::{mark, scratch_areas},
    record::{DataRecord, data_flags},
};

use crate::{
    atomic,
    peek::{at, settings, user},
};

use super::{
    call::{Call, Shape},
    connection, emit,
    select::Current,
    task, tls, turn, wakes,
};

/// Steps of the framer in one call: a head of HEAD_SEARCH_MAX bytes of usual lines, many times over.
const STEPS: u32 = 4096;
/// Steps that most calls can do with: made one after the other, since `bpf_loop` calls by a pointer, which is slow.
const FEW: u32 = 16;
/// Steps in one program where programs call each other: each is verified for itself.
const TURNS: u32 = 128;

/// The memory of a call that is still to be walked.
#[repr(C)]
struct Walk {
    /// Address of the next `struct iovec`, or of the only buffer.
    vector: u64,
    vector_left: u64,
    /// 1 if the vector is in the kernel's memory; what it points to is in the user's.
    in_kernel: u64,
    /// Bytes of the next buffers that are passed over.
    skip: u64,
    /// Address of the next `struct mmsghdr`.
    messages: u64,
    messages_left: u64,
    /// Bytes that the call moved and that are not yet given to the framer.
    left: u64,
}

#[repr(C)]
struct Scratch {
    work: Work,
    memory: Walk,
    /// What moved the bytes.
    call: Call,
    /// How many, or how many messages.
    moved: u64,
    /// Who made it.
    current: Current,
    source: Source,
    /// Programs that use it or try to: the one that found itself alone uses it.
    takers: u64,
}

/// As many as calls may be framed at once by one CPU: one may begin in the middle of another.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(scratch_areas::PREEMPTED, 0);

struct Kernel;

impl Port for Kernel {
    #[inline(always)]
    unsafe fn read(&mut self, to: *mut u8, len: u32, from: u64) -> bool {
        unsafe { generated::bpf_probe_read_user(to.cast(), len, from as *const c_void) == 0 }
    }

    /// A function of its own: there are a dozen places in a program that deliver.
    #[inline(never)]
    fn emit(&mut self, work: &mut Work) {
        let captured = work.record.captured;
        if captured > HEAD_MAX {
            return;
        }
        let size = size_of::<DataRecord>() + captured as usize;
        // The captured bytes stand right behind the record.
        let delivered =
            emit::record(unsafe { core::slice::from_raw_parts((&raw const work.record).cast(), size) });
        let request = work.record.flags & data_flags::HEAD_START != 0 && !work.lane.is(fact::RESPONSE);
        if !delivered && request {
            emit::lost(Loss::RequestLost);
        }
    }

    #[inline(always)]
    fn lost(&mut self, cause: Loss) {
        emit::lost(cause);
    }

    #[inline(always)]
    fn follows_sampling(&self) -> bool {
        settings().follows_sampling != 0
    }
}

/// How the steps of the framer are repeated.
pub trait Repeat {
    /// Frames what stands in this scratch area, and concludes.
    fn frame(&self, area: u32);
}

/// Not at all: for calls that are known to have no user memory.
pub struct NoBytes;

impl Repeat for NoBytes {
    #[inline(always)]
    fn frame(&self, area: u32) {
        conclude(area);
    }
}

/// By `bpf_loop`, which came in 5.17: as many steps as are needed.
pub struct Loop;

impl Repeat for Loop {
    #[inline(always)]
    fn frame(&self, area: u32) {
        let mut area = area;
        let mut turns = 0;
        while turns < FEW {
            if tracer_step(area) != 0 {
                return conclude(area);
            }
            turns += 1;
        }
        unsafe { bpf_loop(STEPS, step as *mut c_void, (&raw mut area).cast(), 0) };
        conclude(area);
    }
}

/// By programs that call each other, for older kernels: `TURNS` steps a program, 33 programs in a row.
pub struct Chain<'a, C> {
    /// The context of the program that runs.
    pub context: &'a C,
    /// Holds the program that goes on.
    pub next: &'static ProgramArray,
}

impl<C: EbpfContext> Repeat for Chain<'_, C> {
    #[inline(always)]
    fn frame(&self, area: u32) {
        if area == 0 {
            unsafe { self.next.tail_call(self.context, 0) };
        }
        // Not reached unless the row is full, or the program is not there.
        conclude(area);
    }
}

impl<C: EbpfContext> Chain<'_, C> {
    /// A few steps; then the next program of the row, or the end.
    #[inline(always)]
    pub fn turns(&self) {
        for _ in 0..TURNS {
            if tracer_step(0) != 0 {
                conclude(0);
                return;
            }
        }
        self.frame(0);
    }
}

/// Where bytes are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Source {
    /// At the socket.
    Socket,
    /// In a library that encrypts what goes to the socket.
    Library,
}

/// A call moved bytes (or messages, for [`Shape::Messages`]), behind those that it is said to have moved before.
#[inline(always)]
pub fn moved(call: &Call, moved: u64, current: Current, source: Source, repeat: &impl Repeat) {
    let Some((area, scratch)) = free_area() else {
        if source == Source::Library
            && let Some(connection) = connection::get(call.sock)
        {
            // At a socket what comes next tells how much is missing; here nothing does.
            unsafe { (*connection).turn_opaque() };
        }
        return emit::lost(Loss::Busy);
    };
    copy(call, &mut scratch.call);
    scratch.moved = moved;
    scratch.current = current;
    scratch.source = source;
    if tracer_prepare(area) != 0 {
        repeat.frame(area);
    }
}

/// Makes the call of a scratch area ready to be framed. 0 if its bytes are of no interest, and the area is free again.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_prepare(area: u32) -> u32 {
    let Some(scratch) = scratch(area) else { return 0 };
    let prepared = prepare(scratch);
    if prepared.is_none() {
        leave(scratch);
    }
    prepared.is_some() as u32
}

#[inline(always)]
fn prepare(scratch: &mut Scratch) -> Option<()> {
    let (call, current) = (&scratch.call, scratch.current);
    let (is_sent, at_socket) = (call.memory.sent != 0, scratch.source == Source::Socket);
    let connection = unsafe { &mut *connection::get(call.sock)? };
    if connection.ignored() || (at_socket && connection.is_tls()) {
        return None;
    }
    let work = &mut scratch.work;
    let now = if call.returned_ns == 0 {
        unsafe { bpf_ktime_get_boot_ns() }
    } else {
        call.returned_ns
    };
    work.record.connection = connection.id;
    let mut task = if call.caller.is_known() {
        work.of_call = if current.has_goroutines() || call.caller.is_alone() {
            data_flags::HANDED
        } else {
            data_flags::BY_THREAD
        };
        call.caller
    } else {
        work.of_call = 0;
        task::calling(current, is_sent)
    };
    if current.kind == mark::TASKS && task.is_known() {
        work.of_call = data_flags::BY_TASK;
    }
    // At a socket it was looked up when the call began.
    let moment = if at_socket {
        turn::Moment {
            turn: call.turn,
            reads: call.reads,
            timer: call.timer != 0,
        }
    } else {
        turn::moment(current, call.entered_ns)
    };
    work.record.turn = moment.turn;
    work.record.reads = moment.reads;
    if !is_sent && current.kind == mark::POOLS {
        // What it works on from now on it has read itself.
        wakes::forget(current.tid);
        if !task.is_known() {
            // It may wake another for that.
            work.of_call |= data_flags::BY_THREAD;
            task.maker = current.tid as u64;
        }
    }
    if moment.timer {
        work.of_call |= data_flags::TIMER;
    }
    if !at_socket {
        work.of_call |= connection.decrypted();
    }
    work.record.task = task.id;
    work.record.maker = task.maker;
    work.record.tgid = current.tgid;
    work.record.tid = current.tid;
    work.sent = call.memory.sent;
    work.end_ns = now;
    work.start_ns = if is_sent { call.entered_ns } else { now };
    if is_sent {
        copy_lane(&connection.sent, &mut work.lane);
    } else {
        copy_lane(&connection.received, &mut work.lane);
    }
    copy(&connection.waiting, &mut work.waiting);
    work.begin();
    let skipped = call
        .seq
        .wrapping_add(call.done as u32)
        .wrapping_sub(work.lane.seq);
    if at_socket && skipped != 0 && skipped < 1 << 31 {
        framer::pass_unseen(work, &mut Kernel, skipped as u64);
    }
    scratch.memory = walk(call, scratch.moved);
    if call.memory.shape == Shape::Unseen {
        scratch.memory.left = 0;
        framer::pass_unseen(work, &mut Kernel, scratch.moved);
    }
    work.left = 0;
    Some(())
}

/// A scratch area of this CPU that is not in use. A program may be preempted between any two instructions here, and another come to
/// the same area: it is taken by who has counted himself in and then finds nobody else.
#[inline(always)]
fn free_area() -> Option<(u32, &'static mut Scratch)> {
    let mut area = 0;
    while area < scratch_areas::PREEMPTED {
        let scratch = scratch(area)?;
        unsafe { atomic::add(&raw mut scratch.takers, 1) };
        if unsafe { (&raw const scratch.takers).read_volatile() } == 1 {
            return Some((area, scratch));
        }
        leave(scratch);
        area += 1;
    }
    None
}

#[inline(always)]
fn leave(scratch: &mut Scratch) {
    unsafe { atomic::add(&raw mut scratch.takers, u64::MAX) };
}

#[inline(always)]
fn scratch(area: u32) -> Option<&'static mut Scratch> {
    SCRATCH.get_ptr_mut(area).map(|scratch| unsafe { &mut *scratch })
}

/// Everything of the call is framed that can be: what is held is delivered, and the connection remembers where it stands.
#[inline(always)]
fn conclude(area: u32) {
    tracer_rest(area);
    tracer_finish(area);
    tracer_remember(area);
}

/// What could not be framed for its number of messages and lines.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_rest(area: u32) -> u32 {
    let Some(scratch) = scratch(area) else { return 0 };
    let left = scratch.memory.left.wrapping_add(scratch.work.left);
    if left != 0 && scratch.work.lane.state != State::OPAQUE {
        emit::lost(Loss::TooManySteps);
        scratch.work.left = 0;
        framer::pass_unseen(&mut scratch.work, &mut Kernel, left);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_finish(area: u32) -> u32 {
    if let Some(scratch) = scratch(area) {
        framer::finish(&mut scratch.work, &mut Kernel);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_remember(area: u32) -> u32 {
    if let Some(scratch) = scratch(area) {
        keep(scratch);
        leave(scratch);
    }
    0
}

#[inline(always)]
fn keep(scratch: &Scratch) {
    let work = &scratch.work;
    let Some(known) = connection::get(scratch.call.sock) else {
        return;
    };
    let connection = unsafe { &mut *known };
    if connection.id != work.record.connection {
        // The entry was given to another connection meanwhile.
        return;
    }
    if work.sent != 0 {
        copy_lane(&work.lane, &mut connection.sent);
    } else {
        copy_lane(&work.lane, &mut connection.received);
    }
    if work.lane.is(fact::RESPONSE) {
        connection.waiting.popped = work.waiting.popped;
    } else {
        connection.waiting.methods = work.waiting.methods;
        connection.waiting.pushed = work.waiting.pushed;
    }
    if work.turned_opaque != 0 {
        if settings().sees_tls != 0 && !connection.is_tls() && work.begins_tls() {
            tls::begins(scratch.call.sock, known, work.sent != 0);
        } else {
            connection.turn_opaque();
        }
    }
}

#[inline(always)]
fn copy<T: Copy>(from: &T, to: &mut T) {
    const {
        assert!(size_of::<T>().is_multiple_of(size_of::<u64>()) && align_of::<T>() >= align_of::<u64>());
    }
    copy_words(from, to, 0, size_of::<T>());
}

/// What is kept of a line only where it stands in the middle of one.
#[inline(always)]
fn copy_lane(from: &Lane, to: &mut Lane) {
    const LINE: usize = core::mem::offset_of!(Lane, carry);
    copy_words(from, to, 0, LINE);
    if from.line_len != 0 {
        copy_words(from, to, LINE, LINE + CARRY);
    }
}

/// Copies by words. An assignment becomes a call of `memmove`, which goes byte by byte on this target and took a
/// fifth of the time that a message takes; volatile, or LLVM finds that these words are a `memmove` too.
#[inline(always)]
fn copy_words<T>(from: &T, to: &mut T, begin: usize, end: usize) {
    let (from, to) = (
        core::ptr::from_ref(from).cast::<u64>(),
        core::ptr::from_mut(to).cast::<u64>(),
    );
    for word in begin / size_of::<u64>()..end / size_of::<u64>() {
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

#[inline(always)]
fn walk(call: &Call, result: u64) -> Walk {
    let described = &call.memory;
    let mut memory = Walk {
        vector: described.address,
        vector_left: 0,
        in_kernel: 0,
        skip: described.skip.wrapping_add(call.done),
        messages: 0,
        messages_left: 0,
        left: result,
    };
    match described.shape {
        Shape::Vector => memory.vector_left = described.count,
        Shape::KernelVector => {
            memory.vector_left = described.count;
            memory.in_kernel = 1;
        }
        Shape::Message => message(&mut memory, described.address),
        Shape::Messages => {
            memory.messages = described.address;
            memory.messages_left = result;
            memory.left = 0;
        }
        Shape::Buffer | Shape::Unseen => {}
    }
    memory
}

/// `struct msghdr` of user space: `msg_iov` at 16, `msg_iovlen` at 24.
#[inline(always)]
fn message(memory: &mut Walk, address: u64) {
    match user::<[u64; 2]>(address.wrapping_add(16)) {
        Some([vector, count]) => {
            memory.vector = vector;
            memory.vector_left = count;
        }
        None => emit::lost(Loss::UserFault),
    }
}

/// One turn of the loop: a step of the framer, or the next buffer. 0 goes on, 1 ends.
extern "C" fn step(_turn: u32, area: *mut c_void) -> i64 {
    let over = tracer_step(unsafe { *area.cast::<u32>() });
    // The verifier is to see a bound, and LLVM knows of one already unless it has to look in memory.
    (unsafe { core::ptr::read_volatile(&raw const over) } & 1) as i64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_step(area: u32) -> u32 {
    let Some(scratch) = scratch(area) else { return 1 };
    if scratch.work.lane.state == State::OPAQUE {
        return 1;
    }
    if scratch.work.left == 0 && next_buffer(scratch) != 0 {
        return 1;
    }
    let _: Step = framer::step(&mut scratch.work, &mut Kernel);
    let left = scratch.work.left | scratch.memory.left | scratch.memory.messages_left;
    (left == 0) as u32
}

#[inline(always)]
fn next_buffer(scratch: &mut Scratch) -> u32 {
    let memory = &mut scratch.memory;
    if memory.left == 0 {
        if memory.messages_left == 0 {
            return 1;
        }
        // `struct mmsghdr`: the msghdr, then `msg_len` at 56; 64 bytes each.
        message(memory, memory.messages);
        let moved: u32 = user(memory.messages.wrapping_add(56)).unwrap_or(0);
        memory.left = moved as u64;
        memory.messages = memory.messages.wrapping_add(64);
        memory.messages_left -= 1;
        return 0;
    }
    let (address, len) = if memory.vector_left == 0 {
        (memory.vector, memory.left.wrapping_add(memory.skip))
    } else {
        let entry = if memory.in_kernel != 0 {
            at::<[u64; 2]>(memory.vector)
        } else {
            user::<[u64; 2]>(memory.vector)
        };
        let Some([address, len]) = entry else {
            emit::lost(Loss::UserFault);
            return 1;
        };
        memory.vector = memory.vector.wrapping_add(16);
        memory.vector_left -= 1;
        (address, len)
    };
    let last = memory.vector_left == 0;
    if len <= memory.skip && !last {
        memory.skip -= len;
        return 0;
    }
    if last && len < memory.skip.wrapping_add(memory.left) {
        // The vector ended before the bytes did: it was changed under the call.
        emit::lost(Loss::UserFault);
        return 1;
    }
    let (address, len) = (address.wrapping_add(memory.skip), len - memory.skip);
    memory.skip = 0;
    let len = if len < memory.left { len } else { memory.left };
    memory.left -= len;
    scratch.work.buffer(address, len);
    0
}
