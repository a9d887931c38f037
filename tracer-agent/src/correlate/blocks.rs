//! Entries that stay in their places: nothing is moved when there are more of them, and no more room is made than for a few.

/// Entries that are made room for at once.
const BLOCK: usize = 64;

/// Entries by their places.
#[derive(Debug)]
pub struct Blocks<T> {
    /// Each of `BLOCK` places, but for the last.
    blocks: Vec<Vec<Option<T>>>,
    /// Places without an entry, of which the last is taken first: it was in use a moment ago.
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Blocks<T> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, place: u32) -> Option<&T> {
        let (block, place) = parts(place);
        self.blocks.get(block)?.get(place)?.as_ref()
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.place(place)?.as_mut()
    }

    /// The place that an entry is put in.
    pub fn insert(&mut self, entry: T) -> u32 {
        self.len += 1;
        let Some(place) = self.free.pop() else {
            return self.push(entry);
        };
        if let Some(free) = self.place(place) {
            *free = Some(entry);
        }
        place
    }

    pub fn remove(&mut self, place: u32) -> Option<T> {
        let entry = self.place(place)?.take()?;
        self.len -= 1;
        self.free.push(place);
        Some(entry)
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().flatten()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten().flatten()
    }

    fn place(&mut self, place: u32) -> Option<&mut Option<T>> {
        let (block, place) = parts(place);
        self.blocks.get_mut(block)?.get_mut(place)
    }

    /// Puts an entry behind the last place.
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
    fn each_is_found_in_its_place_whatever_came_and_went() {
        let mut blocks = Blocks::default();
        let mut known = std::collections::BTreeMap::new();
        for number in 0..1_000_u32 {
            let place = blocks.insert(number);
            assert_eq!(known.insert(place, number), None);
            let gone = number * 5 % 1_000;
            assert_eq!(blocks.remove(gone), known.remove(&gone));
        }
        assert_eq!(
            (blocks.len(), blocks.values().count()),
            (known.len(), known.len())
        );
        assert!(
            known
                .iter()
                .all(|(place, entry)| blocks.get(*place) == Some(entry))
        );
    }

    #[test]
    fn what_comes_and_goes_takes_the_places_that_there_are() {
        let mut blocks = Blocks::default();
        let mut places = std::collections::VecDeque::new();
        for _ in 0..100_000 {
            places.push_back(blocks.insert(()));
            if places.len() > 100 {
                places.pop_front().map(|place| blocks.remove(place));
            }
        }
        assert_eq!((blocks.len(), blocks.blocks.len()), (100, 2));
    }
}
