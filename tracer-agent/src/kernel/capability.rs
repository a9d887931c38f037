//! Which capabilities the agent needs and does not have, and which it has and needs no more.

use std::fs;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Capability numbers of `linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What the thread needs that traces: maps are read and written, and processes of others are looked at.
pub const TO_TRACE: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);
/// What the thread needs that sets breakpoints in programs that start later: the kernel asks for no less.
pub const TO_SET_BREAKPOINTS: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE);

/// What a thread needs that passes signals on, to a command that may have become another user.
pub const TO_SIGNAL: CapabilitySet = CapabilitySet::KILL;
/// What every other thread needs.
pub const NONE: CapabilitySet = CapabilitySet::empty();

/// The calling thread, and the threads and programs that it starts from here on, give up all capabilities but these. Where
/// `CAP_SYS_ADMIN` stands for `CAP_BPF` it is kept in its place.
pub fn keep(needed: CapabilitySet) {
    let Ok(held) = capabilities(None) else { return };
    let mut kept = held.effective & needed;
    if needed.contains(CapabilitySet::BPF) && !kept.contains(CapabilitySet::BPF) {
        kept |= held.effective & CapabilitySet::SYS_ADMIN;
    }
    // To have less is always allowed.
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    );
}

/// Names of the capabilities that loading the kernel side needs and this process lacks; `CAP_SYS_ADMIN` stands for all.
pub fn missing() -> Vec<&'static str> {
    missing_of(effective())
}

/// Whether this process may set breakpoints in others.
pub fn may_set_breakpoints() -> bool {
    effective() & (1 << CAP_SYS_ADMIN) != 0
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
