//! What each step leaves out. Declared here, and nowhere else, so that a recording that says the numbers can be read.
//!
//! ```text
//! processor time  1  calls are not linked by their times          (`shed_timing`)
//!                 2  one trace in 4 is sampled, of those that were (`shed_sampling`, and `th` in `tracestate`)
//!                 3  one trace in 16                               (the same)
//!                 4  the agent waits whenever it is over the limit (what the kernel side has no room for is lost: `ring_full`)
//! memory          1  calls are not linked by their times; tail sampling holds an eighth (`decided_early`)
//!                 2  one trace in 8 is sampled, so that queues are short (`shed_sampling`)
//!                 3  what was said on idle connections is forgotten (`conversations_shed`)
//!                 4  the core begins anew, at most once a minute    (`lost_exchanges`, `lost_spans`)
//! ```
//! Each step has all that those before it leave out.

use crate::capture::input::Shed;

/// The last step of each ladder.
pub const LAST: u8 = 4;
/// The step of processor time at which the agent waits.
pub const PACED: u8 = 4;
/// The step of memory at which idle connections are forgotten.
pub const IDLE: u8 = 3;
/// The step of memory at which the core begins anew.
pub const ANEW: u8 = 4;

/// What the stages do less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// Calls are not linked by their times.
    pub is_without_timing: bool,
    /// Of the traces that would be sampled, one in so many is.
    pub one_in: u64,
    /// Tail sampling holds this part of what it may.
    pub held_one_in: usize,
    /// What was said on idle connections is forgotten, now.
    pub drops_idle: bool,
}

impl Effects {
    /// Of these steps.
    pub fn of(shed: Shed) -> Self {
        let for_cpu = match shed.cpu {
            0 | 1 => 1,
            2 => 4,
            _ => 16,
        };
        let for_memory = if shed.memory < 2 { 1 } else { 8 };
        Self {
            is_without_timing: shed != Shed::default(),
            one_in: for_cpu.max(for_memory),
            held_one_in: if shed.memory == 0 { 1 } else { 8 },
            drops_idle: shed.memory >= IDLE,
        }
    }
}

/// What a step of processor time leaves out, in words.
pub const fn of_cpu(step: u8) -> &'static str {
    match step {
        0 => "nothing is left out",
        1 => "calls are not linked by their times",
        2 => "one trace in 4 is sampled",
        3 => "one trace in 16 is sampled",
        _ => "the agent waits while it is over it, and records are lost",
    }
}

/// What a step of memory leaves out, in words.
pub const fn of_memory(step: u8) -> &'static str {
    match step {
        0 => "nothing is left out",
        1 => "calls are not linked by their times, and tail sampling holds less",
        2 => "one trace in 8 is sampled",
        3 => "what was said on idle connections is forgotten",
        _ => "what is held is dropped, once a minute while this lasts",
    }
}
