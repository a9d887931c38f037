//! HTTP/2 (RFC 9113) on one connection end: frames in, exchanges out. In: what the kernel side captured of each direction. Out:
//! the same events as of HTTP/1, one exchange a stream. Kept true: a field that is not known is absent, and its exchange says so.
//!
//! - A stream whose response ends is over, even when its request is still on its way; so is one that either end resets.
//! - After a loss all streams that are running are incomplete, and fields of later ones may be unknown until the peer sends
//!   them anew ([`hpack`]).
//! - A request waits for its response so long after the last byte of its own stream.

mod conversation;
mod frames;
mod head;
pub mod hpack;
mod streams;
#[cfg(test)]
pub(crate) mod tests;

pub(super) use conversation::Conversation;
