//! The agent's own memory: in no core file, and in small pages.

use std::io;

use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::disable_transparent_huge_pages,
};

/// From now on this process leaves no core file, and nobody but root looks into it: it holds heads of requests with all that is in them. What
/// it starts is as it would be without this, for an exec takes it back.
///
/// # Errors
/// When the kernel refuses; none does.
pub fn keep_out_of_core_files() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// From now on memory comes in pages of the usual size. Where the kernel gives huge ones unasked (Debian's does), each of some 45 threads that
/// load programs took 2 MiB for its stack, and the agent 100 to 137 MiB for a moment. What it starts from here on inherits this.
pub fn take_small_pages() {
    // A kernel without huge pages does not know of it.
    let _ = disable_transparent_huge_pages(true);
}
