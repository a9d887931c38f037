//! What the agent takes of its host: processor time and memory.

use std::{fs, time::Duration};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

/// What the process has taken; `None` for what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its threads, user and system.
    pub cpu: Option<Duration>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
}

/// What this process has taken so far.
pub fn usage() -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Usage {
        cpu: match (u64::try_from(cpu.tv_sec), u32::try_from(cpu.tv_nsec)) {
            (Ok(seconds), Ok(nanos)) => Some(Duration::new(seconds, nanos)),
            _ => None,
        },
        resident_bytes: fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|statm| resident_pages(&statm))
            .map(|pages| pages.saturating_mul(page_size() as u64)),
    }
}

/// The second number of `/proc/PID/statm` (proc(5)).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_something() {
        let before = usage().cpu.unwrap();
        let sum: u64 = (0..3_000_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        let usage = usage();
        assert!(usage.cpu.unwrap() > before);
        assert!(usage.resident_bytes.unwrap() > 1 << 20);
    }

    #[test]
    fn a_line_without_numbers_tells_nothing() {
        assert_eq!(resident_pages("1 22 3"), Some(22));
        assert_eq!(resident_pages("1 x"), None);
        assert_eq!(resident_pages(""), None);
    }
}
