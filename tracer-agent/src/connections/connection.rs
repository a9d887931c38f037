//! One end of a connection, as far as it is known.

use super::ends::Ends;
use crate::{
    capture::record::{Data, Direction, Open},
    ids::{ConnectionId, StreamOffset},
};

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    id: ConnectionId,
    open: Option<Open>,
    far_end: FarEnd,
    /// What [`super::ends::Ends::added`] was when the other end was last looked for.
    looked_at: u64,
    received: Option<StreamOffset>,
    sent: Option<StreamOffset>,
    pub(super) closed: bool,
    /// Used since the table last looked for something to evict.
    pub(super) recently_used: bool,
}

/// What is known of the other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FarEnd {
    /// The agent traces it too.
    Traced,
    /// It is one of the agent's own sockets.
    Own,
    /// It was not seen so far, and may yet be: this end was joined in the middle, or the peer's address is one
    /// of this host.
    Maybe,
    /// It was not seen, and nothing says that it could be.
    #[default]
    Untraced,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, open: Option<Open>) -> Self {
        Self {
            id,
            open,
            far_end: FarEnd::default(),
            looked_at: 0,
            received: None,
            sent: None,
            closed: false,
            recently_used: false,
        }
    }

    /// Its id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Its open record; `None` when that was lost.
    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// What is known of its other end, as of the last head that began or ended on it.
    pub fn far_end(&self) -> FarEnd {
        self.far_end
    }

    /// Bytes may have passed before it was first seen.
    pub fn joined_late(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.mid_stream)
    }

    /// What was said on it is forgotten, its place in it too: whoever reads on begins in the middle. The last byte that passed is
    /// as good as lost, which says so.
    pub(super) fn rejoin(&mut self) {
        let passed = [&mut self.received, &mut self.sent];
        let mut has_begun = false;
        for next in passed.into_iter().flatten().filter(|next| next.0 > 0) {
            next.0 -= 1;
            has_begun = true;
        }
        if let Some(open) = self.open.as_mut().filter(|_| has_begun) {
            open.mid_stream = true;
        }
    }

    pub(super) fn set_open(&mut self, open: Open) {
        self.open = Some(open);
    }

    /// Looks for its other end, if that can have become known since the last look.
    pub(super) fn look_for_far_end(&mut self, ends: &Ends) {
        let Some(open) = &self.open else { return };
        if self.far_end != FarEnd::Traced && self.looked_at != ends.added() {
            self.far_end = ends.opposite(open);
            self.looked_at = ends.added();
        }
    }

    /// Moves on past these bytes. Gives the number of bytes lost before them, or `None` when they were passed
    /// already.
    pub(super) fn advance(&mut self, data: &Data<'_>) -> Option<u64> {
        let open_lost = self.open.is_none();
        let next = match data.direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        };
        // Without an open record it is not known what came first, so that nothing can be said to be lost.
        let expected = next.unwrap_or(if open_lost {
            data.offset
        } else {
            StreamOffset::default()
        });
        let lost = data.offset.0.checked_sub(expected.0)?;
        *next = Some(StreamOffset(data.offset.0.saturating_add(data.len)));
        Some(lost)
    }
}
