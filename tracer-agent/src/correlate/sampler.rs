//! Head sampling as `OTEL_TRACES_SAMPLER` names it: one decision a trace, the same in every service.

use std::sync::Arc;

use crate::{
    ids::TraceId,
    protocols::exchange::Sampled,
    sampling::{Action, Randomness, Threshold, tracestate},
};

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
    /// Those whose randomness is not below this threshold.
    TraceIdRatio(Threshold),
}

/// What came with a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// The decision.
    pub sampled: Option<Sampled>,
    /// The `tracestate` that goes with the trace.
    pub tracestate: Option<&'a str>,
}

/// What is decided about a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// It is exported.
    pub sampled: bool,
    /// What came, with the threshold that was applied.
    pub tracestate: Option<Arc<str>>,
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
            None | Some("") => Ok(RootSampler::of_share(1.0)),
            Some(text) => match text.trim().parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(RootSampler::of_share(share)),
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

    /// Decides about a trace that begins here or continues one from the wire. A rule is in the place of the root sampler, but that
    /// what is to be dropped is dropped in any case.
    pub fn decide(self, trace: TraceId, caller: Caller<'_>, rule: Option<Action>) -> Decided {
        let randomness = || {
            let explicit = caller.tracestate.and_then(tracestate::randomness);
            explicit.unwrap_or_else(|| Randomness::of(trace))
        };
        let came = caller.tracestate;
        let root = match (self, caller.sampled, rule) {
            (_, _, Some(Action::Drop)) => RootSampler::Off,
            (Self::ParentBased(_), Some(Sampled::Yes), _) => {
                return Decided {
                    sampled: true,
                    tracestate: came.map(|list| consistent(list, randomness())),
                };
            }
            (Self::ParentBased(_), Some(Sampled::No), _) => RootSampler::Off,
            (_, _, Some(Action::Keep)) => RootSampler::On,
            (_, _, Some(Action::Share(threshold))) => RootSampler::TraceIdRatio(threshold),
            (Self::Always(root) | Self::ParentBased(root), _, None) => root,
        };
        let (sampled, tracestate) = match root {
            RootSampler::Off => (false, came.map(Into::into)),
            // What somebody else has applied was not applied to what is decided here.
            RootSampler::On => (true, came.map(|list| replaced(list, Threshold::NONE))),
            RootSampler::TraceIdRatio(threshold) => {
                let list = tracestate::with_threshold(came.unwrap_or_default(), Some(threshold));
                (threshold.keeps(randomness()), Some(list.into()))
            }
        };
        Decided { sampled, tracestate }
    }

    /// Of what was decided to be sampled one trace in `one_in`, by its randomness, so that all hosts that thin out as much leave out the
    /// same. The threshold is in its `tracestate`, unless the caller has decided and did not say by which: how many traces it stands for is
    /// not known then either.
    pub fn thin_out(self, decided: Decided, trace: TraceId, caller: Caller<'_>, one_in: u64) -> Decided {
        let list = decided.tracestate.as_deref().unwrap_or_default();
        let randomness = tracestate::randomness(list).unwrap_or_else(|| Randomness::of(trace));
        let before = tracestate::threshold(list);
        let by_caller = self.is_parent_based() && caller.sampled == Some(Sampled::Yes);
        let applied = before.unwrap_or(Threshold::NONE).keeping_part(1, one_in);
        let Some(applied) = applied.filter(|applied| applied.keeps(randomness)) else {
            return Decided {
                sampled: false,
                ..decided
            };
        };
        if by_caller && before.is_none() {
            return decided;
        }
        Decided {
            sampled: true,
            tracestate: Some(tracestate::with_threshold(list, Some(applied)).into()),
        }
    }
}

impl RootSampler {
    /// The sampler of a share of all traces, 0 to 1; none of them is no probability.
    pub fn of_share(share: f64) -> Self {
        Threshold::of_share(share).map_or(Self::Off, Self::TraceIdRatio)
    }
}

