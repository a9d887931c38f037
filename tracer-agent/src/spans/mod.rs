//! Stage 5. In: linked exchanges. Out: [`Span`]s by the stable semantic conventions, redacted. Kept true: no query
//! value, no user or password of a URL and no header that was not asked for leaves this stage.

mod builder;
mod error_type;
mod grpc;
mod http;
mod path;
mod processes;
pub mod routes;
mod settings;
pub mod span;
#[cfg(test)]
mod tests;
mod url;

pub use builder::Builder;
pub use settings::{Route, RouteError, Settings};
pub use span::Span;
pub(crate) use url::Target;
