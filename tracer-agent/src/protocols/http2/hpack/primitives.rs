//! Integers and strings, RFC 7541 §5.

use std::ops::Range;

use super::{huffman, malformed::Malformed};

/// An integer's first byte is followed by at most this many: enough for 32 bits.
const MAX_CONTINUATION: u32 = 5;

/// An integer of which more is to come (§5.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    value: u64,
    /// How many bytes have followed the first.
    place: u32,
}

/// An integer up to now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read {
    Whole(usize),
    More(Integer),
}

impl Integer {
    /// Begins in the lower `prefix` bits (1 to 8) of a byte.
    pub fn begin(first: u8, prefix: u32) -> Read {
        let full = u8::MAX >> (8 - prefix);
        match first & full {
            value if value == full => Read::More(Self {
                value: u64::from(value),
                place: 0,
            }),
            value => Read::Whole(usize::from(value)),
        }
    }

    /// Takes the next byte. What does not fit into 32 bits is refused.
    pub fn go_on(mut self, byte: u8) -> Result<Read, Malformed> {
        self.value += u64::from(byte & 0x7f) << (7 * self.place);
        if byte & 0x80 == 0 {
            let value = u32::try_from(self.value).map_err(|_| Malformed::Integer)?;
            return usize::try_from(value)
                .map(Read::Whole)
                .map_err(|_| Malformed::Integer);
        }
        self.place += 1;
        if self.place == MAX_CONTINUATION {
            return Err(Malformed::Integer);
        }
        Ok(Read::More(self))
    }
}

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
        let mut read = Integer::begin(self.byte()?, prefix);
        loop {
            match read {
                Read::Whole(value) => return Ok(value),
                Read::More(integer) => read = integer.go_on(self.byte()?)?,
            }
        }
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
