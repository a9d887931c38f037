//! What the families `socket` and `kprobe` do at the kernel's functions for Unix sockets. They differ in how they are called only.
//!
//! Hooks: `unix_stream_sendmsg`, `unix_stream_sendpage` (before 6.5), `unix_stream_read_actor` and `unix_stream_splice_actor` at entry and
//! return; `unix_stream_connect`, `security_sock_graft`, `unix_release` at entry. The actors take one piece of what was sent out of the
//! queue each, when it is there: where a whole `recvmsg` waits they do not, so that a return is never missed.
//! Produces: calls begun and ended, connections made and closed.

use super::{flags::MSG_PEEK, iter};
use crate::{
    path::{
        call::{self, Memory},
        connection::{self, TCP_CLOSE},
        select::{self, Current},
        sock::Sock,
    },
    peek::{layout, member},
};

/// `unix_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)` is entered.
#[inline(always)]
pub fn sending(socket: u64, message: u64) -> Option<()> {
    let current = select::traced()?;
    call::begin(of_socket(socket)?, iter::memory(message, true), current)
}

/// `unix_stream_sendpage(struct socket *socket, struct page *page, …)` is entered: `sendfile` before 6.5.
#[inline(always)]
pub fn sending_page(socket: u64) -> Option<()> {
    let current = select::traced()?;
    call::begin(of_socket(socket)?, Memory::unseen(true), current)
}

/// `unix_stream_read_actor(struct sk_buff *skb, int skip, int chunk, struct unix_stream_read_state *state)` is entered.
#[inline(always)]
pub fn reading(state: u64) -> Option<()> {
    let (sock, current) = reader(state)?;
    let message = member(state, layout().read_message)?;
    call::begin(sock, iter::memory(message, false), current)
}

/// `unix_stream_splice_actor`, with the same arguments, is entered.
#[inline(always)]
pub fn splicing(state: u64) -> Option<()> {
    let (sock, current) = reader(state)?;
    call::begin(sock, Memory::unseen(false), current)
}

/// Who takes bytes out of the queue; nobody who leaves them there.
#[inline(always)]
fn reader(state: u64) -> Option<(Sock, Current)> {
    let current = select::traced()?;
    let flags: u32 = member(state, layout().read_flags)?;
    if flags as u64 & MSG_PEEK != 0 {
        return None;
    }
    Some((of_socket(member(state, layout().read_socket)?)?, current))
}

/// `unix_stream_connect(struct socket *sock, …)` is entered.
#[inline(always)]
pub fn connecting(socket: u64) -> Option<()> {
    connection::connecting(of_socket(socket)?, Current::get());
    None
}

/// `security_sock_graft(struct sock *sk, struct socket *parent)` is entered: a connection was accepted.
#[inline(always)]
pub fn accepting(sock: u64) -> Option<()> {
    connection::accepted(Sock::unix(sock)?, Current::get());
    None
}

/// `unix_release(struct socket *sock)` is entered.
#[inline(always)]
pub fn releasing(socket: u64) -> Option<()> {
    connection::closing(of_socket(socket)?, TCP_CLOSE);
    None
}

#[inline(always)]
fn of_socket(socket: u64) -> Option<Sock> {
    Sock::unix(member(socket, layout().socket_sk)?)
}
