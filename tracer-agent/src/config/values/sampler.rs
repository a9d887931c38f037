//! Samplers, as the OpenTelemetry specification names them.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration>

use std::str::FromStr;

use super::NotAValue;

/// Which traces are kept. Ratios are in `0.0..=1.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The decision of the caller counts where there is one.
    pub parent_based: bool,
    /// The share of the other traces that is kept, by trace id.
    pub ratio: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            parent_based: true,
            ratio: 1.0,
        }
    }
}

impl Sampler {
    const WANTED: &str =
        "a sampler: always_on, always_off, traceidratio=0.1, or one of them after parentbased_";

    /// The sampler of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; without an argument a ratio is 1.
    ///
    /// # Errors
    /// [`NotAValue`] when the name or the ratio is none.
    pub fn from_otel(name: &str, argument: Option<&str>) -> Result<Self, NotAValue> {
        let (parent_based, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument.map_or(Ok(1.0), ratio)?,
            _ => return Err(NotAValue(Self::WANTED)),
        };
        Ok(Self { parent_based, ratio })
    }
}

impl FromStr for Sampler {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        match text.split_once('=') {
            Some((name, argument)) if name.ends_with("traceidratio") => Self::from_otel(name, Some(argument)),
            Some(_) => Err(NotAValue(Self::WANTED)),
            None => Self::from_otel(text, None),
        }
    }
}

fn ratio(text: &str) -> Result<f64, NotAValue> {
    text.trim()
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or(NotAValue("a ratio from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_specification() {
        let sampler = |parent_based, ratio| Ok(Sampler { parent_based, ratio });
        assert_eq!(Sampler::from_otel("always_on", None), sampler(false, 1.0));
        assert_eq!(
            Sampler::from_otel("parentbased_always_off", None),
            sampler(true, 0.0)
        );
        assert_eq!(
            Sampler::from_otel("traceidratio", Some("0.25")),
            sampler(false, 0.25)
        );
        assert_eq!(
            Sampler::from_otel("parentbased_traceidratio", None),
            sampler(true, 1.0)
        );
        assert_eq!("parentbased_traceidratio=0.5".parse(), sampler(true, 0.5));
        assert_eq!(Ok(Sampler::default()), "parentbased_always_on".parse());
    }

    #[test]
    fn an_argument_that_is_no_ratio_is_refused() {
        for text in ["1.1", "-0.1", "NaN", "", "half"] {
            assert!(Sampler::from_otel("traceidratio", Some(text)).is_err(), "{text}");
        }
        assert!("always_on=1".parse::<Sampler>().is_err());
        assert!("jaeger_remote".parse::<Sampler>().is_err());
    }
}
