//! HTTP/1.x on one connection end: pieces of messages in, exchanges out.
//!
//! The kernel side frames the messages; here heads are put together and parsed, requests are paired with
//! responses, and losses are kept from spreading. What is decided where:
//!
//! - An early response ends its exchange, even when the request's body is still on its way; the size of that
//!   body is then not known.
//! - A response to a request that was given up as unanswered is counted, and keeps the pairing right.
//! - At a close, a response without Content-Length and chunks is whole if the close was orderly.
//! - At the end of the run, and on eviction, running exchanges end as incomplete, without a failure, with the
//!   last byte that was seen of them.

mod close;
mod conversation;
mod ending;
mod head;
mod lenient;
mod message;
mod pairing;
mod placing;
mod stream;

pub(super) use close::{Upgraded, UpgradedRequest};
pub(super) use conversation::Conversation;
pub(super) use pairing::Spare;

#[cfg(test)]
mod tests;
