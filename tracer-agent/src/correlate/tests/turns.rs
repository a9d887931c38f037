//! Event loops: the rung `turn`.

use super::scene::{Draft, Place, Scene, inbound, outbound, task};
use crate::{
    capture::record::Change,
    correlate::Evidence,
    ids::{BootNanos, Moment},
    protocols::ExchangeId,
};

const PID: u32 = 7;
const LOOP: u32 = 7;
/// More than a thread needs to be trusted.
const ENOUGH: u32 = 40;

/// A thread that runs an event loop, and where it is in its work.
struct Loop {
    scene: Scene,
    turn: u32,
    reads: u32,
    /// A timer may have expired.
    timer: bool,
}

impl Loop {
    fn new() -> Self {
        Self {
            scene: Scene::without_timing(),
            turn: 0,
            reads: 0,
            timer: false,
        }
    }

    /// One in which many requests were answered after what was read last.
    fn trusted() -> Self {
        let mut one = Self::new();
        for _ in 0..ENOUGH {
            one.answers_at_once();
        }
        one
    }

    fn waits(&mut self) {
        self.turn += 1;
        self.reads = 0;
    }

    fn moment(&self) -> Moment {
        Moment {
            turn: self.turn,
            reads: self.reads,
            timer: self.timer,
            at: BootNanos(u64::from(self.turn) * 1_000 + u64::from(self.reads)),
        }
    }

    fn place(&self, mut draft: Draft) -> Draft {
        draft.0.moment = Some(self.moment());
        draft
    }

    fn reads(&mut self) -> ExchangeId {
        self.reads += 1;
        let request = self.place(inbound(PID, LOOP));
        self.scene.begin(request)
    }

    fn calls(&mut self) -> ExchangeId {
        let call = self.place(outbound(PID, LOOP));
        self.scene.begin(call)
    }

    fn reads_answer(&mut self, call: ExchangeId) {
        self.reads += 1;
        self.scene.end_at(call, self.moment());
    }

    fn answers(&mut self, request: ExchangeId) {
        self.scene.end_at(request, self.moment());
    }

    /// Answers a request at once while another is in flight, and that one when nothing was read.
    fn answers_at_once(&mut self) {
        self.waits();
        let first = self.reads();
        let second = self.reads();
        self.answers(second);
        self.waits();
        self.answers(first);
    }

    fn place_of(self, call: ExchangeId) -> Place {
        self.scene.finish().place(call)
    }
}

#[test]
fn a_loop_that_acts_on_what_it_reads_sends_for_what_it_read_last() {
    let mut one = Loop::new();
    // Before anything is known of it.
    one.waits();
    one.reads();
    let (early, of_early) = (one.reads(), one.calls());
    for _ in 0..ENOUGH {
        one.answers_at_once();
    }
    one.waits();
    let (first, of_first) = (one.reads(), one.calls());
    let (second, of_second) = (one.reads(), one.calls());
    // What is read of a call is read for its request.
    one.waits();
    one.reads_answer(of_second);
    let again = one.calls();
    let tree = one.scene.finish();
    for (call, request) in [
        (of_early, early),
        (of_first, first),
        (of_second, second),
        (again, second),
    ] {
        assert_eq!(tree.place(call), Place::Under(request, Evidence::Turn));
    }
    assert_eq!(tree.counters.turns_refuted, 0);
    assert_eq!(tree.counters.turning_threads, 1);
}

#[test]
fn a_loop_that_reads_all_and_acts_later_is_found_out() {
    let mut one = Loop::new();
    let mut calls = Vec::new();
    for _ in 0..ENOUGH {
        one.waits();
        let (first, second) = (one.reads(), one.reads());
        calls.push(one.calls());
        one.answers(first);
        one.answers(second);
    }
    let tree = one.scene.finish();
    assert!(tree.counters.turns_refuted > 0);
    for call in calls {
        assert_ne!(tree.linked(call).unwrap().evidence, Some(Evidence::Turn));
    }
}

#[test]
fn what_may_be_done_for_a_timer_counts_only_if_more_is_read_in_the_same_turn() {
    for reads_on in [true, false] {
        let mut one = Loop::trusted();
        one.waits();
        let request = one.reads();
        one.timer = true;
        let call = one.calls();
        if !reads_on {
            one.waits();
        }
        one.reads();
        let expected = if reads_on {
            Place::Under(request, Evidence::Turn)
        } else {
            Place::Root
        };
        assert_eq!(one.place_of(call), expected);
    }
}

