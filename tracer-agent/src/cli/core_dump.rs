//! The memory of the agent holds heads of requests with all that is in them: no core file is made of it, whatever the limits are,
//! and nobody but root looks into it. What it starts is as it would be without it, for an exec takes this back.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on this process leaves no core file.
///
/// # Errors
/// When the kernel refuses; none does.
pub fn refuse() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
