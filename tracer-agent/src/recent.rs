//! A map of what is in use: entries that are not asked for, while many others come, are forgotten.

use std::{collections::BTreeMap, mem};

/// Keys to values. Those of the last `bound` keys that were asked for are there, and at most twice as many.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    bound: usize,
    forgotten: u64,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    pub const fn new(bound: usize) -> Self {
        Self {
            young: BTreeMap::new(),
            old: BTreeMap::new(),
            bound,
            forgotten: 0,
        }
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.young.get_mut(&key).or_else(|| self.old.get_mut(&key))
    }

    /// In no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.young.values_mut().chain(self.old.values_mut())
    }

    /// What was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.old.remove(&key);
        self.make_room(key, |_| {});
        self.young.insert(key, value).or(before)
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        self.young.remove(&key).or_else(|| self.old.remove(&key))
    }

    /// How many had to go for others.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The entry of `key`, made if there is none; `forgets` is told what had to go for it.
    pub fn entry(&mut self, key: K, forgets: impl FnMut(V)) -> &mut V
    where
        V: Default,
    {
        let before = self.old.remove(&key);
        self.make_room(key, forgets);
        self.young
            .entry(key)
            .or_insert_with(|| before.unwrap_or_default())
    }

    fn make_room(&mut self, key: K, forgets: impl FnMut(V)) {
        if self.young.len() >= self.bound && !self.young.contains_key(&key) {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.forgotten = self.forgotten.saturating_add(forgotten.len() as u64);
            forgotten.into_values().for_each(forgets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes_when_as_many_others_have_come() {
        let mut recent = Recent::<u32, u32>::new(4);
        let mut forgotten = Vec::new();
        *recent.entry(1, |_| {}) = 10;
        *recent.entry(2, |_| {}) = 20;
        for key in 3..100 {
            recent.entry(key, |value| forgotten.push(value));
            *recent.entry(1, |value| forgotten.push(value)) += 1;
        }
        assert_eq!(recent.get(1), Some(&107));
        assert_eq!((recent.get(2), recent.get(99)), (None, Some(&0)));
        assert!(forgotten.contains(&20), "it is said what goes");
        assert!(recent.values_mut().count() <= 8);
        assert_eq!(recent.forgotten(), forgotten.len() as u64);
    }

    #[test]
    fn what_is_put_in_again_is_there_once() {
        let mut recent = Recent::<u32, u32>::new(2);
        assert_eq!(recent.insert(1, 10), None);
        for key in 2..4 {
            recent.insert(key, 0);
        }
        assert_eq!(recent.insert(1, 11), Some(10));
        assert_eq!(recent.get_mut(1).copied(), Some(11));
        assert_eq!(recent.values_mut().filter(|value| **value > 9).count(), 1);
        assert_eq!((recent.remove(1), recent.remove(1)), (Some(11), None));
    }
}
