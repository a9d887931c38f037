//! What is said on one connection end, in whichever version of HTTP it is.

use super::{context::Context, exchange::Worker, http1, http2};
use crate::{
    capture::record::{Close, Data},
    ids::BootNanos,
};

/// A connection end on which bytes passed.
#[derive(Debug)]
pub(super) struct Conversation {
    speaks: Speaks,
    /// When the last byte passed, in either direction.
    last_byte: BootNanos,
    /// A timer will look at it.
    pub has_timer: bool,
    /// Closed, and waiting for bytes that are reported late.
    pub closing: Option<Box<Close>>,
}

/// A connection begins as HTTP/1 and turns to HTTP/2 with its first frame, for good.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "each connection begins as HTTP/1, and most go on so"
)]
enum Speaks {
    Http1(http1::Conversation),
    Http2(Box<http2::Conversation>),
}

impl Conversation {
    /// With bytes that may have passed before, or not.
    pub fn new(joined_late: bool) -> Self {
        Self {
            speaks: Speaks::Http1(http1::Conversation::new(joined_late)),
            last_byte: BootNanos::default(),
            has_timer: false,
            closing: None,
        }
    }

    /// Takes the next bytes of a direction, after `lost_before` that were lost.
    pub fn bytes(&mut self, data: &Data<'_>, lost_before: u64, cx: &mut Context<'_>) {
        self.last_byte = self.last_byte.max(data.end);
        if data.marks.http2()
            && let Speaks::Http1(before) = &mut self.speaks
        {
            let upgraded = before.upgrade(cx);
            self.speaks = Speaks::Http2(Box::new(http2::Conversation::new(upgraded)));
            cx.counters.http2_connections += 1;
        }
        match &mut self.speaks {
            Speaks::Http1(conversation) => conversation.bytes(data, lost_before, cx),
            Speaks::Http2(conversation) => conversation.bytes(data, lost_before, cx),
        }
    }

    /// A task works on a stream of it.
    pub fn taken(&mut self, stream: u32, worker: Worker, cx: &mut Context<'_>) {
        match &mut self.speaks {
            // It is told before anything that is HTTP/2.
            Speaks::Http1(_) => {}
            Speaks::Http2(conversation) => conversation.taken(stream, worker, cx),
        }
    }

    /// Whether bytes of it are still to be reported, going by the totals of its close record.
    pub fn misses_bytes(&self, close: &Close) -> bool {
        match &self.speaks {
            Speaks::Http1(conversation) => conversation.misses_bytes(close),
            Speaks::Http2(conversation) => conversation.misses_bytes(close),
        }
    }

    /// Nothing is running on it.
    pub fn is_at_rest(&self) -> bool {
        match &self.speaks {
            Speaks::Http1(conversation) => conversation.is_at_rest(),
            Speaks::Http2(conversation) => conversation.is_at_rest(),
        }
    }

    /// When a request is to be given up that waits for its response to begin: so long after the last byte that could be of it.
    pub fn gives_up(&self, idle_ns: u64) -> Option<BootNanos> {
        let last = match &self.speaks {
            Speaks::Http1(conversation) => conversation.has_unanswered().then_some(self.last_byte),
            Speaks::Http2(conversation) => conversation.longest_unanswered(),
        };
        last.map(|last| last.plus(idle_ns))
    }

    /// Gives up the requests that are not answered by now.
    pub fn time_out(&mut self, now: BootNanos, cx: &mut Context<'_>) {
        match &mut self.speaks {
            Speaks::Http1(conversation) => conversation.time_out(now, cx),
            Speaks::Http2(conversation) => conversation.time_out(now, cx),
        }
    }

    /// Ends everything. Without a close record nothing is known of how.
    pub fn close(&mut self, close: Option<&Close>, cx: &mut Context<'_>) {
        match &mut self.speaks {
            Speaks::Http1(conversation) => conversation.close(close, cx),
            Speaks::Http2(conversation) => conversation.close(close, cx),
        }
    }
}
