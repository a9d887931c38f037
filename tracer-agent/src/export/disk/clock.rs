//! The time that ages are told by: it does not jump while the agent runs.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Unix time as it was when the agent began, and what has passed since. A clock that is set afterwards makes nothing
/// older or younger than it is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began_ms: u64,
    began: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "what an earlier run has left can only be dated by the wall clock"
        )]
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            began_ms: millis(unix),
            began: Instant::now(),
        }
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.began_ms.saturating_add(millis(self.began.elapsed()))
    }
}

/// Whole milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
