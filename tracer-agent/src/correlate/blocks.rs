//! A table whose entries stay in their places: what it holds beside them is small, and is all that grows by doubling.

use std::{collections::HashMap, hash::BuildHasherDefault};

use super::known::InOrder;
use crate::protocols::ExchangeId;

/// Entries that are made room for at once.
const BLOCK: usize = 64;

/// Exchanges to something that is known of each. Never iterated where the order would be seen in what is given out.
#[derive(Debug)]
pub struct Blocks<T> {
    /// Where each is.
    places: HashMap<ExchangeId, u32, BuildHasherDefault<InOrder>>,
    /// Each of `BLOCK` places, but for the last.
    blocks: Vec<Vec<Option<T>>>,
    /// Places without an entry, of which the last is taken first: it was in use a moment ago.
    free: Vec<u32>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            blocks: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Blocks<T> {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn contains(&self, id: ExchangeId) -> bool {
        self.places.contains_key(&id)
    }

    pub fn get(&self, id: ExchangeId) -> Option<&T> {
        let place = *self.places.get(&id)?;
        let (block, place) = parts(place);
        self.blocks.get(block)?.get(place)?.as_ref()
    }

    pub fn get_mut(&mut self, id: ExchangeId) -> Option<&mut T> {
        let place = *self.places.get(&id)?;
        self.place(place)?.as_mut()
    }

    /// Takes the place of what was known before.
    pub fn insert(&mut self, id: ExchangeId, entry: T) {
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.place(place) {
                    *free = Some(entry);
                }
                place
            }
            None => self.push(entry),
        };
        if let Some(before) = self.places.insert(id, place) {
            self.vacate(before);
        }
    }

    pub fn remove(&mut self, id: ExchangeId) -> Option<T> {
        let place = self.places.remove(&id)?;
        self.vacate(place)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ExchangeId, &T)> {
        self.places.keys().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().flatten()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten().flatten()
    }

    fn vacate(&mut self, place: u32) -> Option<T> {
        self.free.push(place);
        self.place(place)?.take()
    }

    fn place(&mut self, place: u32) -> Option<&mut Option<T>> {
        let (block, place) = parts(place);
        self.blocks.get_mut(block)?.get_mut(place)
    }

    /// Puts an entry behind the last one.
    fn push(&mut self, entry: T) -> u32 {
        if self.blocks.last().is_none_or(|last| last.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let full = (self.blocks.len() - 1) * BLOCK;
        let last = self.blocks.last_mut().map_or(0, |last| {
            last.push(Some(entry));
            last.len() - 1
        });
        // There is a bound on what is known, far below what can be counted.
        u32::try_from(full + last).unwrap_or(u32::MAX)
    }
}

/// Which block, and which place in it.
fn parts(place: u32) -> (usize, usize) {
    let place = place as usize;
    (place / BLOCK, place % BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_id_whatever_came_and_went() {
        let mut blocks = Blocks::default();
        let mut known = std::collections::BTreeMap::new();
        for number in 0..1_000 {
            let id = ExchangeId(number);
            blocks.insert(id, number * 7);
            known.insert(id, number * 7);
            let gone = ExchangeId(number * 5 % 1_000);
            assert_eq!(blocks.remove(gone), known.remove(&gone));
        }
        assert_eq!(
            (blocks.len(), blocks.values().count()),
            (known.len(), known.len())
        );
        let mut found: Vec<_> = blocks.iter().map(|(id, entry)| (id, *entry)).collect();
        found.sort_unstable();
        assert_eq!(found, Vec::from_iter(known));
        assert!(found.iter().all(|(id, entry)| blocks.get(*id) == Some(entry)));
    }

    #[test]
    fn what_comes_and_goes_takes_the_places_that_there_are() {
        let mut blocks = Blocks::default();
        for number in 0..100_000 {
            blocks.insert(ExchangeId(number), ());
            if let Some(gone) = number.checked_sub(100) {
                blocks.remove(ExchangeId(gone));
            }
        }
        assert_eq!((blocks.len(), blocks.blocks.len()), (100, 2));
    }
}
