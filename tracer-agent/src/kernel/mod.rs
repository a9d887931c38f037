//! Beside the way: what the running kernel offers (BTF, features), and the loading and attaching of the probes.
