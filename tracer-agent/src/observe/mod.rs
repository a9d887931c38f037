//! Beside the way: the agent's own events. Each is a type that is both logged and counted, so that nothing can be
//! told to people and forgotten in the sum, or the other way round.

mod event;
mod log;
mod summary;
mod time;

pub use event::Event;
pub use log::Log;
pub use summary::Summary;
