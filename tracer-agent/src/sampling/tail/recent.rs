//! A table with a bound: past it the entry that was used longest ago is forgotten.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Keys to values, at most `bound` of them. Never iterated, so nothing depends on a hash.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: HashMap<K, Entry<V>, foldhash::fast::RandomState>,
    // In the order of use; an entry is in it once for each use that is not yet forgotten, and only the last one counts.
    uses: VecDeque<(u64, K)>,
    next: u64,
    bound: usize,
}

#[derive(Debug)]
struct Entry<V> {
    used: u64,
    value: V,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub fn new(bound: usize) -> Self {
        Self {
            entries: HashMap::default(),
            uses: VecDeque::new(),
            next: 0,
            bound: bound.max(1),
        }
    }

    /// The value of a key, which is used by that.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.entries.contains_key(key) {
            return None;
        }
        let used = self.use_of(key);
        let entry = self.entries.get_mut(key)?;
        entry.used = used;
        Some(&mut entry.value)
    }

    /// The value of a key, without using it.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets a value; `evicted` counts the entries that had to go for it.
    pub fn insert(&mut self, key: K, value: V, evicted: &mut u64) {
        if !self.entries.contains_key(&key) {
            while self.entries.len() >= self.bound {
                let Some((used, oldest)) = self.uses.pop_front() else {
                    break;
                };
                if self.entries.get(&oldest).is_some_and(|entry| entry.used == used) {
                    self.entries.remove(&oldest);
                    *evicted += 1;
                }
            }
        }
        let used = self.use_of(&key);
        self.entries.insert(key, Entry { used, value });
    }

    fn use_of(&mut self, key: &K) -> u64 {
        if self.uses.len() >= self.bound.saturating_mul(4) {
            let entries = &self.entries;
            self.uses
                .retain(|(used, key)| entries.get(key).is_some_and(|entry| entry.used == *used));
        }
        let used = self.next;
        self.next += 1;
        self.uses.push_back((used, key.clone()));
        used
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn past_the_bound_the_entry_used_longest_ago_is_forgotten_and_counted() {
        let (mut recent, mut evicted) = (Recent::new(2), 0);
        recent.insert('a', 1, &mut evicted);
        recent.insert('b', 2, &mut evicted);
        assert_eq!(recent.get(&'a'), Some(&mut 1));
        recent.insert('c', 3, &mut evicted);
        assert_eq!(
            (recent.peek(&'a'), recent.peek(&'b'), evicted),
            (Some(&1), None, 1)
        );
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_forgets_like_a_list_would(uses in prop::collection::vec((0..12_u8, any::<bool>()), 0..200)) {
            let (mut recent, mut evicted) = (Recent::new(4), 0);
            let mut list: Vec<u8> = Vec::new();
            for (key, is_set) in uses {
                let is_known = list.contains(&key);
                prop_assert_eq!(recent.get(&key).is_some(), is_known);
                if is_set && !is_known {
                    recent.insert(key, key, &mut evicted);
                    list.truncate(3);
                }
                if is_known || is_set {
                    list.retain(|other| *other != key);
                    list.insert(0, key);
                }
                prop_assert!(recent.entries.len() <= 4 && recent.uses.len() <= 16);
            }
        }
    }
}
