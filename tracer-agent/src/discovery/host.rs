//! The host: its name, its id, its kernel.

use std::hash::{BuildHasher, RandomState};

use super::{proc::Proc, text};
use crate::capture::input::HostInfo;

/// `host.name`: the host's own, not that of the container the agent may run in.
pub(super) fn name(proc: &Proc) -> String {
    let kernel = || proc.read_global("sys/kernel/hostname").and_then(first_line);
    let of_host = || proc.read_of_host("/etc/hostname").and_then(first_line);
    // The kernel answers for the reader's own namespace, `/etc/hostname` may be out of date.
    let found = if proc.agent_shares_host_name() {
        kernel().or_else(of_host)
    } else {
        of_host().or_else(kernel)
    };
    found.unwrap_or_default()
}

pub(super) fn describe(proc: &Proc, host_name: String, unix_minus_boot_ns: i64) -> HostInfo {
    HostInfo {
        unix_minus_boot_ns,
        host_name,
        host_id: proc
            .read_of_host("/etc/machine-id")
            .and_then(first_line)
            // An image that was never booted says `uninitialized`.
            .filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        host_arch: architecture(std::env::consts::ARCH).to_owned(),
        os_type: "linux".to_owned(),
        os_version: proc
            .read_global("sys/kernel/osrelease")
            .and_then(first_line)
            .unwrap_or_default(),
        id_seed: [random(), random()],
    }
}

/// Rust's name of an architecture in the words of the semantic conventions.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "x86",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// 64 random bits: std keys each of its hashers from the system's randomness.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn first_line(bytes: Vec<u8>) -> Option<String> {
    text::non_empty(str::from_utf8(&bytes).ok()?.lines().next()?)
}

#[cfg(test)]
mod tests {
    use super::{architecture, random};

    #[test]
    fn architectures_are_named_as_the_conventions_do() {
        assert_eq!(architecture("x86_64"), "amd64");
        assert_eq!(architecture("aarch64"), "arm64");
        assert_eq!(architecture("riscv64"), "riscv64");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(random(), random());
    }
}
