//! The clocks of the live agent. The core never reads them: it is told the time.

use std::time::Duration;

use crate::ids::BootNanos;

/// Now, on the clock of the records (`CLOCK_BOOTTIME`).
pub fn boot_now() -> BootNanos {
    BootNanos(nanos(read(libc::CLOCK_BOOTTIME)).unsigned_abs())
}

/// Unix time minus boot time in nanoseconds: added to a [`BootNanos`] it gives Unix time.
///
/// Both clocks are read as close together as can be: of a few tries the one that took least is taken.
pub fn unix_minus_boot_ns() -> i64 {
    let attempt = || {
        let before = nanos(read(libc::CLOCK_BOOTTIME));
        let unix = nanos(read(libc::CLOCK_REALTIME));
        let after = nanos(read(libc::CLOCK_BOOTTIME));
        (after - before, unix - (before + (after - before) / 2))
    };
    (0..4)
        .map(|_| attempt())
        .min()
        .map_or(0, |(_, difference)| difference)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[expect(unsafe_code, reason = "std offers no CLOCK_BOOTTIME")]
fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the whole call. The clocks exist on every supported kernel; on
    // an error it would stay zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::{boot_now, unix_minus_boot_ns};

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the system's own clock is what is compared with"
    )]
    fn boot_time_and_the_difference_make_unix_time() {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ours = boot_now().0.checked_add_signed(unix_minus_boot_ns()).unwrap();
        assert!(Duration::from_nanos(ours).abs_diff(unix) < Duration::from_secs(1));
    }

    #[test]
    fn the_clock_of_the_records_never_goes_back() {
        let first = boot_now();
        assert!(boot_now() >= first);
    }
}
