//! The table of conversations and their timers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    ExchangeEvent, ExchangeId, ProtocolCounters, Settings,
    context::Context,
    conversation::Conversation,
    exchange::{ConnectFailure, Worker},
    http1::Spare,
};
use crate::{
    capture::record::{Close, Data, StreamTask},
    connections::{Connection, FarEnd, Passed, Step},
    ids::{BootNanos, ConnectionId, Task},
};

/// The stage. Bounded by the table of the stage before it, which says when an end is forgotten.
#[derive(Debug)]
pub struct Protocols {
    settings: Settings,
    counters: ProtocolCounters,
    // Boxed, as connections are.
    conversations: HashMap<ConnectionId, Box<Conversation>, foldhash::fast::RandomState>,
    /// When to look at a conversation; at most one idle timer and one close timer for each.
    timers: BinaryHeap<Reverse<(BootNanos, ConnectionId)>>,
    next_id: u64,
    running: usize,
    unfinished: usize,
    spare: Spare,
}

/// The surroundings of a conversation, from the fields of the stage that are not its table.
macro_rules! context {
    ($stage:ident, $connection:expr, $out:expr) => {
        Context {
            settings: &$stage.settings,
            counters: &mut $stage.counters,
            next_id: &mut $stage.next_id,
            running: &mut $stage.running,
            unfinished: &mut $stage.unfinished,
            spare: &mut $stage.spare,
            connection: $connection,
            out: $out,
        }
    };
}

