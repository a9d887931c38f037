//! What the processor decides, a file for each that has the same names: numbers of system calls, where registers are, and which of them
//! Go and C call with. Which one it is the agent's build script says.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(bpf_target_arch = "x86_64")]
pub use x86_64::*;
