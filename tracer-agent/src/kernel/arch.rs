//! What the processor decides of a kernel's names. What it decides in the kernel is in `tracer-ebpf/src/arch`, of machine code in
//! `symbols/machine.rs`.

#[cfg(target_arch = "x86_64")]
macro_rules! system_call {
    ($name:literal) => {
        concat!("__x64_sys_", $name)
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! system_call {
    ($name:literal) => {
        concat!("__arm64_sys_", $name)
    };
}

/// Functions that are system calls. On arm64 the first is called by 32-bit programs only.
pub const EPOLL_WAIT: &str = system_call!("epoll_wait");
pub const EPOLL_PWAIT: &str = system_call!("epoll_pwait");
pub const EPOLL_PWAIT2: &str = system_call!("epoll_pwait2");
