//! Beside the way: what is counted. In: every finished span, before sampling, and what the agent counts of itself. Out: families of
//! metrics, scraped by Prometheus or sent by OTLP.
//!
//! ```text
//! core, synchronous:  Span ─▶ Measures (red, edges) ─┐ snapshot, once a second at most
//! edge, own thread:        scrape or export ◀── Board ◀┘
//! ```
//!
//! Kept true: the core takes no lock for a span and knows no clock but that of the spans; every table has a bound, and what is beyond it is
//! counted in a series of its own, so that sums stay right; a label never holds a path, a query or a header of a request.

pub mod board;
pub mod edges;
pub mod exposition;
pub mod family;
pub mod histogram;
pub mod measures;
pub mod otlp;
pub mod own;
pub mod process;
pub mod push;
pub mod red;
pub mod series;
pub mod server;
pub mod service;
mod telling;
#[cfg(test)]
mod tests;

pub use board::{Board, Told};
pub use family::{Family, Kind, Point, Unit, Value};
pub use histogram::{Exemplar, Histogram};
pub use measures::{Measures, Settings};
pub use service::{Readers, Service, StartError};
