//! The `task` rung for threads: what a thread sends while it holds a request, and when that is no evidence.

use crate::{
    capture::record::Change,
    correlate::{Candidate, Evidence, Observed},
    protocols::exchange::Failure,
};

use super::scene::{Place, Scene, inbound, outbound, span_of, task};

#[test]
fn nested_and_sequential_calls_are_children_of_the_request_that_the_thread_holds() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    let first = scene.begin(outbound(1, 1));
    let overlapping = scene.begin(outbound(1, 1));
    scene.end(overlapping);
    scene.end(first);
    let second = scene.begin(outbound(1, 1));
    scene.end(second);
    scene.end(s);
    let tree = scene.finish();
    for id in [first, overlapping, second] {
        assert_eq!(tree.place(id), Place::Under(s, Evidence::Task));
    }
}

#[test]
fn a_call_is_no_child_of_the_request_that_it_made_itself_though_their_times_are_the_same() {
    let mut scene = Scene::new();
    // Read by the thread that wrote it; another request is in flight, so the call waits for what its thread proves to be.
    let request = scene.begin(inbound(1, 1).wire(1).at(5));
    let other = scene.begin(inbound(1, 2));
    let call = scene.begin(outbound(1, 1).wire(1).at(5));
    scene.wait(3_000);
    for id in [call, request, other] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(request), Place::Under(call, Evidence::Connection));
    assert_eq!(tree.place(call), Place::Root);
}

#[test]
fn a_thread_that_holds_nothing_begins_traces() {
    let mut scene = Scene::without_timing();
    scene.begin(inbound(1, 1));
    let other_thread = scene.begin(outbound(1, 2));
    let other_process = scene.begin(outbound(2, 1));
    let tree = scene.finish();
    assert_eq!(
        [tree.place(other_thread), tree.place(other_process)],
        [Place::Root; 2]
    );
}

#[test]
fn a_call_after_the_response_begins_a_trace_with_a_span_link_to_the_request() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    scene.end(s);
    let soon = scene.begin(outbound(1, 1));
    scene.end(soon);
    scene.wait(1_100);
    let late = scene.begin(outbound(1, 1));
    let tree = scene.finish();
    assert_eq!([tree.place(soon), tree.place(late)], [Place::Root; 2]);
    let candidate = Candidate {
        trace: tree.trace(s),
        span: span_of(s),
        evidence: Evidence::Task,
        confidence: None,
    };
    assert_eq!(tree.linked(soon).unwrap().candidates, [candidate]);
    assert!(tree.linked(late).unwrap().candidates.is_empty());
    assert_ne!(tree.trace(soon), tree.trace(s));
}

#[test]
fn a_call_begun_before_the_request_was_read_is_not_its_child() {
    let mut scene = Scene::new();
    scene.begin(inbound(1, 1).at(10));
    let c = scene.begin(outbound(1, 1).at(9));
    assert_eq!(scene.finish().place(c), Place::Root);
}

#[test]
fn of_pipelined_requests_the_oldest_is_being_worked_on() {
    let mut scene = Scene::new();
    let first = scene.begin(inbound(1, 1).connection(5));
    let second = scene.begin(inbound(1, 1).connection(5));
    let for_first = scene.begin(outbound(1, 1));
    scene.end(for_first);
    scene.end(first);
    let for_second = scene.begin(outbound(1, 1));
    scene.end(for_second);
    scene.end(second);
    let tree = scene.finish();
    assert_eq!(tree.place(for_first), Place::Under(first, Evidence::Task));
    assert_eq!(tree.place(for_second), Place::Under(second, Evidence::Task));
}

#[test]
fn a_thread_that_serves_several_requests_at_once_is_never_evidence_again() {
    let mut scene = Scene::without_timing();
    let first = scene.begin(inbound(1, 1));
    let second = scene.begin(inbound(1, 1));
    let during_both = scene.begin(outbound(1, 1));
    scene.end(second);
    let during_overtaken = scene.begin(outbound(1, 1));
    scene.end(first);
    let third = scene.begin(inbound(1, 1));
    let during_third = scene.begin(outbound(1, 1));
    scene.end(third);
    let tree = scene.finish();
    for id in [during_both, during_overtaken, during_third] {
        assert_eq!(tree.place(id), Place::Root);
    }
    assert_eq!(
        (tree.counters.interleaving_threads, tree.counters.ambiguous_task),
        (1, 2)
    );
}

#[test]
fn a_request_given_up_by_its_client_does_not_condemn_the_thread_that_had_read_it() {
    let mut scene = Scene::new();
    let abandoned = scene.begin(inbound(1, 1));
    let s = scene.begin(inbound(1, 1));
    scene.fail(abandoned, Failure::Closed);
    let c = scene.begin(outbound(1, 1));
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
}

#[test]
fn an_exec_forgives_the_threads_of_a_process() {
    let mut scene = Scene::new();
    let (first, second) = (scene.begin(inbound(1, 1)), scene.begin(inbound(1, 1)));
    scene.end(second);
    scene.end(first);
    scene.process(1, Change::Executed);
    let s = scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(1, 1));
    assert_eq!(scene.finish().place(c), Place::Under(s, Evidence::Task));
}

#[test]
fn a_thread_that_only_hands_requests_on_is_not_evidence_but_the_others_are() {
    let mut scene = Scene::without_timing();
    let read_here = scene.begin(inbound(1, 1));
    scene.end_by(read_here, task(1, 2));
    let read_again = scene.begin(inbound(1, 1));
    let sent_by_reader = scene.begin(outbound(1, 1));
    scene.end_by(read_again, task(1, 2));
    let s = scene.begin(inbound(1, 2));
    let c = scene.begin(outbound(1, 2));
    let tree = scene.finish();
    assert_eq!(tree.place(sent_by_reader), Place::Root);
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
}

