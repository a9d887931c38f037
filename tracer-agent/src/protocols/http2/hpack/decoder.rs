//! Reads header blocks, RFC 7541 §3 and §6.

use std::fmt;

use super::{
    malformed::Malformed,
    primitives::Input,
    static_table,
    table::{Entry, Known, OVERHEAD, Table},
};

/// The first index of the dynamic table.
pub(crate) const FIRST_DYNAMIC: usize = static_table::ENTRIES.len() + 1;
/// The fields of a block are read up to this size, in the count of RFC 9113 §6.5.2 (32 beside the bytes of each): so they are at
/// most 8,192, and what a few bytes can ask for by index is bounded.
const MAX_FIELDS_SIZE: usize = 262_144;

/// Decodes the header blocks of one direction of a connection: all of them, in the order of the wire, whatever stream and
/// kind of frame they belong to, for all share the table (RFC 9113 §4.3).
///
/// It takes no memory beside itself (64 bytes) while the peer's table is empty, and at most about twice the 64 KiB that
/// are kept of it.
pub struct Decoder {
    table: Table,
}

/// A field of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As it was sent, which should be in lower case; `None` if it stands in a part of the table that is not known.
    pub name: Option<&'a [u8]>,
    /// `None` if it stands in a part of the table that is not known.
    pub value: Option<&'a [u8]>,
    /// The sender wants it in no table on its way, so it may be a secret (RFC 7541 §7.1.3).
    pub never_indexed: bool,
}

/// How a field is said, by the upper bits of its first byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Representation {
    /// §6.1
    Indexed,
    /// §6.2.1
    Incremental,
    /// §6.3; not a field.
    SizeUpdate,
    /// §6.2.3
    NeverIndexed,
    /// §6.2.2
    WithoutIndexing,
}

impl fmt::Debug for Decoder {
    /// The table holds what peers have said, secrets too.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// Of a connection whose first block comes next, or one that was there before: then what is in its table is not known, nor
    /// how large that may be.
    pub fn new(joined_late: bool) -> Self {
        let table = if joined_late {
            Table::unknown()
        } else {
            Table::new()
        };
        Self { table }
    }

    /// A block was missed, or a part of one. What is in the table now is not known any more.
    pub fn lose(&mut self) {
        self.table = Table::unknown();
    }

    /// Reads a whole block, the fragments of its frames put together, and gives its fields in order.
    ///
    /// After an error the table is not known, as after [`Self::lose`]. The fields that were given before it count for nothing, unless
    /// the block is known to be cut: then they are right, and [`Self::lose`] must be called also if there was no error.
    pub fn block(&mut self, block: &[u8], each: impl FnMut(Field<'_>)) -> Result<(), Malformed> {
        let read = self.read(block, each);
        if read.is_err() {
            self.lose();
        }
        read
    }

    fn read(&mut self, block: &[u8], mut each: impl FnMut(Field<'_>)) -> Result<(), Malformed> {
        let mut input = Input::new(block);
        let mut decoded = Vec::new();
        let mut room = MAX_FIELDS_SIZE;
        let mut fields = 0_u32;
        while let Some(first) = input.peek() {
            let representation = Representation::of(first);
            let index = input.integer(representation.prefix())?;
            if representation == Representation::SizeUpdate {
                if fields > 0 {
                    return Err(Malformed::SizeUpdate);
                }
                self.table.resize(index);
                continue;
            }
            fields += 1;
            if representation == Representation::Indexed {
                let (name, value) = self.find(index)?;
                let field = Field {
                    name,
                    value,
                    never_indexed: false,
                };
                room = room.checked_sub(field.size()).ok_or(Malformed::TooLarge)?;
                each(field);
                continue;
            }
            decoded.clear();
            let literal_name = match index {
                0 => Some(input.string(room, &mut decoded)?),
                _ => None,
            };
            let value = input.string(room, &mut decoded)?;
            let name = match literal_name {
                Some(name) => Some(name.bytes(&decoded)),
                None => self.find(index)?.0,
            };
            let value = value.bytes(&decoded);
            let field = Field {
                name,
                value: Some(value),
                never_indexed: representation == Representation::NeverIndexed,
            };
            room = room.checked_sub(field.size()).ok_or(Malformed::TooLarge)?;
            each(field);
            if representation == Representation::Incremental {
                let entry = Entry::new(name, value);
                self.table.insert(entry);
            }
        }
        Ok(())
    }

    /// What stands at an index of both tables (§2.3.3).
    fn find(&self, index: usize) -> Result<Known<'_>, Malformed> {
        if let Some((name, value)) = static_table::entry(index) {
            return Ok((Some(name), Some(value)));
        }
        let place = index.checked_sub(FIRST_DYNAMIC).ok_or(Malformed::Index)?;
        self.table.get(place)
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}

impl Field<'_> {
    /// RFC 9113 §6.5.2, at least.
    fn size(&self) -> usize {
        let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        len(self.name) + len(self.value) + OVERHEAD
    }
}

impl Representation {
    pub(crate) fn of(first: u8) -> Self {
        match first {
            0x80.. => Self::Indexed,
            0x40.. => Self::Incremental,
            0x20.. => Self::SizeUpdate,
            0x10.. => Self::NeverIndexed,
            _ => Self::WithoutIndexing,
        }
    }

    /// How many bits of the first byte begin its integer.
    pub(crate) fn prefix(self) -> u32 {
        match self {
            Self::Indexed => 7,
            Self::Incremental => 6,
            Self::SizeUpdate => 5,
            Self::NeverIndexed | Self::WithoutIndexing => 4,
        }
    }
}