impl Protocols {
    /// A stage that knows of nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            counters: ProtocolCounters::default(),
            conversations: HashMap::default(),
            timers: BinaryHeap::new(),
            next_id: 1,
            running: 0,
            unfinished: 0,
            spare: Spare::default(),
        }
    }

    /// Reads what comes from now on otherwise.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was seen and could not be told so far.
    pub fn counters(&self) -> &ProtocolCounters {
        &self.counters
    }

    /// Exchanges begun and not ended.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Takes what the stage before made of a record; what follows from it is put at the end of `out`.
    pub fn push(&mut self, step: Step<'_, '_>, out: &mut Vec<ExchangeEvent>) {
        if let Some(id) = step.evicted {
            self.end(id, None, out);
        }
        match step.passed {
            Passed::Nothing => {}
            Passed::Bytes {
                connection,
                data,
                lost_before,
            } => self.bytes(connection, &data, lost_before, out),
            Passed::Closed { connection, close } if close.failed => {
                self.connect_failed(connection, &close, out)
            }
            Passed::Closed { connection, close } => self.close(connection, close, out),
            Passed::Taken(taken) => self.taken(&taken, out),
            Passed::Made(made) => out.push(ExchangeEvent::Made(made)),
        }
    }

    /// Forgets what was said on ends where nothing runs, and which: whoever reads on there joins in the middle.
    pub fn drop_idle(&mut self) -> Vec<ConnectionId> {
        let is_idle =
            |conversation: &Conversation| conversation.is_at_rest() && conversation.closing.is_none();
        let idle: Vec<_> = self
            .conversations
            .extract_if(|_, conversation| is_idle(conversation))
            .map(|(id, _)| id)
            .collect();
        let conversations = &mut self.conversations;
        conversations.shrink_to_fit();
        self.timers
            .retain(|Reverse((_, id))| conversations.contains_key(id));
        self.counters.conversations_shed += idle.len() as u64;
        idle
    }

    /// When [`Self::tick`] next has something to do; `None` while nothing is waited for. May be early.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// Gives up what was waited for until `now`.
    pub fn tick(&mut self, now: BootNanos, out: &mut Vec<ExchangeEvent>) {
        while let Some(Reverse((due, id))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            self.look_at(id, now, out);
        }
    }

    /// Ends everything: no more records will come. Deterministic, in the order of connection ids.
    pub fn finish(&mut self, now: BootNanos, out: &mut Vec<ExchangeEvent>) {
        self.tick(now, out);
        let mut ids: Vec<_> = self.conversations.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let close = self
                .conversations
                .get(&id)
                .and_then(|conversation| conversation.closing.as_deref().copied());
            self.end(id, close.as_ref(), out);
        }
        self.timers.clear();
    }

    fn bytes(
        &mut self,
        connection: &Connection,
        data: &Data<'_>,
        lost_before: u64,
        out: &mut Vec<ExchangeEvent>,
    ) {
        let id = connection.id();
        let conversation = self
            .conversations
            .entry(id)
            .or_insert_with(|| Box::new(Conversation::new(connection.joined_late())));
        conversation.bytes(data, lost_before, &mut context!(self, Some(connection), out));
        if let Some(close) = conversation.closing.as_deref().copied()
            && !conversation.misses_bytes(&close)
        {
            self.end(id, Some(&close), out);
        } else if !conversation.has_timer
            && let Some(due) = conversation.gives_up(self.settings.idle_ns)
        {
            conversation.has_timer = true;
            self.timers.push(Reverse((due, id)));
        }
    }

    fn taken(&mut self, taken: &StreamTask, out: &mut Vec<ExchangeEvent>) {
        let worker = Worker::of(taken);
        match taken.stream {
            None => out.push(ExchangeEvent::Calls(worker)),
            Some((id, stream)) => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.taken(stream, worker, &mut context!(self, None, out));
                }
            }
        }
    }

    fn close(&mut self, connection: &Connection, close: Close, out: &mut Vec<ExchangeEvent>) {
        let id = connection.id();
        let conversation = match self.conversations.get_mut(&id) {
            Some(conversation) => conversation,
            None if close.received == 0 && close.sent == 0 => return,
            None => self
                .conversations
                .entry(id)
                .or_insert_with(|| Box::new(Conversation::new(connection.joined_late()))),
        };
        let errors_may_overtake = close.errno.is_some() && !conversation.is_at_rest();
        if conversation.misses_bytes(&close) || errors_may_overtake {
            conversation.closing = Some(Box::new(close));
            self.timers
                .push(Reverse((close.at.plus(self.settings.close_grace_ns), id)));
        } else {
            self.end(id, Some(&close), out);
        }
    }

    fn connect_failed(&mut self, connection: &Connection, close: &Close, out: &mut Vec<ExchangeEvent>) {
        self.conversations.remove(&close.connection);
        let Some(open) = connection.open().filter(|open| !open.own) else {
            return;
        };
        if connection.far_end() == FarEnd::Own {
            return;
        }
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        self.counters.connects_failed += 1;
        out.push(ExchangeEvent::ConnectFailed(Box::new(ConnectFailure {
            id,
            connection: close.connection,
            task: Task::thread(open.pid, open.tid),
            peer: open.peer,
            start: open.start,
            end: close.at,
            errno: close.errno.unwrap_or_default(),
            rule: None,
        })));
    }

    fn look_at(&mut self, id: ConnectionId, now: BootNanos, out: &mut Vec<ExchangeEvent>) {
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return;
        };
        if let Some(close) = conversation.closing.as_deref().copied()
            && close.at.plus(self.settings.close_grace_ns) <= now
        {
            self.end(id, Some(&close), out);
            return;
        }
        conversation.has_timer = false;
        let Some(due) = conversation.gives_up(self.settings.idle_ns) else {
            return;
        };
        if due <= now {
            conversation.time_out(due, &mut context!(self, None, out));
        }
        if let Some(due) = conversation.gives_up(self.settings.idle_ns) {
            conversation.has_timer = true;
            self.timers.push(Reverse((due, id)));
        }
    }

    fn end(&mut self, id: ConnectionId, close: Option<&Close>, out: &mut Vec<ExchangeEvent>) {
        if let Some(mut conversation) = self.conversations.remove(&id) {
            conversation.close(close, &mut context!(self, None, out));
        }
    }
}