#[test]
fn what_was_read_between_is_not_known_and_tells_nothing() {
    let mut one = Loop::trusted();
    one.waits();
    one.reads();
    one.reads += 1;
    let call = one.calls();
    assert_eq!(one.place_of(call), Place::Root);
}

#[test]
fn the_loop_of_a_new_program_is_another() {
    let mut one = Loop::trusted();
    one.scene.process(PID, Change::Executed);
    one.waits();
    one.reads();
    one.reads();
    let call = one.calls();
    assert_eq!(one.place_of(call), Place::Root);
}

#[test]
fn a_loop_that_sends_for_what_it_has_answered_is_not_believed_to_send_for_what_it_holds() {
    let mut one = Loop::new();
    one.waits();
    let answered = one.reads();
    one.answers(answered);
    one.waits();
    let held = one.reads();
    // Before anything else is read, but in another turn.
    one.waits();
    let late = one.calls();
    one.answers(held);
    assert_eq!(one.place_of(late), Place::Root);
}

#[test]
fn threads_that_take_over_the_work_of_others_do_not_act_on_what_they_read_alone() {
    let mut one = Loop::trusted();
    // Another thread answers what this one has read.
    one.waits();
    let (first, second) = (one.reads(), one.reads());
    one.scene.end_by(first, task(PID, LOOP + 1));
    one.waits();
    one.reads();
    let call = one.calls();
    one.answers(second);
    assert_eq!(one.place_of(call), Place::Root);
}

/// A loop that acts some turns after it has read, as asyncio does; its requests make two calls, one after the other.
struct Later {
    one: Loop,
    /// What is due in each turn, in order.
    queue: std::collections::BTreeMap<u32, Vec<Due>>,
    /// Calls with their requests, and how many each has made.
    calls: Vec<(ExchangeId, ExchangeId)>,
}

enum Due {
    Call(ExchangeId, u32),
    Answer(ExchangeId),
}

impl Later {
    const OF_REQUESTS: u32 = 2;
    const OF_ANSWERS: u32 = 1;

    fn new() -> Self {
        let mut one = Loop::new();
        one.scene = Scene::new();
        Self {
            one,
            queue: std::collections::BTreeMap::new(),
            calls: Vec::new(),
        }
    }

    /// A turn: what is due is done, then so many requests and the answers to the calls of the last turn but one are read.
    fn turn(
        &mut self,
        requests: u32,
        answered: Vec<(ExchangeId, ExchangeId, u32)>,
    ) -> Vec<(ExchangeId, ExchangeId, u32)> {
        self.one.waits();
        let turn = self.one.turn;
        let mut made = Vec::new();
        for due in self.queue.remove(&turn).unwrap_or_default() {
            match due {
                Due::Call(request, number) => {
                    let call = self.one.calls();
                    self.calls.push((call, request));
                    made.push((call, request, number));
                }
                Due::Answer(request) => self.one.answers(request),
            }
        }
        for _ in 0..requests {
            let request = self.one.reads();
            let due = self.queue.entry(turn + Self::OF_REQUESTS).or_default();
            due.push(Due::Call(request, 1));
        }
        for (call, request, number) in answered {
            self.one.reads_answer(call);
            let due = if number < 2 {
                Due::Call(request, number + 1)
            } else {
                Due::Answer(request)
            };
            self.queue.entry(turn + Self::OF_ANSWERS).or_default().push(due);
        }
        made
    }
}

#[test]
fn a_loop_that_acts_some_turns_later_sends_for_what_it_read_then() {
    let mut later = Later::new();
    let (mut sent, mut before) = (Vec::new(), Vec::new());
    for round in 0..200 {
        let answered = std::mem::replace(&mut before, sent);
        sent = later.turn(if round < 160 { round % 4 } else { 0 }, answered);
    }
    let calls = later.calls;
    let tree = later.one.scene.finish();
    assert_eq!(tree.counters.turns_refuted, 0);
    let of_turn = |call| matches!(tree.place(call), Place::Under(_, Evidence::Turn));
    let found = calls.iter().filter(|(call, _)| of_turn(*call)).count();
    assert!(found * 10 > calls.len() * 9, "{found} of {}", calls.len());
    for (call, request) in calls {
        if let Place::Under(parent, evidence) = tree.place(call) {
            assert_eq!((parent, evidence), (request, Evidence::Turn));
        }
    }
}