#[test]
fn when_work_moves_between_threads_no_thread_of_the_process_is_evidence() {
    let mut scene = Scene::without_timing();
    let stayed = scene.begin(inbound(1, 1));
    scene.end(stayed);
    let moved = scene.begin(inbound(1, 1));
    scene.end_by(moved, task(1, 2));
    scene.begin(inbound(1, 3));
    let c = scene.begin(outbound(1, 3));
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Root);
    assert_eq!(tree.counters.migrating_processes, 1);
}

#[test]
fn a_connect_that_fails_is_a_child_of_the_request_that_the_thread_holds() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1));
    let c = scene.fail_connect(task(1, 1));
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
    assert!(matches!(
        tree.linked(c).unwrap().observed,
        Observed::ConnectFailed(_)
    ));
}

#[test]
fn a_thread_of_a_pool_that_moves_work_is_not_believed_before_it_has_proven_to_keep_to_its_requests() {
    let mut scene = Scene::without_timing();
    let (first, second) = (scene.begin(inbound(7, 1)), scene.begin(inbound(7, 2)));
    // The first thread has taken over the second request.
    let of_second = scene.begin(outbound(7, 1));
    assert!(!scene.is_out(of_second));
    scene.end(of_second);
    scene.end_by(first, task(7, 2));
    scene.end_by(second, task(7, 1));
    let tree = scene.finish();
    assert_eq!(tree.place(of_second), Place::Root);
    assert_eq!(tree.counters.migrating_processes, 1);
}

#[test]
fn threads_that_have_answered_what_they_read_are_believed_at_once_and_for_what_they_sent_before() {
    let mut scene = Scene::without_timing();
    let other = scene.begin(inbound(7, 99));
    let early = scene.begin(inbound(7, 1));
    let of_early = scene.begin(outbound(7, 1));
    for tid in 2..20 {
        let request = scene.begin(inbound(7, tid));
        scene.end(request);
    }
    scene.end(of_early);
    let request = scene.begin(inbound(7, 20));
    let call = scene.begin(outbound(7, 20));
    for id in [call, request, early, other] {
        scene.end(id);
    }
    let tree = scene.finish();
    assert_eq!(tree.place(of_early), Place::Under(early, Evidence::Task));
    assert_eq!(tree.place(call), Place::Under(request, Evidence::Task));
}

#[test]
fn what_one_thread_sends_on_a_connection_that_another_has_taken_is_for_the_request_of_that() {
    let mut scene = Scene::new();
    let request = scene.begin(inbound(7, 1));
    let call = scene.begin(outbound(7, 50).taken_by(1));
    scene.end(call);
    scene.end(request);
    let of_nobody = scene.begin(outbound(7, 50).taken_by(2));
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(request, Evidence::Handoff));
    assert_eq!(tree.place(of_nobody), Place::Root);
}

#[test]
fn a_thread_that_has_a_request_of_its_own_sends_for_that_whoever_has_looked_at_the_connection() {
    let mut scene = Scene::without_timing();
    let (own, other) = (scene.begin(inbound(7, 1)), scene.begin(inbound(7, 2)));
    let call = scene.begin(outbound(7, 1).taken_by(2));
    // And one that has taken the connection does so for its own, whoever has woken it.
    let woken = scene.begin(outbound(7, 50).woken_by(2, 1, 3));
    for id in [woken, call] {
        scene.end(id);
    }
    scene.end(own);
    scene.end(other);
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(own, Evidence::Task));
    assert_eq!(tree.place(woken), Place::Under(other, Evidence::Handoff));
}

#[test]
fn a_thread_of_a_pool_works_for_what_the_one_that_has_woken_it_had_read_by_then() {
    let mut scene = Scene::without_timing();
    let first = scene.begin(inbound(7, 1).at(1));
    let call = scene.begin(outbound(7, 50).woken_by(8, 1, 1));
    scene.end(call);
    scene.end(first);
    let second = scene.begin(inbound(7, 1).at(6));
    let of_first = scene.begin(outbound(7, 50).woken_by(9, 1, 5));
    let of_second = scene.begin(outbound(7, 50).woken_by(9, 1, 6));
    scene.end(of_first);
    scene.end(of_second);
    scene.end(second);
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(first, Evidence::Handoff));
    assert_eq!(tree.place(of_first), Place::Root);
    assert_eq!(tree.place(of_second), Place::Under(second, Evidence::Handoff));
}

#[test]
fn what_is_handed_on_waits_until_threads_have_proven_to_keep_to_their_requests() {
    let mut scene = Scene::without_timing();
    let (request, other) = (scene.begin(inbound(7, 1)), scene.begin(inbound(7, 2)));
    let (taken, woken) = (
        scene.begin(outbound(7, 50).taken_by(1)),
        scene.begin(outbound(7, 50).woken_by(51, 1, 3)),
    );
    assert!(!scene.is_out(taken) && !scene.is_out(woken));
    scene.end(taken);
    scene.end(woken);
    // Another thread answers: this one hands on what it reads, and nothing is to be learned of it.
    scene.end_by(request, task(7, 60));
    scene.end(other);
    let tree = scene.finish();
    assert_eq!([taken, woken].map(|id| tree.place(id)), [Place::Root; 2]);
}
