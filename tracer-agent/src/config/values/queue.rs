//! How much may wait on disk, and for how long.

use std::{str::FromStr, time::Duration};

use super::{NotAValue, amount};

/// Bytes of the queue of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSize(pub u64);

impl Default for QueueSize {
    /// At 1,000 spans a second about a quarter of an hour.
    fn default() -> Self {
        Self(512 << 20)
    }
}

impl FromStr for QueueSize {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        amount::bytes(text)
            .filter(|size| (4 << 20..=64 << 40).contains(size))
            .map(Self)
            .ok_or(NotAValue("a size from 4M to 64T"))
    }
}

/// How long a batch waits at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAge(pub Duration);

impl Default for QueueAge {
    /// Most backends refuse spans that are much older.
    fn default() -> Self {
        Self(Duration::from_secs(24 * 3600))
    }
}

impl FromStr for QueueAge {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        amount::seconds(text)
            .filter(|seconds| (1..=365 * 24 * 3600).contains(seconds))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or(NotAValue("a time such as 90s, 30m, 24h or 7d, a year at most"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_have_units_and_bounds() {
        assert_eq!("512M".parse(), Ok(QueueSize::default()));
        assert_eq!("2GiB".parse(), Ok(QueueSize(2 << 30)));
        for text in ["", "3M", "65T"] {
            assert!(text.parse::<QueueSize>().is_err(), "{text}");
        }
        assert_eq!("24h".parse(), Ok(QueueAge::default()));
        assert_eq!("1d".parse(), Ok(QueueAge::default()));
        assert_eq!("90s".parse(), Ok(QueueAge(Duration::from_secs(90))));
        for text in ["", "0s", "366d"] {
            assert!(text.parse::<QueueAge>().is_err(), "{text}");
        }
    }
}
