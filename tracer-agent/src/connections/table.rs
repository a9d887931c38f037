//! The bounded table of connection ends.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::{connection::Connection, counters::ConnectionCounters, ends::Ends};
use crate::{
    capture::record::{Close, CoroutineMade, Data, Open, Record, StreamTask},
    ids::{BootNanos, ConnectionId},
};

/// Bounds of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connection ends remembered, closed ones included; at least 1.
    pub connections: usize,
    /// How long a closed end is remembered.
    pub linger_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            linger_ns: 2_000_000_000,
        }
    }
}

/// What one record means to the next stage.
#[derive(Debug)]
pub struct Step<'t, 'r> {
    /// An end that is no longer followed, though it was not closed: what is held of it ends now.
    pub evicted: Option<ConnectionId>,
    /// What the record itself says.
    pub passed: Passed<'t, 'r>,
}

/// What happened on a connection end.
#[derive(Debug)]
pub enum Passed<'t, 'r> {
    /// Nothing that concerns messages.
    Nothing,
    /// Bytes passed.
    Bytes {
        /// The end they passed at.
        connection: &'t Connection,
        /// The bytes.
        data: Data<'r>,
        /// Bytes of the same direction lost directly before them.
        lost_before: u64,
    },
    /// The end was closed, or its `connect` failed.
    Closed {
        /// The end.
        connection: &'t Connection,
        /// Its close record.
        close: Close,
    },
    /// A task works on a stream of it.
    Taken(StreamTask),
    /// A coroutine has made another.
    Made(CoroutineMade),
}

/// The connection ends of this host that are open, or were lately.
#[derive(Debug)]
pub struct Connections {
    limits: Limits,
    // Boxed: a table of them would be half empty after it has grown, and twice as large while it grows.
    table: HashMap<ConnectionId, Box<Connection>, foldhash::fast::RandomState>,
    ends: Ends,
    /// Every id of the table once, and ids that have left it.
    by_age: VecDeque<ConnectionId>,
    closed: VecDeque<(BootNanos, ConnectionId)>,
    counters: ConnectionCounters,
}

impl Connections {
    /// A table with nothing in it.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            table: HashMap::default(),
            ends: Ends::default(),
            by_age: VecDeque::new(),
            closed: VecDeque::new(),
            counters: ConnectionCounters::default(),
        }
    }

    /// What could not be followed so far.
    pub fn counters(&self) -> &ConnectionCounters {
        &self.counters
    }

    /// Number of ends remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no end is remembered.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What was said on an end is forgotten: it is joined in the middle.
    pub fn rejoin(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(&id) {
            connection.rejoin();
        }
    }

    /// A table with the ends that are open and whose addresses are known, each to be joined in the middle. It counts from 0.
    #[must_use]
    pub fn rejoined(mut self) -> Self {
        let mut renewed = Self::new(self.limits);
        for id in self.by_age {
            let Some(mut connection) = self.table.remove(&id).filter(|known| !known.closed) else {
                continue;
            };
            if let Some(open) = connection.open() {
                renewed.ends.insert(open);
                connection.rejoin();
                renewed.insert(connection);
            }
        }
        renewed
    }

    /// Takes the next record.
    pub fn apply<'r>(&mut self, record: &Record<'r>) -> Step<'_, 'r> {
        match record {
            Record::Open(open) => Step {
                evicted: self.open(open),
                passed: Passed::Nothing,
            },
            Record::Data(data) => self.data(*data),
            Record::Close(close) => self.close(*close),
            Record::Process(_) => Step {
                evicted: None,
                passed: Passed::Nothing,
            },
            Record::Stream(taken) => Step {
                evicted: None,
                passed: Passed::Taken(*taken),
            },
            Record::Coroutine(made) => Step {
                evicted: None,
                passed: Passed::Made(*made),
            },
        }
    }

    fn open(&mut self, open: &Open) -> Option<ConnectionId> {
        self.counters.opened += 1;
        self.counters.own += u64::from(open.own);
        self.forget_closed(open.start);
        if let Some(connection) = self.table.get_mut(&open.connection) {
            // Its data overtook it.
            if let Some(before) = connection.open() {
                self.ends.remove(before);
            }
            connection.set_open(open.clone());
            self.ends.insert(open);
            return None;
        }
        self.ends.insert(open);
        self.insert(Box::new(Connection::new(open.connection, Some(open.clone()))))
    }

    fn data<'r>(&mut self, data: Data<'r>) -> Step<'_, 'r> {
        let mut evicted = None;
        if !self.table.contains_key(&data.connection) {
            self.counters.open_lost += 1;
            evicted = self.insert(Box::new(Connection::new(data.connection, None)));
        }
        let passed = self.advance(data);
        Step { evicted, passed }
    }

    fn advance<'r>(&mut self, data: Data<'r>) -> Passed<'_, 'r> {
        let Some(connection) = self.table.get_mut(&data.connection) else {
            return Passed::Nothing;
        };
        connection.recently_used = true;
        let Some(lost_before) = connection.advance(&data) else {
            self.counters.overlapping_records += 1;
            return Passed::Nothing;
        };
        // Offsets come from a recording too, where they can be anything.
        self.counters.lost_bytes = self.counters.lost_bytes.saturating_add(lost_before);
        if data.marks.head_start() || data.marks.head_end() {
            connection.look_for_far_end(&self.ends);
        }
        Passed::Bytes {
            connection,
            data,
            lost_before,
        }
    }

    fn close<'r>(&mut self, close: Close) -> Step<'_, 'r> {
        self.forget_closed(close.at);
        let passed = match self.table.get_mut(&close.connection) {
            Some(connection) => {
                if !connection.closed {
                    connection.closed = true;
                    self.closed.push_back((close.at, close.connection));
                }
                Passed::Closed { connection, close }
            }
            None => Passed::Nothing,
        };
        Step {
            evicted: None,
            passed,
        }
    }

    fn insert(&mut self, connection: Box<Connection>) -> Option<ConnectionId> {
        let evicted = if self.table.len() >= self.limits.connections {
            self.evict()
        } else {
            None
        };
        self.by_age.push_back(connection.id());
        if let Entry::Vacant(place) = self.table.entry(connection.id()) {
            place.insert(connection);
        }
        evicted
    }

    /// Makes room: the oldest closed end, else the oldest that was not used since the last look.
    fn evict(&mut self) -> Option<ConnectionId> {
        if let Some((_, id)) = self.closed.pop_front() {
            self.forget(id);
            // Its conversation may still wait for late bytes.
            return Some(id);
        }
        loop {
            let id = self.by_age.pop_front()?;
            let Some(connection) = self.table.get_mut(&id) else {
                continue;
            };
            if std::mem::take(&mut connection.recently_used) {
                self.by_age.push_back(id);
                continue;
            }
            self.counters.evicted += 1;
            self.forget(id);
            return Some(id);
        }
    }

    fn forget_closed(&mut self, now: BootNanos) {
        while let Some((at, id)) = self.closed.front().copied() {
            if now.since(at) < self.limits.linger_ns {
                break;
            }
            self.closed.pop_front();
            self.forget(id);
        }
        // Ids that left the table are dropped once they are the larger part.
        if self.by_age.len() > 64 && self.by_age.len() / 2 > self.table.len() {
            let table = &self.table;
            self.by_age.retain(|id| table.contains_key(id));
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        if let Some(forgotten) = self.table.remove(&id)
            && let Some(open) = forgotten.open()
        {
            self.ends.remove(open);
        }
    }
}
