//! What every hook family shares: who is traced, which connection it is, what of its bytes is reported.

pub mod call;
pub mod connection;
pub mod coroutines;
pub mod emit;
pub mod files;
pub mod java;
pub mod message;
pub mod select;
pub mod sock;
pub mod streams;
pub mod task;
pub mod tls;
pub mod tls_go;
pub mod tokio;
pub mod turn;
pub mod wakes;
