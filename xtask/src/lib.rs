//! The parts of the chores that stand on their own and are tested.

pub mod judge;
