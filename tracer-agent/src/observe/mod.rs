//! Beside the way: the agent's own events and counters.
