//! Which traces are sampled: how many, the same everywhere, and what a rule takes with it.

use crate::{
    correlate::{Caller, RootSampler, Sampler, Settings, identity::Identity},
    ids::TraceId,
    protocols::{ExchangeId, exchange::Sampled},
    sampling::{Action, Randomness, Threshold},
};

use super::scene::{Draft, Place, Scene, context, inbound, outbound};

const TRACES: u64 = 1_000_000;
/// Of a normal distribution 99.99 % lie within so many standard deviations.
const DEVIATIONS: f64 = 3.89;
const SHARES: [f64; 4] = [0.5, 0.1, 0.01, 0.001];

/// The ids that an agent makes.
fn traces(seed: [u64; 2]) -> impl Iterator<Item = TraceId> {
    let identity = Identity::new(seed);
    (0..TRACES).map(move |id| identity.trace(ExchangeId(id)))
}

fn keeps(sampler: Sampler, trace: TraceId) -> bool {
    sampler.decide(trace, Caller::default(), None).sampled
}

#[test]
fn of_a_million_traces_as_many_are_sampled_as_the_ratio_says() {
    for seed in [[1, 2], [0, 0], [0xdead_beef, 0x1234_5678_9abc_def0]] {
        let mut counts = SHARES.map(|_| 0_u64);
        for trace in traces(seed) {
            let randomness = Randomness::of(trace);
            for (count, share) in counts.iter_mut().zip(SHARES) {
                *count += u64::from(Threshold::of_share(share).unwrap().keeps(randomness));
            }
        }
        for (count, share) in counts.into_iter().zip(SHARES) {
            // What is written in four digits is not quite what was asked for.
            let share = Threshold::of_share(share).unwrap().share();
            let expected = TRACES as f64 * share;
            let interval = DEVIATIONS * (expected * (1.0 - share)).sqrt();
            let off = (count as f64 - expected).abs();
            assert!(off <= interval, "{count} of {expected}, seed {seed:x?}");
        }
    }
}

#[test]
fn each_of_the_last_56_bits_of_an_id_is_set_in_half_of_a_million() {
    let mut set = [0_u64; 56];
    for trace in traces([5, 6]) {
        let low = u128::from_be_bytes(trace.bytes());
        for (bit, count) in set.iter_mut().enumerate() {
            *count += u64::from(low >> bit & 1 == 1);
        }
    }
    let deviation = (TRACES as f64 * 0.25).sqrt();
    for (bit, count) in set.into_iter().enumerate() {
        let off = (count as f64 - TRACES as f64 / 2.0).abs();
        assert!(off < 5.0 * deviation, "bit {bit} is set in {count}");
    }
}

/// The ids of one agent, decided by another, which is told of them by header, and by what decides at the tail.
#[test]
fn two_agents_agree_about_every_trace_and_what_a_share_keeps_a_larger_one_does() {
    let here = SHARES.map(|share| Sampler::ParentBased(RootSampler::of_share(share)));
    let there =
        ["0.5", "0.1", "0.01", "0.001"].map(|text| Sampler::named("traceidratio", Some(text)).unwrap());
    for trace in traces([7, 8]).step_by(7) {
        let decided = here.map(|sampler| keeps(sampler, trace));
        let told = there.map(|sampler| {
            let caller = Caller {
                sampled: Some(Sampled::Yes),
                tracestate: Some("vendor=1"),
            };
            sampler.decide(trace, caller, None).sampled
        });
        assert_eq!(decided, told, "{trace}");
        assert!(
            decided.is_sorted_by(|large, small| large >= small),
            "{trace}: {decided:?}"
        );
    }
}

fn ruled(draft: Draft, rule: Action) -> Draft {
    let mut draft = draft;
    draft.0.rule = Some(rule);
    draft
}

#[test]
fn what_is_dropped_by_rule_takes_with_it_what_it_causes_and_nothing_else() {
    for dropped in 0..4 {
        let mut scene = Scene::new();
        let drafts = [
            outbound(1, 1).wire(1),
            inbound(2, 1).wire(1),
            outbound(2, 1).wire(2),
            inbound(3, 1).wire(2),
        ];
        let mut ids = Vec::new();
        for (number, draft) in drafts.into_iter().enumerate() {
            let is_dropped = number == dropped;
            ids.push(scene.begin(if is_dropped {
                ruled(draft, Action::Drop)
            } else {
                draft
            }));
        }
        for id in ids.iter().rev() {
            scene.end(*id);
        }
        let other = scene.begin(inbound(2, 1));
        scene.end(other);
        let tree = scene.finish();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(
                tree.place(*id) == Place::Absent,
                number >= dropped,
                "{number} of {dropped}"
            );
        }
        assert_eq!(tree.place(other), Place::Root);
        assert_eq!(tree.counters.unsampled, 4 - dropped as u64);
    }
}

#[test]
fn a_health_check_is_dropped_whatever_its_caller_decided() {
    let mut scene = Scene::new();
    let check = scene.begin(ruled(inbound(2, 1).with(context(7, 8)), Action::Drop));
    let call = scene.begin(outbound(2, 1));
    scene.end(call);
    scene.end(check);
    let tree = scene.finish();
    assert_eq!([tree.place(check), tree.place(call)], [Place::Absent; 2]);
}

/// What comes of a request and a call that it causes, where nothing is sampled but by rule.
fn request_and_call(request: Draft, call: Draft) -> [bool; 2] {
    let settings = Settings {
        sampler: Sampler::ParentBased(RootSampler::Off),
        ..Settings::default()
    };
    let mut scene = Scene::with(settings);
    let request = scene.begin(request);
    let call = scene.begin(call);
    scene.end(call);
    scene.end(request);
    let tree = scene.finish();
    [request, call].map(|id| tree.place(id) != Place::Absent)
}

#[test]
fn a_rule_decides_where_a_trace_begins_and_not_within_it() {
    let (request, call) = (|| inbound(2, 1), || outbound(2, 1));
    let least = Action::Share(Threshold::parse("ffffffffffffff").unwrap());
    let kept = request_and_call(ruled(request(), Action::Keep), ruled(call(), least));
    assert_eq!(kept, [true, true]);
    assert_eq!(
        request_and_call(request(), ruled(call(), Action::Keep)),
        [false, false]
    );
    let told = ruled(request().with(context(7, 8)), least);
    assert_eq!(request_and_call(told, call()), [true, true]);
}

#[test]
fn the_threshold_of_a_share_is_told_with_every_span_of_the_trace() {
    let settings = Settings {
        sampler: Sampler::ParentBased(RootSampler::of_share(1.0)),
        ..Settings::default()
    };
    let mut scene = Scene::with(settings);
    let request = scene.begin(inbound(2, 1));
    let call = scene.begin(outbound(2, 1));
    scene.end(call);
    scene.end(request);
    let told = scene.out.iter().map(|linked| linked.tracestate.as_deref());
    assert_eq!(told.collect::<Vec<_>>(), [Some("ot=th:0"); 2]);
    assert!(scene.out.iter().all(|linked| linked.has_random_id));
}
