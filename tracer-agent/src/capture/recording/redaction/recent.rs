//! What is remembered of the directions of connections, up to a bound: of those above it, those are forgotten that nothing was heard
//! of for longest.

use std::collections::HashMap;

use crate::{capture::record::Direction, ids::ConnectionId};

/// Half of what is remembered.
const HALF: usize = 8_192;

type Key = (ConnectionId, Direction);
type Map<T> = HashMap<Key, T, foldhash::fast::RandomState>;

/// At most twice [`HALF`].
pub(super) struct Recent<T> {
    /// At most [`HALF`]; what was touched since `old` was.
    young: Map<T>,
    old: Map<T>,
    forgotten: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            young: Map::default(),
            old: Map::default(),
            forgotten: 0,
        }
    }
}

impl<T> Recent<T> {
    pub fn take(&mut self, key: Key) -> Option<T> {
        self.young.remove(&key).or_else(|| self.old.remove(&key))
    }

    /// Remembers what was taken, or is new.
    pub fn insert(&mut self, key: Key, what: T) {
        if self.young.len() >= HALF {
            let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.forgotten = self.forgotten.saturating_add(old.len() as u64);
        }
        self.young.insert(key, what);
    }

    /// How many were forgotten that nobody took.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::{HALF, Recent};
    use crate::{capture::record::Direction, ids::ConnectionId};

    #[test]
    fn what_was_touched_last_is_remembered() {
        let key = |number| (ConnectionId(number), Direction::Sent);
        let mut recent = Recent::default();
        let many = 10 * HALF as u64;
        for number in 0..many {
            let first = recent.take(key(0)).unwrap_or(0);
            recent.insert(key(0), first);
            recent.insert(key(number + 1), number + 1);
            assert!(recent.young.len() + recent.old.len() <= 2 * HALF);
        }
        assert_eq!(recent.take(key(0)), Some(0));
        assert_eq!(recent.take(key(many)), Some(many));
        assert_eq!(recent.take(key(1)), None);
        assert_eq!(
            recent.forgotten() + (recent.young.len() + recent.old.len()) as u64,
            many - 1
        );
    }
}
