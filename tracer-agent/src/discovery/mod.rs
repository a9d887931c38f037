//! Beside the way: which processes there are and what service each one is.
