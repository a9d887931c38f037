//! What is true of every order of events, and of nonsense.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
};

use proptest::prelude::*;

use crate::{
    capture::record::Change,
    correlate::{Evidence, Linked, Settings},
    ids::{BootNanos, Coroutine, Moment},
    protocols::{
        ExchangeId,
        exchange::{Failure, OtherEnd},
    },
};

use super::scene::{Draft, Place, Scene, context, id_of, inbound, outbound, task};

/// One event of a chain of client, gateway, orders and bank.
#[derive(Clone)]
enum Step {
    Begin(&'static str, usize, Box<Draft>),
    End(&'static str, usize),
}

const HOPS: [(&str, &str); 3] = [("c1", "s1"), ("c2", "s2"), ("c3", "s3")];

/// What each thread of the chain does, in order: request `r` is served by thread `r % threads` everywhere.
fn lanes(requests: usize, threads: usize) -> Vec<Vec<Step>> {
    let mut lanes: BTreeMap<(u32, u32), Vec<Step>> = BTreeMap::new();
    for request in 0..requests {
        let tid = u32::try_from(request % threads).unwrap();
        let base = request as u64 * 100;
        for (hop, (client, server)) in (0_u16..).zip(HOPS) {
            let number = u16::try_from(request).unwrap() * 10 + hop;
            let (from, to) = (u32::from(hop), u32::from(hop) + 1);
            let start = base + u64::from(hop) * 10;
            let sent = outbound(from, tid).wire(number).at(start + 1).into();
            let read = inbound(to, tid).wire(number).at(start + 2).into();
            lanes
                .entry((from, tid))
                .or_default()
                .push(Step::Begin(client, request, sent));
            lanes
                .entry((to, tid))
                .or_default()
                .push(Step::Begin(server, request, read));
        }
        for (hop, (client, server)) in (0_u32..).zip(HOPS) {
            lanes
                .entry((hop, tid))
                .or_default()
                .push(Step::End(client, request));
            if hop == 2 {
                lanes
                    .entry((3, tid))
                    .or_default()
                    .push(Step::End(server, request));
            }
            if let Some((_, above)) = hop.checked_sub(1).and_then(|above| HOPS.get(above as usize)) {
                lanes
                    .entry((hop, tid))
                    .or_default()
                    .push(Step::End(above, request));
            }
        }
    }
    lanes
        .into_values()
        .map(|lane| lane.into_iter().rev().collect())
        .collect()
}

proptest! {
    #[test]
    fn a_chain_gives_the_same_right_tree_in_every_order_that_keeps_that_of_each_thread(
        requests in 1..9_usize,
        threads in 1..5_usize,
        choices in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut lanes = lanes(requests, threads);
        let mut choices = choices.iter().cycle();
        let (mut scene, mut ids) = (Scene::new(), BTreeMap::new());
        while !lanes.is_empty() {
            let lane = choices.next().unwrap().index(lanes.len());
            match lanes[lane].pop() {
                None => drop(lanes.swap_remove(lane)),
                Some(Step::Begin(who, request, draft)) => {
                    ids.insert((who, request), scene.begin(*draft));
                }
                Some(Step::End(who, request)) => scene.end(ids[&(who, request)]),
            }
        }
        let tree = scene.finish();
        prop_assert_eq!(tree.spans.len(), requests * 6);
        for request in 0..requests {
            prop_assert_eq!(tree.place(ids[&("c1", request)]), Place::Root);
            for (child, parent, evidence) in [
                ("s1", "c1", Evidence::Connection),
                ("c2", "s1", Evidence::Task),
                ("s2", "c2", Evidence::Connection),
                ("c3", "s2", Evidence::Task),
                ("s3", "c3", Evidence::Connection),
            ] {
                let expected = Place::Under(ids[&(parent, request)], evidence);
                prop_assert_eq!(tree.place(ids[&(child, request)]), expected, "{} of {}", child, request);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Nonsense {
    Begin {
        is_inbound: bool,
        pid: u32,
        tid: u32,
        wire: u16,
        start: u64,
        span: u64,
        other: u8,
        is_stream: bool,
        coroutine: u64,
    },
    Taken {
        which: prop::sample::Index,
        number: u64,
    },
    Calls {
        pid: u32,
        number: u64,
    },
    End {
        which: prop::sample::Index,
        tid: u32,
        fails: bool,
        coroutine: u64,
    },
    Makes {
        pid: u32,
        maker: u64,
        coroutine: u64,
    },
    Connect {
        pid: u32,
        tid: u32,
    },
    Process {
        pid: u32,
        exits: bool,
    },
    Wait(u64),
}

fn nonsense() -> impl Strategy<Value = Nonsense> {
    let (pid, tid) = (1..4_u32, 1..3_u32);
    prop_oneof![
        6 => (any::<bool>(), pid.clone(), tid.clone(), 0..4_u16, 1..60_u64, 0..8_u64, 0..3_u8, any::<bool>(), 0..4_u64).prop_map(
            |(is_inbound, pid, tid, wire, start, span, other, is_stream, coroutine)| Nonsense::Begin {
                is_inbound, pid, tid, wire, start, span, other, is_stream, coroutine,
            },
        ),
        2 => (any::<prop::sample::Index>(), 1..4_u64).prop_map(|(which, number)| Nonsense::Taken { which, number }),
        1 => (pid.clone(), 1..4_u64).prop_map(|(pid, number)| Nonsense::Calls { pid, number }),
        5 => (any::<prop::sample::Index>(), tid.clone(), any::<bool>(), 0..4_u64)
            .prop_map(|(which, tid, fails, coroutine)| Nonsense::End { which, tid, fails, coroutine }),
        2 => (pid.clone(), 1..4_u64, 1..4_u64)
            .prop_map(|(pid, maker, coroutine)| Nonsense::Makes { pid, maker, coroutine }),
        1 => (pid.clone(), tid).prop_map(|(pid, tid)| Nonsense::Connect { pid, tid }),
        1 => (pid, any::<bool>()).prop_map(|(pid, exits)| Nonsense::Process { pid, exits }),
        1 => (1..3_000_u64).prop_map(Nonsense::Wait),
    ]
}

fn moment(turn: u32) -> Moment {
    Moment {
        turn,
        reads: 0,
        timer: false,
        at: BootNanos(u64::from(turn)),
    }
}

fn play(steps: &[Nonsense]) -> super::scene::Tree {
    let mut scene = Scene::with(Settings {
        max_in_flight: 8,
        max_over: 4,
        max_tasks: 4,
        max_processes: 2,
        ..Settings::default()
    });
    let mut begun = Vec::new();
    for step in steps {
        match *step {
            Nonsense::Begin {
                is_inbound,
                pid,
                tid,
                wire,
                start,
                span,
                other,
                is_stream,
                coroutine,
            } => {
                let draft = if is_inbound {
                    inbound(pid, tid)
                } else {
                    outbound(pid, tid)
                };
                let draft = draft.wire(wire).at(start).connection(u64::from(wire) + 1);
                let draft = if is_stream {
                    draft.multiplexed().by(u64::from(tid)).made_by(u64::from(tid) + 1)
                } else {
                    draft
                };
                let mut draft = draft;
                draft.0.coroutine = NonZeroU64::new(coroutine).map(Coroutine);
                let sent = (span > 0 && span < 5).then(|| context(u128::from(span), span));
                let other_end = [OtherEnd::Traced, OtherEnd::Maybe, OtherEnd::Untraced][usize::from(other)];
                begun.push((scene.begin(draft.with(sent).other_end(other_end)), pid));
            }
            Nonsense::End {
                which,
                tid,
                fails,
                coroutine,
            } if !begun.is_empty() => {
                let (id, pid) = begun[which.index(begun.len())];
                if fails {
                    scene.fail(id, Failure::Reset);
                } else if let Some(coroutine) = NonZeroU64::new(coroutine) {
                    scene.end_in(id, Coroutine(coroutine), moment(tid));
                } else {
                    scene.end_by(id, task(pid, tid));
                }
            }
            Nonsense::Taken { which, number } if !begun.is_empty() => {
                let (id, _) = begun[which.index(begun.len())];
                scene.taken(id, number, Some(number + 1));
            }
            Nonsense::End { .. } | Nonsense::Taken { .. } => {}
            Nonsense::Makes {
                pid,
                maker,
                coroutine,
            } => {
                let [maker, coroutine] =
                    [maker, coroutine].map(|number| Coroutine(NonZeroU64::new(number).unwrap()));
                scene.makes(pid, maker, coroutine);
            }
            Nonsense::Calls { pid, number } => scene.calls(pid, number, number + 1),
            Nonsense::Connect { pid, tid } => drop(scene.fail_connect(task(pid, tid))),
            Nonsense::Process { pid, exits: true } => scene.process(pid, Change::Exited),
            Nonsense::Process { pid, exits: false } => scene.process(pid, Change::Executed),
            Nonsense::Wait(milliseconds) => scene.wait(milliseconds),
        }
    }
    scene.finish()
}

proptest! {
    #[test]
    fn nonsense_never_gives_a_tree_that_cannot_be(steps in prop::collection::vec(nonsense(), 0..120)) {
        let tree = play(&steps);
        let counters = tree.counters;
        prop_assert_eq!(counters.begun, counters.exported + counters.withheld + counters.unsampled);
        prop_assert_eq!(counters.exported, tree.spans.len() as u64);
        let by_span: BTreeMap<_, &Linked> = tree.spans.iter().map(|linked| (linked.span, linked)).collect();
        prop_assert_eq!(by_span.len(), tree.spans.len(), "an id was used twice");
        let on_the_wire: BTreeSet<_> = (1..5).map(super::scene::span).collect();
        for linked in &tree.spans {
            let mut seen: BTreeSet<ExchangeId> = [id_of(linked)].into();
            let mut child = linked;
            while let Some(parent) = child.parent {
                let Some(above) = by_span.get(&parent.span) else {
                    prop_assert!(on_the_wire.contains(&parent.span), "the parent of {:?} dangles", id_of(child));
                    break;
                };
                prop_assert_eq!(child.trace, above.trace);
                prop_assert!(child.observed.start() >= above.observed.start(), "a child before its parent");
                prop_assert!(seen.insert(id_of(above)), "a cycle at {:?}", id_of(above));
                child = above;
            }
            for candidate in &linked.candidates {
                let above = by_span.get(&candidate.span);
                prop_assert!(above.is_some_and(|above| above.trace == candidate.trace), "a link dangles");
            }
        }
    }

    #[test]
    fn the_same_events_give_the_same_output(steps in prop::collection::vec(nonsense(), 0..60)) {
        prop_assert_eq!(play(&steps).spans, play(&steps).spans);
    }
}
