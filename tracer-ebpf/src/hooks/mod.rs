//! The hooks: each finds the socket and the memory of a kernel event, and nothing else.
//!
//! Of the three families `socket`, `kprobe` and `syscall` one is loaded, and `lifecycle` with it.

mod flags;
mod go;
mod go_streams;
mod iter;
mod kprobe;
mod lifecycle;
mod nowhere;
mod python;
mod socket;
mod syscall;
mod tcp;
mod tls;
mod tls_go;
mod tokio;
mod turn;
mod unix;
mod wakes;
