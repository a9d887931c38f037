//! Integers and strings, RFC 7541 §5.

use std::ops::Range;

use super::{huffman, malformed::Malformed};

/// An integer's first byte is followed by at most this many: enough for 32 bits.
const MAX_CONTINUATION: u32 = 5;

/// What is left of a header block.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

/// A string: a part of the block, or of the text that was decoded from it.
pub(super) enum Text<'a> {
    Plain(&'a [u8]),
    Decoded(Range<usize>),
}

impl<'a> Input<'a> {
    pub fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// An integer that begins in the lower `prefix` bits (1 to 8) of the next byte (§5.1). It fits into 32 bits.
    pub fn integer(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let full = u64::from(u8::MAX) >> (8 - prefix);
        let mut value = u64::from(self.byte()?) & full;
        if value == full {
            let mut place = 0;
            loop {
                let byte = self.byte()?;
                value += u64::from(byte & 0x7f) << (7 * place);
                if byte & 0x80 == 0 {
                    break;
                }
                place += 1;
                if place == MAX_CONTINUATION {
                    return Err(Malformed::Integer);
                }
            }
        }
        let value = u32::try_from(value).map_err(|_| Malformed::Integer)?;
        usize::try_from(value).map_err(|_| Malformed::Integer)
    }

    /// A string (§5.2). Huffman code is appended to `decoded`, and refused where that is more than `limit` bytes.
    pub fn string(&mut self, limit: usize, decoded: &mut Vec<u8>) -> Result<Text<'a>, Malformed> {
        let is_coded = self.peek().ok_or(Malformed::Cut)? & 0x80 != 0;
        let len = self.integer(7)?;
        let (string, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Cut)?;
        self.rest = rest;
        if !is_coded {
            return Ok(Text::Plain(string));
        }
        let start = decoded.len();
        huffman::decode(string, limit, decoded)?;
        Ok(Text::Decoded(start..decoded.len()))
    }
}

impl<'a> Text<'a> {
    /// Its bytes, where `decoded` is what it was decoded to.
    pub fn bytes<'b>(&self, decoded: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Decoded(range) => decoded.get(range.clone()).unwrap_or_default(),
        }
    }
}
