//! Everything the kernel side and the user side must agree on: records, settings, loss causes and the
//! framing of HTTP/1 messages. `no_std`, no allocation, no panic: the same code runs in a BPF program,
//! in the agent and in a fuzzer.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod framer;
pub mod glob;
pub mod lane;
pub mod layout;
pub mod loss;
pub mod record;
#[cfg(feature = "testing")]
pub mod testing;
pub mod traceparent;
mod unaligned;

pub use loss::{Loss, Losses};
