//! Stage 1. In: ring buffers of the kernel side, a recording, or a packet capture. Out: [`Input`]s in the order in
//! which they were delivered. Kept true: whatever the live agent feeds to the core can be written to a recording and
//! read back, and the core cannot tell the difference.

pub mod address;
pub mod clock;
pub mod input;
pub mod pcap;
pub mod record;
pub mod recording;
pub mod replayed;

pub use input::{HostInfo, Input, ProcessInfo};
pub use record::Record;
pub use replayed::Replayed;
