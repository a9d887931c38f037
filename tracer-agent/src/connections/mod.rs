//! Stage 2. In: records. Out: per connection end and direction, what passed in order, with every gap marked,
//! and what is known of the other end. Kept true: the table is bounded, an entry ends with its close record
//! or by eviction, which is counted.
