//! What the stage is told, and its bounds.

/// Settings of the `protocols` stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A request is given up as unanswered when no byte passed on its connection for this long.
    pub idle_ns: u64,
    /// How long bytes that were reported after the close of their connection are waited for.
    pub close_grace_ns: u64,
    /// Request headers to keep, lower-case names.
    pub captured_request_headers: Vec<String>,
    /// Response headers to keep, lower-case names.
    pub captured_response_headers: Vec<String>,
    /// Most requests of one connection that wait for their response.
    pub exchanges_per_connection: usize,
    /// Most exchanges that are running at the same time.
    pub exchanges: usize,
    /// Most bytes of one head that are kept.
    pub head_bytes: usize,
    /// Most bytes of unfinished heads that are kept, all connections together.
    pub unfinished_head_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_ns: 60_000_000_000,
            close_grace_ns: 100_000_000,
            captured_request_headers: Vec::new(),
            captured_response_headers: Vec::new(),
            exchanges_per_connection: 1024,
            exchanges: 65_536,
            head_bytes: 65_536,
            unfinished_head_bytes: 16 << 20,
        }
    }
}
