//! What this stage counts, by cause.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// What happened to the exchanges so far. Once the input has ended,
        /// `begun == exported + withheld + unsampled`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Exchanges and failed connects that were taken in.
    begun,
    /// Those that were given out.
    exported,
    /// Those withheld because their process is instrumented.
    withheld,
    /// Those of a trace that is not sampled.
    unsampled,
    /// Given out with trace or parent by `header`.
    linked_header,
    /// Given out with parent by `connection`.
    linked_connection,
    /// Given out with parent by `request-id`.
    linked_request_id,
    /// Given out with parent by `task`.
    linked_task,
    /// Given out with parent by `handoff`.
    linked_handoff,
    /// Given out with parent by `turn`.
    linked_turn,
    /// Given out with parent by `timing`.
    linked_timing,
    /// Given out without a parent since `timing` was not sure enough.
    unsure_timing,
    /// Not asked of `timing` because that would have cost too much.
    shed_timing,
    /// Traces, or requests that joined one, that would be sampled and were not, because that would have cost too much.
    shed_sampling,
    /// Given out as the root of a trace.
    roots,
    /// Given out without the parent that was found, because that one is not exported.
    parent_withheld,
    /// Requests with a context header that is not valid: treated as none.
    malformed_context,
    /// Requests whose context could have come in with any of several requests in flight.
    ambiguous_context,
    /// Requests sent by a thread that served several requests at once.
    ambiguous_task,
    /// Inbound exchanges whose client end is traced but was not seen in time.
    counterpart_missed,
    /// Two ends of one exchange whose times contradict each other: not linked.
    counterpart_refused,
    /// Processes found to be instrumented.
    instrumented_processes,
    /// Threads found to serve several requests at once.
    interleaving_threads,
    /// Threads found to act on what they read as it comes, a turn at a time.
    turning_threads,
    /// Responses that were written after what was read for another request, or when another was due: turns tell nothing there.
    turns_refuted,
    /// Processes whose threads were found to have others act at once on what they read.
    relaying_processes,
    /// Responses that were written by a thread which another had woken after it read for another request: what threads read tells nothing there.
    relays_refuted,
    /// Processes that were found to answer each request in a coroutine of its own.
    coroutine_processes,
    /// Requests in flight at once that one coroutine answered.
    coroutines_refuted,
    /// Processes found to have goroutines that go on after the requests they were made for.
    outliving_processes,
    /// Processes found to answer requests on other threads than those that read them.
    migrating_processes,
    /// Exchanges given out before their end because too many were in flight.
    evicted_in_flight,
    /// Exchanges that were over and forgotten early because there were too many.
    evicted_over,
    /// Tasks forgotten because there were too many.
    evicted_tasks,
    /// Threads that run an event loop and were forgotten because there were too many.
    evicted_loops,
    /// Request ids forgotten because there were too many.
    evicted_request_ids,
    /// Processes forgotten because there were too many.
    evicted_processes,
    /// Processes whose times were forgotten because there were too many.
    evicted_watched,
    /// Exchanges that had no end when the input ended.
    unended,
    /// Endings of exchanges that are not known (any more), or that had ended.
    unknown_endings,
    /// Exchanges whose id had been used: not taken in.
    reused_ids,
}
