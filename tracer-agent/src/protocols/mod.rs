//! Stage 3. In: what passed on each connection, in order, with gaps. Out: [`ExchangeEvent`]s. Kept true: an
//! exchange holds only what was read from the wire; what is not known is absent.

pub mod exchange;
pub mod propagation;

pub use exchange::{Exchange, ExchangeEvent, ExchangeId};
