//! Which capabilities the agent needs and does not have.

use std::fs;

/// Capability numbers of `linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Names of the capabilities that loading the kernel side needs and this process lacks; `CAP_SYS_ADMIN` stands for all.
pub fn missing() -> Vec<&'static str> {
    missing_of(effective())
}

fn missing_of(effective: u64) -> Vec<&'static str> {
    let has = |capability: u32| effective & (1 << capability) != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(capability, _)| !has(*capability))
        .map(|(_, name)| name)
        .collect()
}

/// The effective set of this process, from `/proc/self/status`; nothing if it cannot be read.
fn effective() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_stands_for_both_and_one_alone_is_named() {
        assert!(missing_of(1 << CAP_SYS_ADMIN).is_empty());
        assert!(missing_of(1 << CAP_BPF | 1 << CAP_PERFMON).is_empty());
        assert_eq!(missing_of(1 << CAP_BPF), ["CAP_PERFMON"]);
        assert_eq!(missing_of(0), ["CAP_BPF", "CAP_PERFMON"]);
    }
}
