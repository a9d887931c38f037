//! A table with a bound: past it the entry that was made first is forgotten.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeBounds,
};

/// Keys to values, at most `bound` of them. Ordered, so that nothing depends on a hash.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: BTreeMap<K, V>,
    // Keys in the order in which they were made; may name keys that were removed.
    made: VecDeque<K>,
    bound: usize,
}

impl<K: Ord + Copy, V: Default> Table<K, V> {
    pub fn new(bound: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            made: VecDeque::new(),
            bound: bound.max(1),
        }
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key)
    }

    /// The entry of `key`, made if there is none; `evicted` counts the entries that had to go for it.
    pub fn entry(&mut self, key: K, evicted: &mut u64) -> &mut V {
        self.entry_sparing(key, 0, |_| true, evicted)
    }

    /// The same where entries that are in use are spared: the oldest that is not goes, and is not counted, if it is among the first so many.
    pub fn entry_sparing(
        &mut self,
        key: K,
        looks: usize,
        is_used: impl Fn(&V) -> bool,
        evicted: &mut u64,
    ) -> &mut V {
        if !self.entries.contains_key(&key) {
            let mut looks = looks;
            while self.entries.len() >= self.bound {
                let Some(oldest) = self.made.pop_front() else {
                    break;
                };
                let is_used = self.entries.get(&oldest).is_some_and(&is_used);
                if is_used && looks > 0 {
                    looks -= 1;
                    self.made.push_back(oldest);
                } else {
                    self.entries.remove(&oldest);
                    *evicted += u64::from(is_used);
                }
            }
            self.made.push_back(key);
            if self.made.len() > self.bound.saturating_mul(2) {
                let entries = &self.entries;
                self.made
                    .retain(|made| entries.contains_key(made) || *made == key);
            }
        }
        self.entries.entry(key).or_default()
    }

    /// In the order of the keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    pub fn remove(&mut self, key: K) {
        self.entries.remove(&key);
    }

    pub fn remove_range(&mut self, range: impl RangeBounds<K>) {
        let keys: Vec<K> = self.entries.range(range).map(|(key, _)| *key).collect();
        for key in keys {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_the_entry_made_first_is_forgotten_and_counted() {
        let (mut table, mut evicted) = (Table::<u32, u32>::new(2), 0);
        for key in 1..=3 {
            *table.entry(key, &mut evicted) = key;
        }
        assert_eq!((table.get(1), table.get(2), evicted), (None, Some(&2), 1));
    }

    #[test]
    fn an_entry_that_is_in_use_is_spared_while_there_are_others_and_only_it_is_counted() {
        let (mut table, mut evicted) = (Table::<u32, bool>::new(3), 0);
        *table.entry(1, &mut evicted) = true;
        for key in 2..=6 {
            table.entry_sparing(key, 2, |is_used| *is_used, &mut evicted);
        }
        assert_eq!((table.get(1), table.get(4), evicted), (Some(&true), None, 0));
        table.values_mut().for_each(|is_used| *is_used = true);
        table.entry_sparing(7, 2, |is_used| *is_used, &mut evicted);
        assert_eq!(evicted, 1);
    }

    #[test]
    fn keys_that_come_and_go_do_not_pile_up() {
        let (mut table, mut evicted) = (Table::<u32, u32>::new(4), 0);
        for key in 0..1_000 {
            table.entry(key, &mut evicted);
            table.remove(key);
        }
        assert_eq!(evicted, 0);
        assert!(table.made.len() <= 9, "{} keys are kept", table.made.len());
    }
}
