//! arm64: `arch/arm64/include/asm/ptrace.h` of the kernel, and the calling conventions of C and of Go (`abi-internal.md`).

use aya_ebpf::bindings::pt_regs;

use crate::peek::at;

/// Numbers of system calls: those of `include/uapi/asm-generic/unistd.h`.
pub mod number {
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const READV: usize = 65;
    pub const WRITEV: usize = 66;
    pub const SENDFILE: usize = 71;
    pub const SPLICE: usize = 76;
    pub const SENDTO: usize = 206;
    pub const RECVFROM: usize = 207;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const RECVMMSG: usize = 243;
    pub const SENDMMSG: usize = 269;
    pub const PREADV2: usize = 286;
    pub const PWRITEV2: usize = 287;
    pub const FUTEX: u64 = 98;
    pub const EPOLL_PWAIT2: u64 = 441;

    /// `epoll_pwait`; there is no other.
    #[inline(always)]
    pub fn is_epoll_wait(id: u64) -> bool {
        id == 22
    }
}

/// Offsets in the `struct pt_regs` that a system call leaves.
pub mod saved {
    /// Holds any of them.
    pub type Offset = u16;

    /// Arguments: `orig_x0`, since the result is in X0 when the call returns, then X1, X2, X3.
    pub const FIRST: u64 = 272;
    pub const SECOND: u64 = 8;
    pub const THIRD: u64 = 16;
    pub const FOURTH: u64 = 24;
    /// Go's current goroutine: X28.
    pub const GOROUTINE: u64 = 28 * 8;
    /// HotSpot's current thread: X28 too.
    pub const JAVA_THREAD: u64 = 28 * 8;
    /// SP
    pub const STACK: u64 = 248;
    /// All of them.
    pub const SIZE: u64 = 336;
}

/// Offsets in the `struct pt_regs` of a breakpoint at a kernel function.
pub mod argument {
    /// X3, X4
    pub const FOURTH: u64 = 24;
    pub const FIFTH: u64 = 32;
}

/// Size of a thread's stack in the kernel, which [`saved`] is the end of, with pages of 4 or 16 KiB. With such of 64 KiB there is no
/// goroutine at what is read there, which is found out.
pub const STACK_SIZE: u64 = 16384;

/// `current_thread_info()->flags` says that the program is a 32-bit one: `TIF_32BIT`.
pub const COMPAT: u32 = 1 << 22;

/// The first three arguments of the system call that has left these registers; the last two are next to each other.
#[inline(always)]
pub fn arguments(registers: u64) -> Option<[u64; 3]> {
    let [second, third] = at(registers.wrapping_add(saved::SECOND))?;
    Some([at(registers.wrapping_add(saved::FIRST))?, second, third])
}

/// The number of the system call that has left these registers.
#[inline(always)]
pub fn number_of(registers: u64) -> Option<u64> {
    // `syscallno`, an `int` with something else behind it.
    at::<u32>(registers.wrapping_add(280)).map(u64::from)
}

/// What a function written in C or in Go returns; the first result, if there are several.
#[inline(always)]
pub fn result(registers: &pt_regs) -> u64 {
    registers.regs[0]
}

/// What functions written in Go are called with.
pub mod go {
    use super::pt_regs;

    /// A word of the arguments, one of the first four: R0 to R3.
    #[inline(always)]
    pub fn argument<const N: usize>(registers: &pt_regs) -> u64 {
        const { assert!(N < 4) }
        match N {
            0 => registers.regs[0],
            1 => registers.regs[1],
            2 => registers.regs[2],
            _ => registers.regs[3],
        }
    }

    /// The current goroutine, `runtime.g`.
    #[inline(always)]
    pub fn goroutine(registers: &pt_regs) -> u64 {
        registers.regs[28]
    }

    /// The stack pointer.
    #[inline(always)]
    pub fn stack(registers: &pt_regs) -> u64 {
        registers.sp
    }
}
