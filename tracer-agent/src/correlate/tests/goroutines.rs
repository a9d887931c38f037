//! Goroutines: the rungs `task` and `handoff` in programs written in Go.

use super::scene::{Place, Scene, goroutine, inbound, outbound};
use crate::correlate::Evidence;

const PID: u32 = 7;

fn scene() -> Scene {
    let mut scene = Scene::without_timing();
    scene.is_go(PID);
    scene
}

#[test]
fn a_goroutine_keeps_its_request_whatever_threads_it_runs_in() {
    let mut scene = scene();
    let first = scene.begin(inbound(PID, 1).by(10));
    let second = scene.begin(inbound(PID, 1).by(11));
    let of_second = scene.begin(outbound(PID, 1).by(11));
    let of_first = scene.begin(outbound(PID, 1).by(10));
    for id in [of_first, of_second, first, second] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(of_first), Place::Under(first, Evidence::Task));
    assert_eq!(tree.place(of_second), Place::Under(second, Evidence::Task));
}

#[test]
fn what_a_goroutine_hands_to_the_one_that_writes_is_a_handoff() {
    let mut scene = scene();
    let request = scene.begin(inbound(PID, 1).by(10));
    let call = scene.begin(outbound(PID, 2).by(10).handed());
    scene.end(call);
    scene.end(request);
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(request, Evidence::Handoff));
    assert_eq!(tree.counters.linked_handoff, 1);
}

#[test]
fn threads_of_a_go_program_tell_nothing() {
    let mut scene = scene();
    let request = scene.begin(inbound(PID, 1));
    let call = scene.begin(outbound(PID, 1));
    scene.end(call);
    scene.end(request);
    assert_eq!(scene.finish().place(call), Place::Root);
}

#[test]
fn goroutines_are_made_for_the_request_that_their_maker_holds() {
    let mut scene = scene();
    // Several requests, one after the other, on one connection.
    for round in 0..3 {
        let request = scene.begin(inbound(PID, 1).by(10));
        let calls: Vec<_> = (0..3)
            .map(|number| {
                scene.begin(
                    outbound(PID, 2)
                        .by(100 + 10 * round + number)
                        .made_by(10)
                        .handed(),
                )
            })
            .collect();
        for call in &calls {
            scene.end(*call);
        }
        scene.end(request);
        let tree = |call| {
            scene
                .out
                .iter()
                .find(|linked| super::scene::id_of(linked) == call)
        };
        for call in calls {
            assert_eq!(tree(call).unwrap().evidence, Some(Evidence::Handoff), "{round}");
        }
    }
}

#[test]
fn a_worker_that_was_made_in_an_earlier_request_is_no_evidence_and_shakes_what_others_say() {
    let mut scene = scene();
    let first = scene.begin(inbound(PID, 1).by(10));
    let of_first = scene.begin(outbound(PID, 2).by(50).made_by(10));
    scene.end(of_first);
    scene.end(first);
    let second = scene.begin(inbound(PID, 1).by(10));
    let of_worker = scene.begin(outbound(PID, 2).by(50).made_by(10));
    // From here on nobody knows for whom a goroutine was made, unless its maker never served another request.
    let of_second = scene.begin(outbound(PID, 2).by(51).made_by(10));
    let other = scene.begin(inbound(PID, 3).by(12));
    let of_other = scene.begin(outbound(PID, 2).by(52).made_by(12));
    for id in [of_worker, of_second, of_other, second, other] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(of_first), Place::Under(first, Evidence::Handoff));
    assert_eq!(tree.place(of_worker), Place::Root);
    assert_eq!(tree.place(of_second), Place::Root);
    assert_eq!(tree.place(of_other), Place::Under(other, Evidence::Handoff));
    assert_eq!(tree.counters.outliving_processes, 1);
}

#[test]
fn a_goroutine_that_calls_when_its_maker_has_answered_begins_a_trace_with_a_span_link() {
    let mut scene = scene();
    let request = scene.begin(inbound(PID, 1).by(10));
    scene.end(request);
    let late = scene.begin(outbound(PID, 2).by(50).made_by(10));
    scene.end(late);
    let tree = scene.finish();
    assert_eq!(tree.place(late), Place::Root);
    assert_eq!(tree.linked(late).unwrap().candidates.len(), 1);
    assert_eq!(tree.counters.outliving_processes, 1);
}

#[test]
fn a_goroutine_that_answers_for_another_does_not_condemn_the_process() {
    let mut scene = scene();
    let handed_on = scene.begin(inbound(PID, 1).by(10));
    scene.end_by(handed_on, goroutine(PID, 11));
    let request = scene.begin(inbound(PID, 1).by(11));
    let call = scene.begin(outbound(PID, 2).by(11));
    scene.end(call);
    scene.end(request);
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(request, Evidence::Task));
    assert_eq!(tree.counters.migrating_processes, 0);
}
