//! One file of records: its name, and how the next record in it is found, whatever lies between.

use std::io;

use super::{
    record::{HEADER, HEADER_BYTES, Header},
    storage::Storage,
};

/// What the names of this version end with.
const SUFFIX: &str = ".spans1";
/// What is looked through at once for the next record behind damage.
const WINDOW: usize = 64 << 10;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Number of its first span.
    pub first: u64,
    /// What its records begin with.
    pub salt: u64,
    /// Its length.
    pub bytes: u64,
}

impl Segment {
    /// The segment of this name, of which nothing else is known yet; `None` for the name of something else.
    pub fn from_name(name: &str) -> Option<Self> {
        let (first, salt) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let number = |text: &str| {
            let is_plain =
                text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        Some(Self {
            first: number(first)?,
            salt: number(salt)?,
            bytes: 0,
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("{:016x}-{:016x}{SUFFIX}", self.first, self.salt)
    }

    /// The first header at `from` or behind it, and where it is; `None` if there is none up to the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find(&self, storage: &mut impl Storage, from: u64) -> io::Result<Option<(u64, Header)>> {
        let name = self.name();
        let mut header = [0; HEADER];
        let read = storage.read_at(&name, from, &mut header)?;
        if read < HEADER {
            return Ok(None);
        }
        if let Some(header) = Header::decode(&header, self.salt) {
            return Ok(Some((from, header)));
        }
        self.search(storage, &name, from.saturating_add(1))
    }

    fn search(&self, storage: &mut impl Storage, name: &str, from: u64) -> io::Result<Option<(u64, Header)>> {
        let mut window = vec![0; WINDOW];
        let mut at = from;
        loop {
            let read = storage.read_at(name, at, &mut window)?;
            let bytes = window.get(..read).unwrap_or_default();
            for (place, start) in (0_u64..).zip(bytes.windows(HEADER)) {
                // Almost no byte is the first of the salt: the checksum is seldom computed.
                let Some(start) = start.first_chunk() else {
                    continue;
                };
                if start.starts_with(&self.salt.to_le_bytes())
                    && let Some(header) = Header::decode(start, self.salt)
                {
                    return Ok(Some((at + place, header)));
                }
            }
            if read < WINDOW {
                return Ok(None);
            }
            at += (WINDOW - HEADER + 1) as u64;
        }
    }

    /// The payload of the record at `offset`; `None` if it is damaged or cut off.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn payload(
        &self,
        storage: &mut impl Storage,
        offset: u64,
        header: &Header,
    ) -> io::Result<Option<Vec<u8>>> {
        let begin = offset + HEADER_BYTES;
        let length = u64::from(header.length);
        if begin.saturating_add(length) > self.bytes {
            return Ok(None);
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
        let read = storage.read_at(&self.name(), begin, &mut payload)?;
        let is_whole = read == payload.len() && crc32fast::hash(&payload) == header.checksum;
        Ok(is_whole.then_some(payload))
    }

    /// Number behind the last span that a header tells of, and whether something stands behind that record which tells
    /// nothing: a record that was torn off.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn end(&self, storage: &mut impl Storage) -> io::Result<(u64, bool)> {
        let (mut end, mut offset) = (self.first, 0);
        while let Some((found, header)) = self.find(storage, offset)? {
            if header.first >= end {
                end = header.end();
            }
            offset = found + header.bytes();
        }
        Ok((end, offset < self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_version_are_segments() {
        let segment = Segment {
            first: 0xa410,
            salt: 0x11d0_4c7b_e2f0_9a35,
            bytes: 0,
        };
        assert_eq!(segment.name(), "000000000000a410-11d04c7be2f09a35.spans1");
        assert_eq!(Segment::from_name(&segment.name()), Some(segment));
        for name in [
            "",
            "lock",
            "position",
            "000000000000a410-11d04c7be2f09a35.spans2",
            "000000000000A410-11d04c7be2f09a35.spans1",
            "00000000000+a410-11d04c7be2f09a35.spans1",
            "a410-11d04c7be2f09a35.spans1",
            "000000000000a410.spans1",
            "000000000000a410-11d04c7be2f09a35.spans1~",
        ] {
            assert_eq!(Segment::from_name(name), None, "{name}");
        }
    }
}
