//! Head sampling as `OTEL_TRACES_SAMPLER` names it: one decision a trace, the same in every service.

use crate::{ids::TraceId, protocols::exchange::Sampled};

/// Which traces are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// The root sampler alone, whatever the caller decided.
    Always(RootSampler),
    /// What the caller decided; the root sampler where nobody has.
    ParentBased(RootSampler),
}

/// Which traces that begin here are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RootSampler {
    /// All.
    On,
    /// None.
    Off,
    /// This share of them, 0 to 1, by trace id.
    TraceIdRatio(f64),
}

/// Why a sampler cannot be made of its name and argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// Not a name of the specification, or one that needs a remote service.
    #[error(
        "unknown sampler `{0}`: use always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio"
    )]
    Name(String),
    /// Not a share.
    #[error("sampler ratio `{0}` is not a number from 0 to 1")]
    Ratio(String),
}

impl Default for Sampler {
    fn default() -> Self {
        Self::ParentBased(RootSampler::On)
    }
}

impl Sampler {
    /// The sampler of these values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; the ratio is 1 when
    /// there is no argument.
    pub fn named(name: &str, argument: Option<&str>) -> Result<Self, SamplerError> {
        let ratio = || match argument {
            None | Some("") => Ok(RootSampler::TraceIdRatio(1.0)),
            Some(text) => match text.trim().parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(RootSampler::TraceIdRatio(ratio)),
                _ => Err(SamplerError::Ratio(text.to_owned())),
            },
        };
        match name {
            "always_on" => Ok(Self::Always(RootSampler::On)),
            "always_off" => Ok(Self::Always(RootSampler::Off)),
            "traceidratio" => ratio().map(Self::Always),
            "parentbased_always_on" => Ok(Self::ParentBased(RootSampler::On)),
            "parentbased_always_off" => Ok(Self::ParentBased(RootSampler::Off)),
            "parentbased_traceidratio" => ratio().map(Self::ParentBased),
            other => Err(SamplerError::Name(other.to_owned())),
        }
    }

    /// Whether it goes by what the caller decided.
    pub fn is_parent_based(self) -> bool {
        matches!(self, Self::ParentBased(_))
    }

    /// Whether a span is exported that begins a trace or continues one from the wire.
    pub fn samples(self, trace: TraceId, caller: Option<Sampled>) -> bool {
        match (self, caller) {
            (Self::ParentBased(_), Some(Sampled::Yes)) => true,
            (Self::ParentBased(_), Some(Sampled::No)) => false,
            (Self::Always(root) | Self::ParentBased(root), _) => root.samples(trace),
        }
    }
}

impl RootSampler {
    fn samples(self, trace: TraceId) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::TraceIdRatio(ratio) => {
                let low = u128::from_be_bytes(trace.bytes()) & u128::from(u64::MAX);
                // The rule of the SDKs: the last 8 bytes, less one bit, against the share of 2^63.
                (low >> 1) < bound(ratio)
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 <= ratio <= 1, so the product is within 0 to 2^63"
)]
fn bound(ratio: f64) -> u128 {
    (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(low: u64) -> TraceId {
        TraceId::new(((1_u128 << 100) | u128::from(low)).to_be_bytes()).unwrap()
    }

    #[test]
    fn parent_based_follows_the_caller_and_asks_the_root_sampler_otherwise() {
        let sampler = Sampler::ParentBased(RootSampler::Off);
        assert!(sampler.samples(trace(1), Some(Sampled::Yes)));
        assert!(!sampler.samples(trace(1), Some(Sampled::No)));
        assert!(!sampler.samples(trace(1), Some(Sampled::Deferred)));
        assert!(!sampler.samples(trace(1), None));
        assert!(Sampler::default().samples(trace(1), None));
        assert!(Sampler::Always(RootSampler::On).samples(trace(1), Some(Sampled::No)));
    }

    #[test]
    fn a_ratio_takes_the_traces_whose_low_63_bits_are_under_its_share() {
        let half = Sampler::Always(RootSampler::TraceIdRatio(0.5));
        assert!(half.samples(trace(0x7fff_ffff_ffff_ffff), None));
        assert!(!half.samples(trace(0x8000_0000_0000_0000), None));
        assert!(!Sampler::Always(RootSampler::TraceIdRatio(0.0)).samples(trace(0), None));
        assert!(Sampler::Always(RootSampler::TraceIdRatio(1.0)).samples(trace(u64::MAX), None));
    }

    #[test]
    fn names_and_arguments_are_those_of_the_specification() {
        let ratio = RootSampler::TraceIdRatio(0.25);
        assert_eq!(
            Sampler::named("traceidratio", Some("0.25")),
            Ok(Sampler::Always(ratio))
        );
        assert_eq!(
            Sampler::named("parentbased_traceidratio", None),
            Ok(Sampler::ParentBased(RootSampler::TraceIdRatio(1.0)))
        );
        assert_eq!(
            Sampler::named("parentbased_always_on", None),
            Ok(Sampler::default())
        );
        for wrong in ["1.5", "-1", "NaN", "many"] {
            let error = Sampler::named("traceidratio", Some(wrong));
            assert_eq!(error, Err(SamplerError::Ratio(wrong.to_owned())));
        }
        assert!(matches!(
            Sampler::named("jaeger_remote", None),
            Err(SamplerError::Name(_))
        ));
    }
}
