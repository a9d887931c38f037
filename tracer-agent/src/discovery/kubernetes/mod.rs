//! Kubernetes: what the names of pods tell by themselves, and what the API tells of the pods of this node.
//!
//! In: the API server, with the agent's own service account. Out: [`Pod`]s in the catalogue. Kept true: only the pods of one
//! node are asked for, by `get`, `list` and `watch`; while the API is away what was known last stays, and nothing waits for it.

mod access;
mod pod;
mod watch;
mod workload;

pub use access::{Access, Node};
pub(super) use pod::{Container, Pod};
pub(super) use watch::follow;
pub(super) use workload::Workload;

#[cfg(test)]
mod real_server;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::until;
