//! What the flags of a receiving or sending call say about the stream.

const MSG_OOB: u64 = 0x1;
pub const MSG_PEEK: u64 = 0x2;
const MSG_TRUNC: u64 = 0x20;
const MSG_ERRQUEUE: u64 = 0x2000;

/// What a call does to the stream.
pub enum Move {
    /// The stream stays where it is.
    Nothing,
    /// Bytes pass through the memory of the call.
    Bytes,
    /// Bytes are taken from the stream and thrown away: so TCP reads `MSG_TRUNC`.
    Discarded,
}

/// What a call with these flags does.
#[inline(always)]
pub fn moves(sent: bool, flags: u64) -> Move {
    if flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) != 0 {
        Move::Nothing
    } else if !sent && flags & MSG_TRUNC != 0 {
        Move::Discarded
    } else {
        Move::Bytes
    }
}
