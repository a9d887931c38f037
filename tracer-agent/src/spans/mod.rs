//! Stage 5. In: linked exchanges. Out: [`Span`]s by the stable semantic conventions, redacted.

pub mod span;

pub use span::Span;
