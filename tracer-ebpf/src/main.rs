//! The kernel side of tracer-agent.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

    /// Does nothing yet: it proves that the toolchain makes an object the kernel takes.
    #[raw_tracepoint]
    pub fn process_exit(_ctx: RawTracePointContext) -> i32 {
        0
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

/// On the host there is nothing to run; the binary exists so that the workspace's tools can read the crate.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
