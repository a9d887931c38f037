//! The `timing` rung as it is told: what waits, what is exported, and what other rungs say of the same process.

use crate::correlate::{Evidence, Settings};

use super::scene::{Place, Scene, inbound, outbound, span_of};

#[test]
fn a_call_by_another_thread_waits_until_the_requests_around_it_are_answered() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(1, 2));
    scene.end(c);
    scene.wait(100);
    assert!(!scene.is_out(c));
    scene.end(s);
    scene.wait(100);
    assert!(scene.is_out(c));
    let tree = scene.finish();
    assert_eq!(tree.counters.linked_timing + tree.counters.unsure_timing, 1);
}

#[test]
fn a_call_waits_no_longer_than_it_may() {
    let mut scene = Scene::new();
    scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(1, 2));
    scene.end(c);
    scene.wait(1_900);
    assert!(!scene.is_out(c));
    scene.wait(200);
    assert!(scene.is_out(c));
}

#[test]
fn a_call_of_a_process_that_serves_nothing_waits_for_nothing() {
    let mut scene = Scene::new();
    scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(2, 1));
    scene.end(c);
    assert!(scene.is_out(c));
    assert_eq!(scene.finish().place(c), Place::Root);
}

#[test]
fn the_calls_of_an_event_loop_are_given_to_its_requests_with_a_confidence() {
    let mut scene = Scene::new();
    let [mut sure, mut right] = [0; 2];
    let mut calls = Vec::new();
    for round in 0..50 {
        // Two requests at once, so that the thread is no evidence; their calls come one after the other.
        let first = scene.begin(inbound(1, 1));
        scene.wait(2);
        let c = scene.begin(outbound(1, 1));
        scene.wait(if round % 2 == 0 { 5 } else { 20 });
        let second = scene.begin(inbound(1, 1));
        scene.wait(2);
        let d = scene.begin(outbound(1, 1));
        for id in [c, first, d, second] {
            scene.end(id);
            scene.wait(1);
        }
        scene.wait(50);
        calls.extend([(c, first), (d, second)]);
    }
    let tree = scene.finish();
    for (call, request) in calls.into_iter().skip(20) {
        if let Place::Under(parent, Evidence::Timing) = tree.place(call) {
            let confidence = tree.linked(call).unwrap().confidence.unwrap();
            assert!((0.9..=1.0).contains(&confidence), "{confidence}");
            sure += 1;
            right += u32::from(parent == request);
        }
    }
    assert!(sure > 60 && right == sure, "{right} of {sure} are right");
}

#[test]
fn what_is_not_sure_enough_is_told_as_a_link() {
    let mut scene = Scene::with(Settings {
        min_confidence: 1.1,
        ..Settings::default()
    });
    let s = scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(1, 2));
    scene.end(c);
    scene.end(s);
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Root);
    let linked = tree.linked(c).unwrap();
    let candidate = linked.candidates.first().unwrap();
    assert_eq!(
        (candidate.span, candidate.evidence),
        (span_of(s), Evidence::Timing)
    );
    assert!(candidate.confidence.is_some() && linked.confidence.is_none());
    assert_eq!(tree.counters.unsure_timing, 1);
}

#[test]
fn what_a_process_calls_while_it_serves_nothing_is_not_given_to_a_request_by_chance() {
    let mut scene = Scene::new();
    // Watched from here on.
    let s = scene.begin(inbound(1, 1));
    let mut other = outbound(1, 2);
    other.0.request.target = "/other".into();
    let first = scene.begin(other);
    scene.end(first);
    scene.end(s);
    for _ in 0..20 {
        scene.wait(50);
        let alone = scene.begin(outbound(1, 2));
        scene.end(alone);
    }
    let s = scene.begin(inbound(1, 1));
    let by_chance = scene.begin(outbound(1, 2));
    scene.end(by_chance);
    scene.end(s);
    assert_eq!(scene.finish().place(by_chance), Place::Root);
}

#[test]
fn calls_that_would_cost_too_much_wait_for_nothing_and_are_counted() {
    let mut scene = Scene::with(Settings {
        max_looks: 3,
        ..Settings::default()
    });
    for tid in 1..=3 {
        scene.begin(inbound(1, tid));
    }
    let calls = [(); 4].map(|()| {
        let call = scene.begin(outbound(1, 9));
        scene.end(call);
        scene.wait(20);
        call
    });
    let out = calls.map(|call| scene.is_out(call));
    let shed = scene.finish().counters.shed_timing;
    assert!(!out[0] && out[3] && shed > 0, "{out:?}, {shed} shed");
}

#[test]
fn a_thread_that_is_trusted_is_not_asked_for_times() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    let t = scene.begin(inbound(1, 2));
    let c = scene.begin(outbound(1, 1));
    scene.end(c);
    scene.end(s);
    scene.end(t);
    assert_eq!(scene.finish().place(c), Place::Under(s, Evidence::Task));
}
