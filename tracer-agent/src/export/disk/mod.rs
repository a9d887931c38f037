//! What waits for a backend, on disk. In: encoded batches. Out: the same batches, oldest first, in this run or the next.
//! Kept true: what was appended is given out until it is settled, or it is counted under one cause.
//!
//! # On disk
//! A destination has a directory of its own:
//!
//! ```text
//! lock                                      held (flock) by the agent that uses the directory
//! position                                  which spans need not be delivered any more
//! 0000000000000000-9f3c55aa01d27be4.spans1  segments, each begins where the one before ends
//! 000000000000a410-11d04c7be2f09a35.spans1
//! ```
//!
//! Spans are numbered in the order of their coming, from 0, through all runs. A segment has no header: its name says
//! the number of its first span, its salt, and the version of this format. It is a row of records, a batch each:
//!
//! ```text
//! offset  size  little-endian
//!      0     8  salt of the segment
//!      8     8  number of the first span
//!     16     8  created, Unix milliseconds
//!     24     4  spans, 1 at least
//!     28     4  length of the payload, at most [`record::MAX_PAYLOAD`]
//!     32     4  CRC-32 of the payload
//!     36     4  CRC-32 of the 36 bytes above
//!     40        payload: an `ExportTraceServiceRequest` in protobuf
//! ```
//!
//! # Invariants
//! - `position <= number of the first record that is given out <= number of the next span`. All three only grow.
//! - Bytes that were written are never written again. A run begins a segment of its own, so what a run before has left
//!   torn stays as it is and is passed over.
//! - A record is believed if its header has the right salt and checksum and lies between what is delivered and what
//!   the next segment begins with. After one that is not, the next is looked for byte by byte; the salt is drawn at
//!   random, so no text from the wire can pose as a record.
//! - A number that no believed record has is a span that was lost: damage is counted exactly by the record after
//!   it. Only what is torn off behind the last record of all cannot be numbered; it counts as one.
//! - `position` is written before a segment is removed. It has two slots that are written in turn, so that one is
//!   whole at any moment; if neither is, delivery begins with the oldest segment, and some spans arrive twice.
//!
//! # What can be lost
//! A batch is in the page cache when [`DiskQueue::append`] returns: the end of the process, by whatever signal, loses
//! none of it. The end of the machine loses what the kernel has not written back; while something is waiting for longer,
//! segments are synchronised every [`queue::SYNC_EVERY_MS`].

pub mod clock;
pub mod position;
pub mod queue;
pub mod record;
pub mod segment;
pub mod storage;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use queue::{Bounds, DiskQueue, Lent, Losses};
pub use storage::{Folder, OpenError, Storage};
