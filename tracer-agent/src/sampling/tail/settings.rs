//! What can be chosen about tail sampling; every bound of this stage.
//!
//! Written as one text, parts with commas between them: `errors,slow=500ms,slow=p99,ratio=0.05,rate=10`.

use std::str::FromStr;

use crate::sampling::Threshold;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// The choices of this stage. All durations are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Traces with an error are kept.
    pub errors: bool,
    /// Which durations are.
    pub slow: Slow,
    /// Which of the others are, by their id; none where there is none.
    pub share: Option<Threshold>,
    /// How many traces a second are kept of a service, in the mean.
    pub limit: Option<u32>,
    /// How long after its last span a trace is decided of which nothing is missing.
    pub quiet_ns: u64,
    /// How long after its first span at the latest, whatever is in flight.
    pub longest_ns: u64,
    /// Traces that are held; past it the oldest is decided.
    pub max_traces: usize,
    /// Spans that are held, in all traces together; past it the oldest trace is decided.
    pub max_spans: usize,
    /// Spans that are held of one trace; past it that one is decided.
    pub max_spans_of_trace: usize,
    /// Decisions that are remembered; past it the one that was used longest ago is forgotten.
    pub max_decisions: usize,
    /// Routes whose durations are known; past it the one that was used longest ago is forgotten.
    pub max_routes: usize,
    /// Services whose traces are counted; past it the one that was seen longest ago is forgotten.
    pub max_services: usize,
}

/// Which durations are slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slow {
    /// Those of any span from so many nanoseconds on.
    pub over_ns: Option<u64>,
    /// Those of an entry above the 99th percentile of its route.
    pub unusual: bool,
}

/// Why a text is none of these settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {}", self.wanted())]
pub enum SettingsError {
    /// A part is not known.
    Part,
    /// A duration.
    Duration,
    /// A share.
    Share,
    /// A rate.
    Rate,
    /// A part is there twice.
    Twice,
    /// Nothing would be kept.
    Nothing,
}

impl SettingsError {
    /// What would be such settings.
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::Part => "a list of errors, slow=500ms, slow=p99, ratio=0.05, rate=10 and wait=2s",
            Self::Duration => "a list with a duration such as slow=500ms, slow=2s or slow=p99",
            Self::Share => "a list with a ratio from 0 to 1",
            Self::Rate => "a list with a rate of traces a second, from 1",
            Self::Twice => "a list in which every part is given once",
            Self::Nothing => "a list that says what to keep: errors, slow= or ratio=",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            errors: false,
            slow: Slow::default(),
            share: None,
            limit: None,
            quiet_ns: 2 * SECOND,
            longest_ns: 30 * SECOND,
            max_traces: 16_384,
            max_spans: 32_768,
            max_spans_of_trace: 1_024,
            max_decisions: 65_536,
            max_routes: 1_024,
            max_services: 1_024,
        }
    }
}

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match (key, value) {
                ("errors", "") if part == "errors" => settings.errors = true,
                ("slow", "p99") => settings.slow.unusual = true,
                ("slow", value) => settings.slow.over_ns = Some(duration(value)?),
                ("ratio", value) => settings.share = share(value)?,
                ("rate", value) => {
                    let rate = value.parse().ok().filter(|rate| *rate > 0);
                    settings.limit = Some(rate.ok_or(SettingsError::Rate)?);
                }
                ("wait", value) => settings.quiet_ns = duration(value)?,
                _ => return Err(SettingsError::Part),
            }
            let name = if part == "slow=p99" { part } else { key };
            if seen.contains(&name) {
                return Err(SettingsError::Twice);
            }
            seen.push(name);
        }
        let keeps = settings.errors || settings.slow != Slow::default() || settings.share.is_some();
        if !keeps {
            return Err(SettingsError::Nothing);
        }
        settings.longest_ns = settings.longest_ns.max(settings.quiet_ns);
        Ok(settings)
    }
}

fn share(text: &str) -> Result<Option<Threshold>, SettingsError> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    Ok(Threshold::of_share(share.ok_or(SettingsError::Share)?))
}

/// A whole number of `ms` or `s`, up to an hour and not 0.
fn duration(text: &str) -> Result<u64, SettingsError> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, MILLISECOND),
        (None, Some(number)) => (number, SECOND),
        (None, None) => return Err(SettingsError::Duration),
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|nanos| (1..=3_600 * SECOND).contains(nanos))
        .ok_or(SettingsError::Duration)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_parts_are_read() {
        let settings: Settings = "errors,slow=500ms, slow=p99,ratio=0.05,rate=10,wait=3s"
            .parse()
            .unwrap();
        let expected = Settings {
            errors: true,
            slow: Slow {
                over_ns: Some(500 * MILLISECOND),
                unusual: true,
            },
            share: Threshold::of_share(0.05),
            limit: Some(10),
            quiet_ns: 3 * SECOND,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!("errors,ratio=0".parse::<Settings>().unwrap().share, None);
        assert_eq!(
            "errors,wait=60s".parse::<Settings>().unwrap().longest_ns,
            60 * SECOND
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", SettingsError::Part),
            ("error", SettingsError::Part),
            ("errors=1", SettingsError::Part),
            ("errors,", SettingsError::Part),
            ("slow=", SettingsError::Duration),
            ("slow=500", SettingsError::Duration),
            ("slow=0ms", SettingsError::Duration),
            ("slow=p95", SettingsError::Duration),
            ("slow=99999999999999999999s", SettingsError::Duration),
            ("ratio=2", SettingsError::Share),
            ("ratio=", SettingsError::Share),
            ("errors,rate=0", SettingsError::Rate),
            ("errors,errors", SettingsError::Twice),
            ("slow=1s,slow=2s", SettingsError::Twice),
            ("rate=10", SettingsError::Nothing),
            ("ratio=0", SettingsError::Nothing),
        ] {
            assert_eq!(text.parse::<Settings>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "((errors|slow|ratio|rate|wait)?=?\\PC{0,6},?){0,4}") {
            let _ = text.parse::<Settings>();
        }
    }
}
