//! Ids of requests that came in and went out again: the rung `request-id`.

use super::scene::{Place, Scene, context, inbound, outbound, task};
use crate::correlate::Evidence;

const PID: u32 = 7;
const ONE: &str = "7f8a1c1e-93c4-4a7f-9a70-2f1f6f0d8b11";
const OTHER: &str = "0b1f2c3d-5a6b-4c7d-8e9f-a0b1c2d3e4f5";

#[test]
fn an_id_tells_what_no_thread_tells() {
    let mut scene = Scene::without_timing();
    let first = scene.begin(inbound(PID, 1).named(ONE));
    let second = scene.begin(inbound(PID, 1).named(OTHER));
    let of_first = scene.begin(outbound(PID, 1).named(ONE));
    let of_second = scene.begin(outbound(PID, 2).named(OTHER));
    for id in [of_first, of_second, first, second] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(of_first), Place::Under(first, Evidence::RequestId));
    assert_eq!(tree.place(of_second), Place::Under(second, Evidence::RequestId));
    assert_eq!(tree.counters.linked_request_id, 2);
}

#[test]
fn an_id_is_stronger_than_a_thread_and_weaker_than_a_context() {
    let mut scene = Scene::without_timing();
    let (of_id, of_thread) = (
        scene.begin(inbound(PID, 1).named(ONE)),
        scene.begin(inbound(PID, 2)),
    );
    let by_id = scene.begin(outbound(PID, 2).named(ONE));
    let with_context = scene.begin(inbound(PID, 3).with(context(1, 2)));
    let by_context = scene.begin(outbound(PID, 4).named(ONE).with(context(1, 2)));
    for id in [by_id, by_context, of_id, of_thread, with_context] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(by_id), Place::Under(of_id, Evidence::RequestId));
    assert_eq!(
        tree.place(by_context),
        Place::Under(with_context, Evidence::Header)
    );
}

#[test]
fn an_id_that_came_twice_is_no_evidence() {
    let mut scene = Scene::without_timing();
    let first = scene.begin(inbound(PID, 1).named(ONE));
    scene.end(first);
    let second = scene.begin(inbound(PID, 2).named(ONE));
    let call = scene.begin(outbound(PID, 3).named(ONE));
    // What a thread tells still counts.
    let by_thread = scene.begin(outbound(PID, 2).named(ONE));
    for id in [call, by_thread, second] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Root);
    assert_eq!(tree.place(by_thread), Place::Under(second, Evidence::Task));
}

#[test]
fn an_id_of_another_process_or_of_what_came_later_is_no_evidence() {
    let mut scene = Scene::without_timing();
    let elsewhere = scene.begin(inbound(PID + 1, 1).named(ONE));
    let call = scene.begin(outbound(PID, 1).named(ONE));
    let later = scene.begin(inbound(PID, 2).named(OTHER));
    let early = scene.begin(outbound(PID, 3).named(OTHER).at(1));
    for id in [call, early, elsewhere, later] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Root);
    assert_eq!(tree.place(early), Place::Root);
}

#[test]
fn work_after_the_response_is_still_told_by_its_id() {
    let mut scene = Scene::without_timing();
    let request = scene.begin(inbound(PID, 1).named(ONE));
    scene.end_by(request, task(PID, 1));
    let late = scene.begin(outbound(PID, 2).named(ONE));
    scene.end(late);
    let tree = scene.finish();
    assert_eq!(tree.place(late), Place::Under(request, Evidence::RequestId));
}

#[test]
fn another_program_in_the_process_knows_no_ids() {
    let mut scene = Scene::without_timing();
    let request = scene.begin(inbound(PID, 1).named(ONE));
    scene.end(request);
    scene.process(PID, crate::capture::record::Change::Executed);
    let call = scene.begin(outbound(PID, 2).named(ONE));
    scene.end(call);
    assert_eq!(scene.finish().place(call), Place::Root);
}
