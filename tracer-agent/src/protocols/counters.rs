//! What this stage saw and could not tell, by cause.

use crate::connections::counters::counters;

counters! {
    /// Counters of the `protocols` stage. Every request head seen is in `exchanges` or in one of the
    /// `requests_…` counters.
    ProtocolCounters {
        /// Exchanges begun.
        exchanges,
        /// Exchanges ended as `incomplete`.
        exchanges_incomplete,
        /// Connects that failed.
        connects_failed,
        /// Requests whose head could not be parsed.
        requests_unparsable,
        /// Requests on a connection whose open record was lost.
        requests_of_unknown_connection,
        /// Requests whose other end is the agent itself.
        requests_of_agent,
        /// Requests past the bound of exchanges running at the same time.
        requests_over_bound,
        /// Requests on a connection where losses made it unknowable which response is whose.
        requests_unpairable,
        /// Heads that were not whole when their connection ended.
        heads_cut,
        /// Final responses whose head could not be parsed.
        responses_unparsable,
        /// Responses without a request: asked for before the agent was there, or not asked for at all.
        responses_without_request,
        /// Responses to a request that was given up as unanswered.
        responses_late,
        /// Responses that could not be given to a request because of losses.
        responses_unpairable,
        /// 1xx responses other than 101.
        informational_responses,
        /// Messages with more or less body than their Content-Length says.
        length_disagreements,
        /// Connections that turned to HTTP/2.
        http2_connections,
        /// Connections that stopped being HTTP.
        opaque_connections,
        /// Idle connections of which it was forgotten what was said, for want of memory: they are joined in the middle.
        conversations_shed,
        /// Heads of which a part was not kept for want of room.
        heads_truncated,
        /// Connections given up because losses made pairing unknowable.
        connections_unpairable,
    }
}
