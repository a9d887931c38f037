//! Stage 3. In: what passed on each connection, in order, with gaps. Out: [`ExchangeEvent`]s. Kept true: an
//! exchange holds only what was read from the wire; what is not known is absent.
//!
//! ```text
//! let mut connections = Connections::new(Limits::default());
//! let mut protocols = Protocols::new(Settings::default());
//! protocols.push(connections.apply(&record), &mut events);    // for each record
//! protocols.tick(now, &mut events);                           // when next_deadline() has passed
//! protocols.finish(now, &mut events);                         // once, at the end
//! ```

mod begin;
mod context;
mod conversation;
mod counters;
pub mod exchange;
mod grpc;
mod http1;
pub(crate) mod http2;
pub mod propagation;
mod settings;
mod stage;

pub use counters::ProtocolCounters;
pub use exchange::{Exchange, ExchangeEvent, ExchangeId};
pub use grpc::Grpc;
#[cfg(fuzzing)]
pub use http2::hpack;
pub use settings::Settings;
pub use stage::Protocols;
