//! What the agent may take of its host, and how long it may stand still.

use std::{str::FromStr, time::Duration};

use super::{NotAValue, amount};

/// Processor time, as a part of one processor; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MaxCpu(pub Option<f64>);

impl FromStr for MaxCpu {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        if text == "off" {
            return Ok(Self(None));
        }
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
        percent
            .filter(|percent| (1.0..=100_000.0).contains(percent))
            .map(|percent: f64| Self(Some(percent / 100.0)))
            .ok_or(NotAValue("off or a part of one processor, from 1%"))
    }
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxMemory {
    /// What the control group of the agent has, if it has a limit.
    #[default]
    Auto,
    /// No limit.
    Off,
    /// Bytes of resident memory.
    Bytes(u64),
}

impl FromStr for MaxMemory {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        amount::bytes(text)
            .filter(|bytes| (16 << 20..=1 << 50).contains(bytes))
            .map(Self::Bytes)
            .ok_or(NotAValue("auto, off or a size from 16MiB"))
    }
}

/// After how long the agent is aborted whose loop does not turn; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog(pub Option<Duration>);

impl Default for Watchdog {
    fn default() -> Self {
        Self(Some(Duration::from_secs(60)))
    }
}

impl FromStr for Watchdog {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        if text == "off" {
            return Ok(Self(None));
        }
        amount::seconds(text)
            .filter(|seconds| (15..=3600).contains(seconds))
            .map(|seconds| Self(Some(Duration::from_secs(seconds))))
            .ok_or(NotAValue("off or a time from 15s to 60m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_units_and_bounds() {
        assert_eq!("20%".parse(), Ok(MaxCpu(Some(0.2))));
        assert_eq!("150%".parse(), Ok(MaxCpu(Some(1.5))));
        assert_eq!("off".parse(), Ok(MaxCpu(None)));
        for text in [
            "", "%", "20", "0%", "0.5%", "-1%", "NaN%", "inf%", "1e9%", "100001%",
        ] {
            assert!(text.parse::<MaxCpu>().is_err(), "{text}");
        }
        assert_eq!("256MiB".parse(), Ok(MaxMemory::Bytes(256 << 20)));
        assert_eq!("1G".parse(), Ok(MaxMemory::Bytes(1 << 30)));
        assert_eq!("auto".parse(), Ok(MaxMemory::Auto));
        assert_eq!("off".parse(), Ok(MaxMemory::Off));
        for text in ["", "15M", "9999999999G"] {
            assert!(text.parse::<MaxMemory>().is_err(), "{text}");
        }
        assert_eq!("60s".parse(), Ok(Watchdog::default()));
        assert_eq!("5m".parse(), Ok(Watchdog(Some(Duration::from_secs(300)))));
        assert_eq!("off".parse(), Ok(Watchdog(None)));
        for text in ["", "14s", "2h", "61m"] {
            assert!(text.parse::<Watchdog>().is_err(), "{text}");
        }
    }
}
