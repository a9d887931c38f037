//! How much may wait on disk, and for how long.

use std::{str::FromStr, time::Duration};

use super::NotAValue;

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
        let (number, unit) = number_and_unit(text);
        let shift = match unit {
            "M" | "MiB" => Some(20),
            "G" | "GiB" => Some(30),
            "T" | "TiB" => Some(40),
            _ => None,
        };
        number
            .zip(shift)
            .and_then(|(number, shift)| number.checked_mul(1 << shift))
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
        let (number, unit) = number_and_unit(text);
        let seconds = match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            "d" => Some(24 * 3600),
            _ => None,
        };
        number
            .zip(seconds)
            .and_then(|(number, seconds): (u64, u64)| number.checked_mul(seconds))
            .filter(|seconds| (1..=365 * 24 * 3600).contains(seconds))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or(NotAValue("a time such as 90s, 30m, 24h or 7d, a year at most"))
    }
}

pub(super) fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let digits = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_have_units_and_bounds() {
        assert_eq!("512M".parse(), Ok(QueueSize::default()));
        assert_eq!("2GiB".parse(), Ok(QueueSize(2 << 30)));
        for text in [
            "",
            "M",
            "512",
            "3M",
            "65T",
            "-1M",
            "1.5G",
            "99999999999999999999T",
            "512MB",
        ] {
            assert!(text.parse::<QueueSize>().is_err(), "{text}");
        }
        assert_eq!("24h".parse(), Ok(QueueAge::default()));
        assert_eq!("1d".parse(), Ok(QueueAge::default()));
        assert_eq!("90s".parse(), Ok(QueueAge(Duration::from_secs(90))));
        for text in ["", "h", "24", "0s", "366d", "99999999999999999999d", "1h30m"] {
            assert!(text.parse::<QueueAge>().is_err(), "{text}");
        }
    }
}
