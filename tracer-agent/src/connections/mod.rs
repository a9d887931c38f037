//! Stage 2. In: records. Out: per connection end and direction, what passed in order, with every gap marked,
//! and what is known of the other end. Kept true: the table is bounded, an entry ends with its close record
//! or by eviction, which is counted.
//!
//! [`Connections::apply`] takes one record and gives a [`Step`], which the next stage takes as it is. An end
//! whose open record was lost is followed all the same, without addresses. A closed end is remembered for a
//! while: its last bytes, and the first of its other end, may be reported after its close.

mod connection;
pub mod counters;
mod ends;
mod table;

pub use connection::{Connection, FarEnd};
pub use table::{Connections, Limits, Passed, Step};

#[cfg(test)]
mod tests;
