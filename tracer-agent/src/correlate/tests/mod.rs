//! The rules of linking, each told as a scene: who reads and writes what, and the tree that must come of it.

mod coroutines;
mod failures;
mod goroutines;
mod loops;
mod pairing;
mod properties;
mod relays;
mod request_ids;
mod sampling;
pub(crate) mod scene;
mod streams;
mod threads;
mod timing;
mod truth_table;
mod turns;
mod workers;
