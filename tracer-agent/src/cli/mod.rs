//! Beside the way: the command line: raw arguments, sub-commands, exit status.
