//! Waits for many files at once, and reads that are not of sockets that are followed: what `path/turn.rs` counts, for the families
//! `socket` and `kprobe`. The family `syscall` sees them among all other calls.
//!
//! Hooks: `__x64_sys_epoll_wait(const struct pt_regs *regs)`, `__x64_sys_epoll_pwait`, `__x64_sys_epoll_pwait2` (of arm64 those that begin
//! with `__arm64_sys_`), `eventfd_read`, `udp_recvmsg`, `udpv6_recvmsg` at entry, as far as the kernel has them. Produces: turns and reads.

use crate::{
    arch::saved,
    path::{
        select::{self, Current},
        tls,
        turn::{self, reads},
    },
    peek::at,
};

/// `epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)`, or `epoll_pwait`, is entered.
#[inline(always)]
pub fn waiting(registers: u64) -> Option<()> {
    let current = select::traced()?;
    let timeout: u64 = at(registers.wrapping_add(saved::FOURTH))?;
    waits(current, timeout as i32);
    None
}

/// `epoll_pwait2` is entered: its timeout is finer, and is not looked at.
#[inline(always)]
pub fn waiting_finely(_registers: u64) -> Option<()> {
    waits(select::traced()?, 0);
    None
}

#[inline(always)]
fn waits(current: Current, timeout_ms: i32) {
    turn::waits(current, timeout_ms);
    tls::waits(current.key());
}

/// Something is read that is not followed.
#[inline(always)]
pub fn reading(_file: u64) -> Option<()> {
    reads(select::traced()?);
    None
}
