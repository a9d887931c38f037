//! What a conversation needs from around it while it takes a record.

use super::{ExchangeEvent, ExchangeId, ProtocolCounters, Settings, http1::Spare};
use crate::connections::Connection;

/// The surroundings of one conversation.
pub(super) struct Context<'a> {
    pub settings: &'a Settings,
    pub counters: &'a mut ProtocolCounters,
    /// The id of the next exchange.
    pub next_id: &'a mut u64,
    /// Exchanges begun and not ended, of all connections.
    pub running: &'a mut usize,
    /// Bytes of unfinished heads that are kept, of all connections.
    pub unfinished: &'a mut usize,
    /// What connections of HTTP/1 leave to each other.
    pub spare: &'a mut Spare,
    /// The connection end; `None` when no record of it is at hand, and then no exchange begins.
    pub connection: Option<&'a Connection>,
    pub out: &'a mut Vec<ExchangeEvent>,
}

impl Context<'_> {
    pub(super) fn take_id(&mut self) -> ExchangeId {
        let id = ExchangeId(*self.next_id);
        *self.next_id += 1;
        id
    }
}
