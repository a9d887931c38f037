//! Beside the way: the resolved options, from flags, environment and file.
