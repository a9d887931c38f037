//! HPACK (RFC 7541), as one who only listens reads it. In: the header blocks of one direction of a connection. Out: their
//! fields. Kept true: a name or a value that is given is the one that was sent; what cannot be known is absent.
//!
//! A block refers to what blocks before it have put into the dynamic table. Who comes late, or misses a block, has not
//! seen all of that. But new entries always come in at the front and are counted from there, so each entry that was seen
//! to come in since can be told from its index, whatever is behind it, and the table heals as the peer goes on.

mod code;
mod decoder;
mod huffman;
mod malformed;
mod primitives;
mod static_table;
mod table;
#[cfg(test)]
pub(crate) mod tests;

pub use decoder::{Decoder, Field};
pub use malformed::Malformed;
// For what must keep a block as it is and change what it says.
pub(crate) use code::{code_len, encode_over};
pub(crate) use decoder::{FIRST_DYNAMIC, Representation};
#[cfg(any(test, fuzzing))]
pub(crate) use huffman::SYMBOLS;
pub(crate) use huffman::{decode, symbol};
pub(crate) use primitives::{Integer, Read};
#[cfg(any(test, fuzzing))]
pub(crate) use static_table::ENTRIES;
pub(crate) use static_table::entry;
pub(crate) use table::{MAX_KEPT, OVERHEAD};
