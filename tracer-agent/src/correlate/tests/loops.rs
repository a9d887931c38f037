//! Event loops of one process that give each other work, and those that do not.

use super::scene::{Place, Scene, inbound, outbound};
use crate::{
    correlate::Evidence,
    ids::{BootNanos, Moment},
    protocols::ExchangeId,
};

const PID: u32 = 7;
/// More requests than are needed for a thread to be trusted, and its process.
const ENOUGH: u32 = 80;

struct Loops {
    scene: Scene,
    turn: u32,
}

impl Loops {
    /// Two, of which one has a request throughout.
    fn new() -> Self {
        let mut loops = Self::idle(Scene::without_timing());
        loops.request(8);
        loops
    }

    fn idle(scene: Scene) -> Self {
        Self { scene, turn: 0 }
    }

    /// In the turn that it is, after so many reads.
    fn moment(&self, reads: u32) -> Moment {
        Moment {
            turn: self.turn,
            reads,
            timer: false,
            at: BootNanos(u64::from(self.turn) * 1_000 + u64::from(reads)),
        }
    }

    /// The first read of a new turn.
    fn request(&mut self, tid: u32) -> ExchangeId {
        self.turn += 1;
        let mut draft = inbound(PID, tid);
        draft.0.moment = Some(self.moment(1));
        self.scene.begin(draft)
    }

    /// In the same turn as what was read last.
    fn call(&mut self, tid: u32) -> ExchangeId {
        let mut draft = outbound(PID, tid);
        draft.0.moment = Some(self.moment(1));
        self.scene.begin(draft)
    }

    /// Its answer is the first read of a new turn.
    fn reads_answer(&mut self, call: ExchangeId) {
        self.turn += 1;
        let moment = self.moment(1);
        self.scene.end_at(call, moment);
    }

    fn answers(&mut self, request: ExchangeId) {
        let moment = self.moment(1);
        self.scene.end_at(request, moment);
    }

    /// The loop has read what another has told it.
    fn answers_when_told(&mut self, request: ExchangeId) {
        self.turn += 1;
        self.answers(request);
    }
}

#[test]
fn loops_that_answer_when_their_calls_are_answered_call_for_what_they_have_read() {
    let mut loops = Loops::new();
    let mut served = Vec::new();
    for _ in 0..ENOUGH {
        let request = loops.request(7);
        let call = loops.call(7);
        loops.reads_answer(call);
        loops.answers(request);
        served.push((request, call));
    }
    let tree = loops.scene.finish();
    for (request, call) in served {
        assert!(
            matches!(tree.place(call), Place::Under(of, Evidence::Task | Evidence::Turn) if of == request)
        );
    }
}

#[test]
fn loops_that_answer_when_another_tells_them_call_for_anything() {
    let mut loops = Loops::new();
    let mut calls = Vec::new();
    for _ in 0..ENOUGH {
        let request = loops.request(7);
        let call = loops.call(7);
        loops.reads_answer(call);
        loops.answers_when_told(request);
        calls.push(call);
    }
    let tree = loops.scene.finish();
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}

#[test]
fn loops_whose_calls_outlive_what_they_have_read_call_for_anything() {
    let mut loops = Loops::new();
    let mut calls = Vec::new();
    for _ in 0..ENOUGH {
        let request = loops.request(7);
        let call = loops.call(7);
        loops.answers(request);
        loops.reads_answer(call);
        calls.push(call);
    }
    let tree = loops.scene.finish();
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}

#[test]
fn that_a_loop_has_read_a_request_does_not_make_it_likelier_by_time() {
    let mut loops = Loops::idle(Scene::new());
    let mut served = Vec::new();
    for round in 0..10 * ENOUGH {
        let requests = [7, 8].map(|tid| loops.request(tid));
        // Each sends for the other, now the one first and now the other.
        let mut order = [(requests[0], 8), (requests[1], 7)];
        order.rotate_left(round as usize % 2);
        let calls = order.map(|(request, tid)| {
            let call = loops.call(tid);
            served.push((request, call));
            call
        });
        calls.into_iter().for_each(|call| loops.reads_answer(call));
        requests
            .into_iter()
            .for_each(|request| loops.answers_when_told(request));
    }
    let tree = loops.scene.finish();
    let is_wrong = |(request, call): &_| matches!(tree.place(*call), Place::Under(of, _) if of != *request);
    assert_eq!(served.iter().filter(|served| is_wrong(served)).count(), 0);
}
