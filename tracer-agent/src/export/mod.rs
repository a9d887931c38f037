//! Stage 6. In: spans. Out: bytes on a wire, in a file or on a terminal. Kept true: bounded memory, every span
//! that could not be delivered is counted by cause, a backend that is away costs the core nothing.
