//! The kernel side of tracer-agent: hooks find the socket and the user buffers, `path` does the rest.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "a BPF program is pointers to kernel memory; the verifier checks every one of them"
    ),
    expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both halves of a packed word are taken by casts, and sizes of records are far below 2^32"
    )
)]

#[cfg(target_arch = "bpf")]
mod arch;
#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod hooks;
#[cfg(target_arch = "bpf")]
mod path;
#[cfg(target_arch = "bpf")]
mod peek;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence the kernel sees: helpers that read kernel memory are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// On the host there is nothing to run; the binary exists so that the workspace's tools can read the crate.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
