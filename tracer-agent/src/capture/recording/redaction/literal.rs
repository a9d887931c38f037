//! Where a string of a header block stands (RFC 7541 §5.2).

use crate::protocols::http2::hpack::{Integer, Malformed, Read};

/// The bit before the length of a string that says that it is in Huffman code.
pub(super) const CODED: u8 = 0x80;

/// Where a string is that is whole, and what it is.
pub(super) struct Literal {
    pub is_coded: bool,
    pub start: usize,
    pub len: usize,
}

impl Literal {
    /// The string that begins here; `None` if it goes on in another piece.
    pub fn find(piece: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some((first, mut rest)) = piece.split_first() else {
            return Ok(None);
        };
        let mut length = Integer::begin(*first, 7);
        let len = loop {
            match length {
                Read::Whole(len) => break len,
                Read::More(integer) => {
                    let Some((byte, after)) = rest.split_first() else {
                        return Ok(None);
                    };
                    length = integer.go_on(*byte)?;
                    rest = after;
                }
            }
        };
        Ok((len <= rest.len()).then(|| Self {
            is_coded: first & CODED != 0,
            start: piece.len().saturating_sub(rest.len()),
            len,
        }))
    }
}
