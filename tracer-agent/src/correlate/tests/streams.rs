//! Requests that one connection carries at once, and goroutines that tell which of them they work on.

use super::scene::{Draft, Place, Scene, inbound, outbound};
use crate::{correlate::Evidence, protocols::ExchangeId};

const PID: u32 = 7;
/// Who reads and writes for all.
const READER: u64 = 10;
const WRITER: u64 = 11;

fn scene() -> Scene {
    let mut scene = Scene::without_timing();
    scene.is_go(PID);
    scene
}

fn request() -> Draft {
    inbound(PID, 1).by(READER).connection(5).multiplexed()
}

fn call() -> Draft {
    outbound(PID, 1).by(WRITER).connection(6).multiplexed()
}

/// Two requests at once, taken by goroutines 21 and 22.
fn two(scene: &mut Scene) -> [ExchangeId; 2] {
    let requests = [scene.begin(request()), scene.begin(request())];
    for (request, worker) in requests.iter().zip([21, 22]) {
        scene.taken(*request, worker, Some(READER));
    }
    requests
}

#[test]
fn a_goroutine_calls_for_the_stream_that_it_has_taken() {
    let mut scene = scene();
    let requests = two(&mut scene);
    let calls = [22, 21].map(|worker| scene.begin(outbound(PID, 1).by(worker)));
    for call in calls {
        scene.end(call);
    }
    for request in requests {
        scene.end_stream(request);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(calls[0]), Place::Under(requests[1], Evidence::Task));
    assert_eq!(tree.place(calls[1]), Place::Under(requests[0], Evidence::Task));
}

#[test]
fn what_it_has_sent_on_a_stream_is_for_it_whoever_writes() {
    let mut scene = scene();
    let requests = two(&mut scene);
    let calls = [(); 2].map(|()| scene.begin(call()));
    scene.taken(calls[0], 22, None);
    // One that it has made has it sent.
    scene.taken(calls[1], 30, Some(21));
    for id in calls.into_iter().chain(requests) {
        scene.end_stream(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(calls[0]), Place::Under(requests[1], Evidence::Task));
    assert_eq!(tree.place(calls[1]), Place::Under(requests[0], Evidence::Handoff));
}

#[test]
fn one_that_was_made_to_send_does_so_for_who_made_it_or_who_made_that() {
    let mut scene = scene();
    let requests = two(&mut scene);
    let direct = scene.begin(call().by(40).made_by(22));
    scene.calls(PID, 41, 21);
    let indirect = scene.begin(call().by(42).made_by(41));
    for id in [direct, indirect].into_iter().chain(requests) {
        scene.end_stream(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(direct), Place::Under(requests[1], Evidence::Handoff));
    assert_eq!(tree.place(indirect), Place::Under(requests[0], Evidence::Handoff));
}

#[test]
fn who_takes_the_next_stream_is_done_with_the_one_before_though_its_answer_is_not_sent_yet() {
    let mut scene = scene();
    let requests = [scene.begin(request()), scene.begin(request())];
    scene.taken(requests[0], 21, None);
    scene.taken(requests[1], 21, None);
    let call = scene.begin(outbound(PID, 1).by(21));
    scene.end(call);
    for request in requests {
        scene.end_stream(request);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(requests[1], Evidence::Task));
}

#[test]
fn a_call_after_the_answer_begins_a_trace_with_a_span_link() {
    let mut scene = scene();
    let [first, second] = two(&mut scene);
    scene.end_stream(first);
    let late = scene.begin(outbound(PID, 1).by(21));
    scene.end(late);
    scene.end_stream(second);
    let tree = scene.finish();
    assert_eq!(tree.place(late), Place::Root);
    assert_eq!(tree.linked(late).unwrap().candidates.len(), 1);
}

#[test]
fn who_writes_for_all_tells_nothing_and_is_not_waited_for_long() {
    let mut scene = scene();
    let requests = two(&mut scene);
    let call = scene.begin(call());
    scene.end_stream(call);
    assert!(!scene.is_out(call), "it may be taken yet");
    scene.wait(200);
    assert!(scene.is_out(call));
    // Too late.
    scene.taken(call, 21, None);
    for request in requests {
        scene.end_stream(request);
    }
    assert_eq!(scene.finish().place(call), Place::Root);
}
