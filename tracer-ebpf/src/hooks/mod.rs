//! The hooks: each finds the socket and the user buffers of a kernel event, and nothing else.

mod lifecycle;
mod syscall;
