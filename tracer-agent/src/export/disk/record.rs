//! The head of a record: the bytes that [`super`] states.

/// Bytes of a header.
pub const HEADER: usize = 40;
/// [`HEADER`] as a length in a file.
pub const HEADER_BYTES: u64 = HEADER as u64;
/// The longest payload. Batches are cut at an eighth of it, so that only a single span could come near.
pub const MAX_PAYLOAD: u32 = 16 << 20;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the first span.
    pub first: u64,
    /// Unix milliseconds when the batch was made.
    pub created_ms: u64,
    /// Spans of the batch, 1 at least.
    pub spans: u32,
    /// Bytes of the payload, at most [`MAX_PAYLOAD`].
    pub length: u32,
    /// CRC-32 of the payload.
    pub checksum: u32,
}

impl Header {
    /// The bytes, in a segment of this salt.
    pub fn encode(&self, salt: u64) -> [u8; HEADER] {
        let mut fields = [0; HEADER - 4];
        let parts: [&[u8]; 6] = [
            &salt.to_le_bytes(),
            &self.first.to_le_bytes(),
            &self.created_ms.to_le_bytes(),
            &self.spans.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.checksum.to_le_bytes(),
        ];
        for (byte, from) in fields.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *from;
        }
        let mut bytes = [0; HEADER];
        let checksum = crc32fast::hash(&fields).to_le_bytes();
        for (byte, from) in bytes.iter_mut().zip(fields.iter().chain(&checksum)) {
            *byte = *from;
        }
        bytes
    }

    /// Reads a header; `None` if it is none of this segment's, or damaged.
    pub fn decode(bytes: &[u8; HEADER], salt: u64) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk::<{ HEADER - 4 }>()?;
        if take_u64(fields, 0)? != salt || take_u32(rest, 0)? != crc32fast::hash(fields) {
            return None;
        }
        let header = Self {
            first: take_u64(fields, 8)?,
            created_ms: take_u64(fields, 16)?,
            spans: take_u32(fields, 24)?,
            length: take_u32(fields, 28)?,
            checksum: take_u32(fields, 32)?,
        };
        let is_sound = header.spans > 0 && header.length <= MAX_PAYLOAD && header.checked_end().is_some();
        is_sound.then_some(header)
    }

    /// Number behind the last span.
    pub fn end(&self) -> u64 {
        self.checked_end().unwrap_or(u64::MAX)
    }

    /// Bytes of the whole record.
    pub fn bytes(&self) -> u64 {
        HEADER_BYTES + u64::from(self.length)
    }

    fn checked_end(&self) -> Option<u64> {
        self.first.checked_add(self.spans.into())
    }
}

fn take_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn take_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x9f3c_55aa_01d2_7be4;

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_other_byte_is_taken() {
        let header = Header {
            first: 42_000,
            created_ms: 1_700_000_000_000,
            spans: 1_024,
            length: 700_000,
            checksum: 0xdead_beef,
        };
        let bytes = header.encode(SALT);
        assert_eq!(Header::decode(&bytes, SALT), Some(header));
        assert_eq!(Header::decode(&bytes, SALT + 1), None);
        for place in 0..HEADER {
            for bit in 0..8 {
                let mut damaged = bytes;
                damaged[place] ^= 1 << bit;
                assert_eq!(Header::decode(&damaged, SALT), None, "byte {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_not_believed_even_with_the_right_checksum() {
        let sound = Header {
            first: 0,
            created_ms: 0,
            spans: 1,
            length: MAX_PAYLOAD,
            checksum: 0,
        };
        assert!(Header::decode(&sound.encode(SALT), SALT).is_some());
        for header in [
            Header { spans: 0, ..sound },
            Header {
                length: MAX_PAYLOAD + 1,
                ..sound
            },
            Header {
                first: u64::MAX,
                ..sound
            },
        ] {
            assert_eq!(Header::decode(&header.encode(SALT), SALT), None, "{header:?}");
        }
    }
}
