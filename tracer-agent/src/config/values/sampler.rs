//! A sampler as it is written in one text: the name that OpenTelemetry has for it, and its argument.

use std::str::FromStr;

use super::NotAValue;
use crate::correlate::Sampler;

const WANTED: NotAValue =
    NotAValue("a sampler: always_on, always_off, traceidratio=0.1, or one of them after parentbased_");

impl FromStr for Sampler {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let (name, argument) = match text.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        // Only a ratio has an argument: `always_on=0.5` would not do what it seems to say.
        if argument.is_some_and(str::is_empty) || (argument.is_some() && !name.ends_with("traceidratio")) {
            return Err(WANTED);
        }
        Self::named(name, argument).map_err(|_| WANTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::RootSampler;

    #[test]
    fn the_argument_follows_the_name() {
        assert_eq!(
            "parentbased_traceidratio=0.5".parse(),
            Ok(Sampler::ParentBased(RootSampler::of_share(0.5)))
        );
        assert_eq!("always_off".parse(), Ok(Sampler::Always(RootSampler::Off)));
    }

    #[test]
    fn what_is_no_sampler_is_refused() {
        for text in [
            "",
            "jaeger_remote",
            "always_on=1",
            "traceidratio=",
            "traceidratio=2",
            "traceidratio=half",
        ] {
            assert_eq!(text.parse::<Sampler>(), Err(WANTED), "{text}");
        }
    }
}
