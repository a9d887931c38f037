//! x86-64: `arch/x86/include/asm/ptrace.h` of the kernel, and the calling conventions of C and of Go (`abi-internal.md`).

use aya_ebpf::bindings::pt_regs;

use crate::peek::at;

/// Numbers of system calls.
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const READV: usize = 19;
    pub const WRITEV: usize = 20;
    pub const SENDFILE: usize = 40;
    pub const SENDTO: usize = 44;
    pub const RECVFROM: usize = 45;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const SPLICE: usize = 275;
    pub const RECVMMSG: usize = 299;
    pub const SENDMMSG: usize = 307;
    pub const PREADV2: usize = 327;
    pub const PWRITEV2: usize = 328;
    pub const FUTEX: u64 = 202;
    pub const EPOLL_PWAIT2: u64 = 441;

    /// `epoll_wait`, `epoll_pwait`
    #[inline(always)]
    pub fn is_epoll_wait(id: u64) -> bool {
        id == 232 || id == 281
    }
}

/// Offsets in the `struct pt_regs` that a system call leaves.
pub mod saved {
    /// Holds any of them.
    pub type Offset = u8;

    /// Arguments: RDI, RSI, RDX, R10.
    pub const FIRST: u64 = 112;
    pub const SECOND: u64 = 104;
    pub const THIRD: u64 = 96;
    pub const FOURTH: u64 = 56;
    /// Go's current goroutine: R14.
    pub const GOROUTINE: u64 = 8;
    /// HotSpot's current thread: R15.
    pub const JAVA_THREAD: u64 = 0;
    /// RSP
    pub const STACK: u64 = 152;
    /// All of them.
    pub const SIZE: u64 = 168;
}

/// Offsets in the `struct pt_regs` of a breakpoint at a kernel function.
pub mod argument {
    /// RCX, R8
    pub const FOURTH: u64 = 88;
    pub const FIFTH: u64 = 72;
}

/// Size of a thread's stack in the kernel, which [`saved`] is the end of. Kernels that have something behind them have the helper.
pub const STACK_SIZE: u64 = 16384;

/// `current_thread_info()->status` says that a 32-bit call is running: `TS_COMPAT`.
pub const COMPAT: u32 = 2;

/// The first three arguments of the system call that has left these registers, which are next to each other: read at once.
#[inline(always)]
pub fn arguments(registers: u64) -> Option<[u64; 3]> {
    let [third, second, first] = at(registers.wrapping_add(saved::THIRD))?;
    Some([first, second, third])
}

/// The number of the system call that has left these registers.
#[inline(always)]
pub fn number_of(registers: u64) -> Option<u64> {
    // `orig_rax`
    at(registers.wrapping_add(120))
}

/// What a function written in C or in Go returns; the first result, if there are several.
#[inline(always)]
pub fn result(registers: &pt_regs) -> u64 {
    registers.rax
}

/// What functions written in Go are called with.
pub mod go {
    use super::pt_regs;

    /// A word of the arguments, one of the first four.
    #[inline(always)]
    pub fn argument<const N: usize>(registers: &pt_regs) -> u64 {
        const { assert!(N < 4) }
        match N {
            0 => registers.rax,
            1 => registers.rbx,
            2 => registers.rcx,
            _ => registers.rdi,
        }
    }

    /// The current goroutine, `runtime.g`.
    #[inline(always)]
    pub fn goroutine(registers: &pt_regs) -> u64 {
        registers.r14
    }

    /// The stack pointer.
    #[inline(always)]
    pub fn stack(registers: &pt_regs) -> u64 {
        registers.rsp
    }
}
