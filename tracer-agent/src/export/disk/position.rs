//! Which spans need not be delivered any more: one number, in two slots of a file that are written in turn.

use std::io;

use super::storage::Storage;

/// The name of the file.
pub const NAME: &str = "position";
/// Bytes of a slot: the number, its CRC-32, four bytes of nothing.
const SLOT: usize = 16;

/// The file as it is.
#[derive(Debug)]
pub struct Position {
    /// The slot that is written next: never that of the greater number.
    next_slot: bool,
}

impl Position {
    /// Reads the file. The number is `None` if there is none that can be believed.
    pub fn read(storage: &mut impl Storage) -> (Self, Option<u64>) {
        let [first, second] = [0, SLOT as u64].map(|offset| {
            let mut slot = [0; SLOT];
            let read = storage.read_at(NAME, offset, &mut slot).ok()?;
            (read == SLOT).then(|| decode(&slot)).flatten()
        });
        // `None` is less than any number.
        let next_slot = first >= second && first.is_some();
        (Self { next_slot }, first.max(second))
    }

    /// Writes the number, which is no less than the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is still there then.
    pub fn write(&mut self, storage: &mut impl Storage, number: u64) -> io::Result<()> {
        let offset = if self.next_slot { SLOT as u64 } else { 0 };
        storage.write_at(NAME, offset, &encode(number))?;
        self.next_slot = !self.next_slot;
        Ok(())
    }
}

fn encode(number: u64) -> [u8; SLOT] {
    let number = number.to_le_bytes();
    let checksum = crc32fast::hash(&number).to_le_bytes();
    let mut slot = [0; SLOT];
    for (byte, from) in slot.iter_mut().zip(number.iter().chain(&checksum)) {
        *byte = *from;
    }
    slot
}

fn decode(slot: &[u8; SLOT]) -> Option<u64> {
    let (number, rest) = slot.split_first_chunk::<8>()?;
    let (checksum, padding) = rest.split_first_chunk::<4>()?;
    let is_sound = u32::from_le_bytes(*checksum) == crc32fast::hash(number) && padding == [0; 4];
    is_sound.then(|| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::disk::tests::Memory;

    #[test]
    fn whatever_happens_to_one_slot_the_other_still_says_where_delivery_was() {
        let mut storage = Memory::default();
        let (mut position, number) = Position::read(&mut storage);
        assert_eq!(number, None);
        for number in [10, 20, 30] {
            position.write(&mut storage, number).unwrap();
        }
        assert_eq!(Position::read(&mut storage).1, Some(30));
        for byte in 0..2 * SLOT {
            let mut damaged = storage.clone();
            damaged.flip(NAME, byte);
            let (mut position, number) = Position::read(&mut damaged);
            assert!(matches!(number, Some(20 | 30)), "{byte}: {number:?}");
            position.write(&mut damaged, 40).unwrap();
            assert_eq!(Position::read(&mut damaged).1, Some(40), "{byte}");
        }
    }
}
