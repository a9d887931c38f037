//! Whether the running kernel preempts programs. It then skips a program where another thread was preempted in the middle of the
//! same one: a call is not seen. Kprobes run with preemption off, so they are not touched by it.

use std::{fs, path::Path};

/// Where debugfs says so.
const MODES: &str = "sys/kernel/debug/sched/preempt";
/// The root of the agent, and that of the host's first process: a container may have no debugfs.
const ROOTS: [&str; 2] = ["/", "/proc/1/root"];

/// What is said where it preempts them.
pub const PREEMPTED: &str = "this kernel preempts programs, and then skips some calls, which is counted";

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// The kernel runs programs to their end.
    Off,
    /// It may preempt them.
    On,
    /// It does not say: debugfs is not mounted or not readable.
    Unknown,
}

impl Preemption {
    /// That of the running kernel.
    pub fn of_running_kernel() -> Self {
        let modes = |root| fs::read_to_string(Path::new(root).join(MODES)).ok();
        let modes = ROOTS.into_iter().find_map(modes);
        modes.map_or(Self::Unknown, |modes| Self::read(&modes))
    }

    /// The mode in brackets is the one that is on: `none (voluntary) full lazy`.
    fn read(modes: &str) -> Self {
        let on = modes.split('(').nth(1).and_then(|rest| rest.split(')').next());
        match on {
            Some("full" | "lazy") => Self::On,
            Some(_) => Self::Off,
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_the_one_that_is_on() {
        for (modes, preemption) in [
            ("none (voluntary) full \n", Preemption::Off),
            ("full (lazy) \n", Preemption::On),
            ("none voluntary (full)", Preemption::On),
            ("", Preemption::Unknown),
        ] {
            assert_eq!(Preemption::read(modes), preemption, "{modes}");
        }
    }
}
