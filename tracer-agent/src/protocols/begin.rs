//! The beginning of an exchange, in any version of HTTP.

use super::{
    context::Context,
    exchange::{Cover, Exchange, ExchangeEvent, ExchangeId, OtherEnd, Request, Side, WireContext},
};
use crate::{
    capture::record::{Direction, Open},
    connections::{Connection, FarEnd},
    ids::{BootNanos, Coroutine, Maker, Moment, Task},
};

/// A request that was seen: see [`Exchange`] for what is not said here.
pub(super) struct Begins {
    pub direction: Direction,
    pub start: BootNanos,
    pub head_end: BootNanos,
    pub seq: u32,
    pub cover: Cover,
    pub task: Task,
    pub maker: Option<Maker>,
    pub coroutine: Option<Coroutine>,
    pub handed: bool,
    pub multiplexed: bool,
    pub moment: Option<Moment>,
    pub request: Request,
    pub context: WireContext,
    pub unseen: bool,
    pub incomplete: bool,
}

/// The open record of the connection end of which something is told, where there is one.
pub(super) fn open<'a>(cx: &Context<'a>) -> Option<&'a Open> {
    cx.connection.and_then(Connection::open)
}

/// Begins an exchange, if one is to be made of this request.
pub(super) fn begin(begins: Begins, cx: &mut Context<'_>) -> Option<ExchangeId> {
    let Some((connection, open)) = cx.connection.zip(open(cx)) else {
        cx.counters.requests_of_unknown_connection += 1;
        return None;
    };
    let other_end = match connection.far_end() {
        FarEnd::Own => {
            cx.counters.requests_of_agent += 1;
            return None;
        }
        // Nothing tells which exchange of the other end it is.
        _ if begins.cover == Cover::Apart => OtherEnd::Untraced,
        FarEnd::Traced => OtherEnd::Traced,
        FarEnd::Maybe => OtherEnd::Maybe,
        FarEnd::Untraced => OtherEnd::Untraced,
    };
    if *cx.running >= cx.settings.exchanges {
        cx.counters.requests_over_bound += 1;
        return None;
    }
    let id = cx.take_id();
    *cx.running += 1;
    cx.counters.exchanges += 1;
    cx.out.push(ExchangeEvent::Begun(Box::new(Exchange {
        id,
        side: match begins.direction {
            Direction::Received => Side::Inbound,
            Direction::Sent => Side::Outbound,
        },
        connection: connection.id(),
        local: open.local,
        peer: open.peer,
        path: open.path.clone(),
        netns: open.netns,
        request_seq: begins.seq,
        cover: begins.cover,
        start: begins.start,
        task: begins.task,
        maker: begins.maker,
        coroutine: begins.coroutine,
        handed: begins.handed,
        multiplexed: begins.multiplexed,
        moment: begins.moment,
        head_end: begins.head_end,
        request: begins.request,
        context: begins.context,
        other_end,
        unseen: begins.unseen,
        incomplete: begins.incomplete,
        rule: None,
    })));
    Some(id)
}
