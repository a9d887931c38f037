//! Threads that answer what others have read.

use super::scene::{Place, Scene, inbound, outbound, task};
use crate::{correlate::Evidence, ids::Task, protocols::ExchangeId};

const PID: u32 = 7;
/// It reads every request.
const READER: u32 = 1;
/// More calls than are needed to be believed.
const ENOUGH: u32 = 20;

fn request(scene: &mut Scene) -> ExchangeId {
    scene.begin(inbound(PID, READER))
}

fn worker(number: u32) -> Task {
    task(PID, 50 + number)
}

fn call(scene: &mut Scene, number: u32) -> ExchangeId {
    scene.begin(outbound(PID, worker(number).tid))
}

/// A request is read, worked on and answered; gives it and its call.
fn served(scene: &mut Scene, number: u32) -> (ExchangeId, ExchangeId) {
    let request = request(scene);
    let call = call(scene, number);
    scene.end(call);
    scene.end_by(request, worker(number));
    (request, call)
}

/// Where another request is in flight throughout.
fn scene() -> Scene {
    let mut scene = Scene::without_timing();
    request(&mut scene);
    scene
}

fn believed() -> Scene {
    let mut scene = scene();
    for number in 0..ENOUGH {
        served(&mut scene, number % 4);
    }
    scene
}

#[test]
fn what_a_thread_has_sent_since_its_last_answer_is_for_the_request_that_it_answers_next() {
    let mut scene = believed();
    let (first, second) = (request(&mut scene), request(&mut scene));
    let calls = [0, 1, 0, 1].map(|number| {
        let call = call(&mut scene, number);
        scene.end(call);
        call
    });
    // It takes what has come while it was at work on the former.
    let third = request(&mut scene);
    scene.end_by(second, worker(0));
    let of_third = call(&mut scene, 0);
    scene.end(of_third);
    scene.end_by(third, worker(0));
    scene.end_by(first, worker(1));
    let tree = scene.finish();
    let under = |request| Place::Under(request, Evidence::Task);
    let places = calls.map(|call| tree.place(call));
    assert_eq!(places, [second, first, second, first].map(under));
    assert_eq!(tree.place(of_third), under(third));
}

#[test]
fn what_was_sent_before_its_process_was_believed_is_told_then() {
    let mut scene = scene();
    // The first is answered before it is known that others answer than read.
    served(&mut scene, 0);
    let (request, call) = served(&mut scene, 0);
    assert!(!scene.is_out(call));
    for _ in 0..ENOUGH {
        served(&mut scene, 0);
    }
    assert!(scene.is_out(call));
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Under(request, Evidence::Task));
}

#[test]
fn threads_that_leave_answers_to_others_are_not_believed() {
    let mut scene = scene();
    let mut calls = Vec::new();
    for _ in 0..ENOUGH {
        let request = request(&mut scene);
        let call = call(&mut scene, 0);
        scene.end_by(call, worker(1));
        scene.end_by(request, worker(0));
        calls.push(call);
    }
    let tree = scene.finish();
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}

#[test]
fn who_answers_before_its_calls_are_answered_may_have_made_them_for_anything() {
    let mut scene = believed();
    let request = request(&mut scene);
    let call = call(&mut scene, 0);
    scene.end_by(request, worker(0));
    scene.end(call);
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Root);
}

#[test]
fn a_process_that_calls_after_its_answers_is_not_believed() {
    let mut scene = Scene::without_timing();
    let first = request(&mut scene);
    scene.end_by(first, worker(0));
    let late = call(&mut scene, 0);
    scene.end(late);
    request(&mut scene);
    let calls: Vec<_> = (0..ENOUGH).map(|_| served(&mut scene, 0).1).collect();
    let tree = scene.finish();
    assert_eq!(tree.place(late), Place::Root);
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}

#[test]
fn nor_is_one_whose_thread_has_called_before_what_it_answers_next_had_come() {
    let mut scene = believed();
    let late = call(&mut scene, 0);
    scene.end(late);
    let calls: Vec<_> = (0..ENOUGH).map(|_| served(&mut scene, 0).1).collect();
    let tree = scene.finish();
    assert_eq!(tree.place(late), Place::Root);
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}
