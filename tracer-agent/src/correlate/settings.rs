//! What can be chosen about linking; every bound of a table of this stage.

use super::Sampler;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// The choices of this stage. All durations are nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which traces are exported.
    pub sampler: Sampler,
    /// Exchanges of traces that are not exported are given out too, marked as such, to be counted.
    pub gives_unsampled: bool,
    /// What is done with the spans of a process that exports its own.
    pub instrumented: Instrumented,
    /// How long an inbound exchange waits for its client end when that end is traced.
    pub wait_traced_ns: u64,
    /// How long it waits when the client end may be traced. It was not seen to open the connection, so its first write
    /// has to come, which is late by no more than the time until a preempted thread returns from its call.
    pub wait_maybe_ns: u64,
    /// How long a call waits until the other requests in flight tell which of them it was made for; not at all where it is
    /// less than 10 ms.
    pub wait_timing_ns: u64,
    /// How sure the `timing` rung must be of a parent; below it that is told as a link.
    pub min_confidence: f64,
    /// How long an exchange that is over can still become a parent.
    pub linger_ns: u64,
    /// How long after a response a request of the same thread gets a span link to it.
    pub after_response_ns: u64,
    /// Exchanges in flight; past it the oldest is exported as incomplete.
    pub max_in_flight: usize,
    /// Exchanges that are over and can still become a parent; past it the oldest is forgotten.
    pub max_over: usize,
    /// Tasks of which something is known; past it the oldest is forgotten.
    pub max_tasks: usize,
    /// Threads that run an event loop, of which something is known; past it the oldest is forgotten.
    pub max_loops: usize,
    /// Request ids that are known; past it the oldest is forgotten.
    pub max_request_ids: usize,
    /// Processes whose requests and calls are matched by their times; past it the oldest is forgotten.
    pub max_watched: usize,
    /// How often requests in flight are looked at for calls within a second, in all processes together; past it calls are given to
    /// none, which is counted. Some tenth of a processor.
    pub max_looks: u64,
    /// Processes of which something is known; past it the oldest is forgotten.
    pub max_processes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sampler: Sampler::default(),
            gives_unsampled: false,
            instrumented: Instrumented::Skip,
            wait_traced_ns: 2 * SECOND,
            wait_maybe_ns: 100 * MILLISECOND,
            wait_timing_ns: 2 * SECOND,
            min_confidence: 0.9,
            linger_ns: 10 * SECOND,
            after_response_ns: SECOND,
            max_in_flight: 65_536,
            // Some 2 MiB.
            max_over: 14_000,
            max_tasks: 65_536,
            max_loops: 4_096,
            max_request_ids: 65_536,
            max_watched: 256,
            max_looks: 2_000_000,
            max_processes: 16_384,
        }
    }
}

/// What is done with the spans of a process that exports its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instrumented {
    /// They are withheld; the next hop hangs under the span that the process names on the wire.
    #[default]
    Skip,
    /// They are exported beside its own; a client span hangs under the span named on the wire.
    Keep,
}
