//! What of a request is a secret. In: pieces of a URL and names of headers. Out: which of their bytes are kept.
//!
//! Kept true: `spans` and recordings ask the same rules, and what a recording holds in place of a secret is judged to be
//! one again; so a replay of a redacted recording gives the spans that were exported live. Every rule takes time in
//! proportion to the text and allocates nothing; text is allocated only where something is masked.

mod bigrams;
mod card;
pub mod header;
mod id;
mod mask;
pub mod path;
mod percent;
pub mod segment;
mod token;

pub use id::is_id;
pub use mask::MASKS;

/// What stands for a secret in a span.
pub const REDACTED: &str = "REDACTED";

/// How much of a request is kept. Credentials never are: userinfo, and headers such as `Authorization` and `Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privacy {
    /// Paths without what looks like a secret; query keys without their values.
    #[default]
    Default,
    /// Of a path only its route; nothing of a query; no user agent and no address of a client.
    Strict,
    /// Paths and queries as they were sent.
    Open,
}
