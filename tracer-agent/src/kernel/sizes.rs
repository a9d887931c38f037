//! How much the kernel side may remember: by what the host can have going on at once, and what it can spare for it.

use std::fs;

/// Entries of the maps that grow with the host, and bytes of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Connection ends.
    pub connections: u32,
    /// Threads that are in a call.
    pub calls: u32,
    /// Threads that run an event loop.
    pub waiters: u32,
    /// Processes that were judged.
    pub processes: u32,
    /// The ring, a power of two.
    pub ring_bytes: u32,
}

/// What each processor may need.
const CONNECTIONS_A_CPU: u64 = 8192;
const CALLS_A_CPU: u64 = 8192;
const WAITERS_A_CPU: u64 = 2048;
const PROCESSES_A_CPU: u64 = 8192;
const RING_A_CPU: u64 = 2 << 20;
/// Bounds of each: what a small host needs at least, and what is enough for the largest.
const ENTRIES: [u64; 2] = [2048, 131_072];
const RING: [u64; 2] = [256 << 10, 64 << 20];
/// Bytes that a connection takes in its map: two lanes, a few words, and the kernel's own.
const CONNECTION_BYTES: u64 = 640;
/// One part in so many of the host's memory is for connections at most, and as much for the ring.
const SHARE: u64 = 128;

impl Sizes {
    /// For the running host.
    pub fn of_host() -> Self {
        let cpus = aya::util::online_cpus().map_or(1, |cpus| cpus.len() as u64);
        let memory = fs::read_to_string("/proc/meminfo").ok();
        let memory = memory.and_then(|text| total(&text)).unwrap_or(0);
        Self::of(cpus, memory)
    }

    /// For this many processors and bytes of memory.
    pub fn of(cpus: u64, memory: u64) -> Self {
        let entries = |a_cpu: u64| (cpus * a_cpu).clamp(ENTRIES[0], ENTRIES[1]);
        let affordable = (memory / SHARE / CONNECTION_BYTES).max(ENTRIES[0]);
        let ring = (cpus * RING_A_CPU).min(memory / SHARE).clamp(RING[0], RING[1]);
        let whole = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            connections: whole(entries(CONNECTIONS_A_CPU).min(affordable)),
            calls: whole(entries(CALLS_A_CPU)),
            waiters: whole(entries(WAITERS_A_CPU)),
            processes: whole(entries(PROCESSES_A_CPU)),
            // Downwards, so that it stays within what it may be.
            ring_bytes: whole(1 << ring.ilog2()),
        }
    }
}

/// `MemTotal` in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn more_processors_have_more_going_on_and_little_memory_is_spared() {
        let of = |cpus, memory| {
            let sizes = Sizes::of(cpus, memory);
            (sizes.connections, sizes.ring_bytes >> 10)
        };
        assert_eq!(of(2, 4 * GIB), (16_384, 4 << 10));
        assert_eq!(of(2, 24 * GIB), (16_384, 4 << 10));
        assert_eq!(of(1, GIB / 4), (3_276, 2 << 10));
        assert_eq!(of(1, 0), (2_048, 256));
        assert_eq!(of(8, 32 * GIB), (65_536, 16 << 10));
        assert_eq!(of(256, 1024 * GIB), (131_072, 64 << 10));
    }

    #[test]
    fn the_memory_of_the_host_is_read() {
        assert_eq!(
            total("MemTotal:       24585396 kB\nMemFree: 1 kB"),
            Some(24_585_396 << 10)
        );
        assert_eq!(total("MemFree: 1 kB"), None);
        assert!(Sizes::of_host().connections >= 2_048);
    }
}
