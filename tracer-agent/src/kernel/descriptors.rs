//! Open files: each breakpoint is one, and of a host with many Go programs there are thousands.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Those that are left for all else: connections to backends, what is read of processes.
const RESERVED: u64 = 128;

/// Lets this process have as many as it may. What it has started before keeps what it was given.
pub fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it may not, there are as many as there were.
    let _ = setrlimit(Resource::Nofile, all);
}

/// Whether enough are left behind this one for all else: the lowest number that is free is given to each.
pub(super) fn leaves_enough(opened: &OwnedFd) -> bool {
    leaves(
        opened.as_raw_fd().unsigned_abs().into(),
        getrlimit(Resource::Nofile).current,
    )
}

fn leaves(opened: u64, most: Option<u64>) -> bool {
    most.is_none_or(|most| opened.saturating_add(RESERVED) < most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_left_for_all_else() {
        assert!(leaves(895, Some(1024)));
        assert!(!leaves(896, Some(1024)));
        assert!(!leaves(3, Some(64)));
        assert!(leaves(1 << 20, None));
    }
}