/// A list that came with a sampled trace: a threshold that would have rejected the trace was not applied to it, and is taken away.
fn consistent(list: &str, randomness: Randomness) -> Arc<str> {
    match tracestate::has_threshold(list) {
        true if !tracestate::threshold(list).is_some_and(|threshold| threshold.keeps(randomness)) => {
            tracestate::with_threshold(list, None).into()
        }
        _ => list.into(),
    }
}

/// With this threshold where the list has one.
fn replaced(list: &str, threshold: Threshold) -> Arc<str> {
    if tracestate::has_threshold(list) {
        tracestate::with_threshold(list, Some(threshold)).into()
    } else {
        list.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace whose randomness is this.
    fn trace(randomness: u64) -> TraceId {
        TraceId::new(((1_u128 << 100) | u128::from(randomness)).to_be_bytes()).unwrap()
    }

    fn caller(sampled: impl Into<Option<Sampled>>, tracestate: &str) -> Caller<'_> {
        Caller {
            sampled: sampled.into(),
            tracestate: Some(tracestate),
        }
    }

    fn samples(sampler: Sampler, trace: TraceId, sampled: Option<Sampled>) -> bool {
        let caller = Caller {
            sampled,
            tracestate: None,
        };
        sampler.decide(trace, caller, None).sampled
    }

    fn share(share: f64) -> Threshold {
        Threshold::of_share(share).unwrap()
    }

    #[test]
    fn parent_based_follows_the_caller_and_asks_the_root_sampler_otherwise() {
        let sampler = Sampler::ParentBased(RootSampler::Off);
        assert!(samples(sampler, trace(1), Some(Sampled::Yes)));
        assert!(!samples(sampler, trace(1), Some(Sampled::No)));
        assert!(!samples(sampler, trace(1), Some(Sampled::Deferred)));
        assert!(!samples(sampler, trace(1), None));
        assert!(samples(Sampler::default(), trace(1), None));
        assert!(samples(
            Sampler::Always(RootSampler::On),
            trace(1),
            Some(Sampled::No)
        ));
    }

    #[test]
    fn a_ratio_takes_the_traces_whose_last_56_bits_are_not_below_its_threshold() {
        let half = Sampler::Always(RootSampler::of_share(0.5));
        assert!(!samples(half, trace(0x7f_ffff_ffff_ffff), None));
        assert!(samples(half, trace(0x80_0000_0000_0000), None));
        assert!(samples(half, trace(0x0180_0000_0000_0000), None));
        assert_eq!(RootSampler::of_share(0.0), RootSampler::Off);
        assert!(samples(
            Sampler::Always(RootSampler::of_share(1.0)),
            trace(0),
            None
        ));
    }

    #[test]
    fn a_ratio_says_its_threshold_in_the_place_of_another() {
        let quarter = Sampler::Always(RootSampler::of_share(0.25));
        let kept = trace(0xc0_0000_0000_0000);
        let decided = quarter.decide(kept, Caller::default(), None);
        assert_eq!(decided.tracestate.as_deref(), Some("ot=th:c"));
        let decided = quarter.decide(kept, caller(Sampled::Yes, "a=1,ot=th:8"), None);
        assert_eq!(decided.tracestate.as_deref(), Some("ot=th:c,a=1"));
        let on = Sampler::Always(RootSampler::On);
        let decided = on.decide(trace(1), caller(Sampled::No, "a=1,ot=th:8"), None);
        assert_eq!(decided.tracestate.as_deref(), Some("ot=th:0,a=1"));
        let decided = on.decide(trace(1), Caller::default(), None);
        assert_eq!(decided.tracestate, None);
    }

    #[test]
    fn randomness_that_came_along_is_stronger_than_the_trace_id() {
        let half = Sampler::Always(RootSampler::of_share(0.5));
        let decided = half.decide(trace(0), caller(None, "ot=rv:80000000000000"), None);
        assert!(decided.sampled);
        assert_eq!(decided.tracestate.as_deref(), Some("ot=rv:80000000000000;th:8"));
        assert!(
            !half
                .decide(trace(u64::MAX >> 8), caller(None, "ot=rv:7fffffffffffff"), None)
                .sampled
        );
    }

    #[test]
    fn parent_based_passes_a_threshold_on_unless_it_cannot_be_true() {
        let sampler = Sampler::ParentBased(RootSampler::of_share(0.5));
        for (list, kept) in [
            ("ot=th:c", "ot=th:c"),
            ("a=1,ot=th:c1", "a=1"),
            ("ot=th:zz;p:1,a=1", "ot=p:1,a=1"),
            ("ot=rv:00000000000000;th:8", "ot=rv:00000000000000"),
            ("a=1", "a=1"),
        ] {
            let decided = sampler.decide(trace(0xc0_0000_0000_0000), caller(Sampled::Yes, list), None);
            assert_eq!(
                (decided.sampled, decided.tracestate.as_deref()),
                (true, Some(kept)),
                "{list}"
            );
        }
    }

    #[test]
    fn a_rule_is_in_the_place_of_the_root_sampler_but_drops_in_any_case() {
        let (off, on) = (RootSampler::Off, RootSampler::On);
        let decided = |sampler: Sampler, sampled, rule| {
            sampler
                .decide(trace(0x80_0000_0000_0000), caller(sampled, ""), Some(rule))
                .sampled
        };
        assert!(decided(Sampler::ParentBased(off), None, Action::Keep));
        assert!(!decided(
            Sampler::ParentBased(off),
            Some(Sampled::No),
            Action::Keep
        ));
        assert!(decided(Sampler::Always(off), Some(Sampled::No), Action::Keep));
        assert!(decided(
            Sampler::ParentBased(off),
            None,
            Action::Share(share(0.5))
        ));
        assert!(!decided(
            Sampler::ParentBased(on),
            None,
            Action::Share(share(0.25))
        ));
        assert!(decided(
            Sampler::ParentBased(on),
            Some(Sampled::Yes),
            Action::Share(share(0.25))
        ));
        assert!(!decided(
            Sampler::ParentBased(on),
            Some(Sampled::Yes),
            Action::Drop
        ));
    }

    /// One in four of a half is an eighth; what a caller has decided without saying how stays without a threshold.
    #[test]
    fn what_is_thinned_out_says_so_where_it_can_be_known() {
        let thinned = |sampler: Sampler, trace, caller: Caller<'_>| {
            let decided = sampler.decide(trace, caller, None);
            assert!(decided.sampled);
            let thinned = sampler.thin_out(decided, trace, caller, 4);
            (thinned.sampled, thinned.tracestate.map(|list| list.to_string()))
        };
        let (on, half) = (Sampler::default(), Sampler::Always(RootSampler::of_share(0.5)));
        let (high, low) = (trace(0xe0_0000_0000_0000), trace(0xbf_0000_0000_0000));
        let th = |text: &str| Some(text.to_owned());
        assert_eq!(thinned(on, high, Caller::default()), (true, th("ot=th:c")));
        assert!(!thinned(on, low, Caller::default()).0);
        assert_eq!(thinned(half, high, Caller::default()), (true, th("ot=th:e")));
        assert!(!thinned(half, trace(0xdf_0000_0000_0000), Caller::default()).0);
        let said = caller(Sampled::Yes, "ot=th:8,a=1");
        assert_eq!(thinned(on, high, said), (true, th("ot=th:e,a=1")));
        let unsaid = caller(Sampled::Yes, "a=1");
        assert_eq!(thinned(on, high, unsaid), (true, th("a=1")));
        assert!(!thinned(on, low, unsaid).0);
        assert!(thinned(on, low, caller(Sampled::Yes, "ot=rv:ffffffffffffff")).0);
    }

    #[test]
    fn names_and_arguments_are_those_of_the_specification() {
        let ratio = RootSampler::of_share(0.25);
        assert_eq!(
            Sampler::named("traceidratio", Some("0.25")),
            Ok(Sampler::Always(ratio))
        );
        assert_eq!(
            Sampler::named("parentbased_traceidratio", None),
            Ok(Sampler::ParentBased(RootSampler::of_share(1.0)))
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
