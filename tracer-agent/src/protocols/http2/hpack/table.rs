//! The dynamic table, RFC 7541 §2.3.2 and §4, as far as it was seen to be filled.
//!
//! What the peer has in its table always is the newest part of all that was ever put in, of some length. The same is kept
//! here, from the last place on where something was missed. The length is followed as well as it can be, and is of less
//! consequence: an entry that is kept longer than the peer keeps it stands where the peer has none, and is not asked for.

use std::collections::VecDeque;

use super::malformed::Malformed;

/// RFC 9113 §6.5.2: the largest size of the table until the peer says another.
const INITIAL_MAX: usize = 4_096;
/// At most this much is kept, in the sizes of RFC 7541 §4.1: 16 times what is usual, and as much as browsers allow. What a
/// larger table has beyond it is not known.
pub(crate) const MAX_KEPT: usize = 65_536;
/// RFC 7541 §4.1: what an entry counts for beside its bytes. It is about what one takes here.
pub(crate) const OVERHEAD: usize = 32;

pub(super) struct Table {
    /// From the newest on, without a gap.
    entries: VecDeque<Entry>,
    /// The sum of what the entries are at least.
    size: usize,
    /// How large the peer's table may be, where that is known.
    max: Option<usize>,
    /// The peer may have entries that are older than all that are kept.
    has_older: bool,
}

/// A field of the table. Its value is known, since no other way leads into the table than beside its value; its name may be that
/// of an entry that is not known.
pub(super) struct Entry {
    /// Name and value.
    text: Box<[u8]>,
    /// Length of the name, if it is known.
    name: Option<usize>,
}

/// The name and the value of an entry, as far as they are known.
pub(super) type Known<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

impl Table {
    /// The table at the beginning of a connection.
    pub fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: Some(INITIAL_MAX),
            has_older: false,
        }
    }

    /// A table of which nothing is known.
    pub fn unknown() -> Self {
        Self {
            max: None,
            has_older: true,
            ..Self::new()
        }
    }

    /// The entry at a place, the newest being at 0. An error where the peer has none either.
    pub fn get(&self, place: usize) -> Result<Known<'_>, Malformed> {
        match self.entries.get(place) {
            Some(entry) => Ok((entry.name(), Some(entry.value()))),
            None if self.may_have(place) => Ok((None, None)),
            None => Err(Malformed::Index),
        }
    }

    /// Whether the peer may have an entry at a place behind those that are kept: the others before it take room too.
    fn may_have(&self, place: usize) -> bool {
        let beyond = place.saturating_sub(self.entries.len()).saturating_add(1);
        let least = self.size.saturating_add(beyond.saturating_mul(OVERHEAD));
        self.has_older && self.max.is_none_or(|max| least <= max)
    }

    /// Puts an entry in (§4.4). One that is too large empties the table, also if that is kept here: what comes later
    /// stands before it, and the peer has nothing behind.
    pub fn insert(&mut self, entry: Entry) {
        self.size = self.size.saturating_add(entry.size());
        self.entries.push_front(entry);
        self.evict();
    }

    /// The peer's table may be so large from now on (§4.3).
    pub fn resize(&mut self, max: usize) {
        self.max = Some(max);
        self.evict();
        self.entries.shrink_to_fit();
    }

    /// Lets go what the peer has not kept, and what is too much to be kept here.
    fn evict(&mut self) {
        if let Some(max) = self.max {
            while self.size > max && self.evict_oldest() {
                self.has_older = false;
            }
            self.has_older &= self.size.saturating_add(OVERHEAD) <= max;
        }
        while self.size > MAX_KEPT && self.evict_oldest() {
            self.has_older = true;
        }
    }

    fn evict_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_back();
        self.size -= oldest.as_ref().map_or(0, Entry::size);
        oldest.is_some()
    }

    #[cfg(test)]
    pub fn entries(&self) -> impl Iterator<Item = Known<'_>> {
        self.entries
            .iter()
            .map(|entry| (entry.name(), Some(entry.value())))
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Entry {
    pub fn new(name: Option<&[u8]>, value: &[u8]) -> Self {
        Self {
            text: [name.unwrap_or_default(), value].concat().into(),
            name: name.map(<[u8]>::len),
        }
    }

    fn name(&self) -> Option<&[u8]> {
        self.text.get(..self.name?)
    }

    fn value(&self) -> &[u8] {
        self.text.get(self.name.unwrap_or(0)..).unwrap_or_default()
    }

    /// Its size (§4.1), or the least that it can be where the name is not known: nothing is let go too early by that.
    fn size(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}
