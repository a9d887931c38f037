//! Methods of gRPC that were called, which are names already. Only how many there may be is bounded.

use std::collections::HashSet;

/// Methods of one side of a service.
const MAX_METHODS: usize = 512;

/// At most [`MAX_METHODS`].
#[derive(Debug, Default)]
pub(super) struct Methods(HashSet<Box<str>, foldhash::fast::RandomState>);

impl Methods {
    /// Whether there is room for this one, or it is there.
    pub fn learn(&mut self, method: &str) -> bool {
        self.0.contains(method) || (self.0.len() < MAX_METHODS && self.0.insert(method.into()))
    }
}
