//! What the families `socket` and `kprobe` do at the kernel's TCP functions: they differ in how they are called only.

use super::{
    flags::{self, Move},
    iter,
};
use crate::{
    path::{
        call::{self, Memory},
        message::Repeat,
        select::{self, Current},
        sock::Sock,
        task,
    },
    peek::{layout, member},
};

/// `tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)` is entered.
#[inline(always)]
pub fn sending(sock: u64, message: u64) -> Option<()> {
    let current = select::traced()?;
    let sock = Sock::tcp(sock)?;
    call::begin(sock, iter::memory(message, true), current)
}

/// `tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, …, int flags, int *addr_len)` is entered.
#[inline(always)]
pub fn receiving(sock: u64, message: u64, len: u64, flags: u64) -> Option<()> {
    let current = select::traced()?;
    let sock = Sock::tcp(sock)?;
    if len == task::LOOK && sock.unread() == 0 {
        task::looked(sock, current);
    }
    let memory = match flags::moves(false, flags as u32 as u64) {
        Move::Nothing => return None,
        Move::Discarded => Memory::unseen(false),
        Move::Bytes => iter::memory(message, false),
    };
    call::begin(sock, memory, current)
}

/// `tcp_sendpage(struct sock *sk, struct page *page, …)` is entered: `sendfile` before 6.5.
#[inline(always)]
pub fn sending_page(sock: u64) -> Option<()> {
    let current = select::traced()?;
    call::begin(Sock::tcp(sock)?, Memory::unseen(true), current)
}

/// `tcp_splice_read(struct socket *sock, …)` is entered.
#[inline(always)]
pub fn splicing(socket: u64) -> Option<()> {
    let current = select::traced()?;
    let sock = Sock::tcp(member(socket, layout().socket_sk)?)?;
    call::begin(sock, Memory::unseen(false), current)
}

/// One of them returns.
#[inline(always)]
pub fn returned(result: i64, repeat: &impl Repeat) {
    call::end(result, Current::get(), repeat);
}
