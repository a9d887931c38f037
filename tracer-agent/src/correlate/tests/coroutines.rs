//! Event loops that run coroutines: the rung `task`.

use std::num::NonZeroU64;

use super::scene::{Draft, Place, Scene, inbound, outbound};
use crate::{
    capture::record::Change,
    correlate::Evidence,
    ids::{BootNanos, Coroutine, Maker, Moment},
    protocols::ExchangeId,
};

const PID: u32 = 7;
const LOOP: u32 = 7;
/// More answers than a thread needs to be believed.
const ENOUGH: u64 = 20;
/// As scenes count time.
const MILLISECOND: u64 = 1_000_000;
const DAWN: u64 = 1_000_000 * MILLISECOND;

/// A thread that runs coroutines, which are numbered here from 1.
struct Loop {
    scene: Scene,
    /// Milliseconds, which are turns too: nothing is read in the one in which anything is done.
    now: u32,
}

impl Loop {
    fn new() -> Self {
        Self {
            scene: Scene::without_timing(),
            now: 0,
        }
    }

    /// One that has answered many requests, all in flight at once, in a coroutine each.
    fn believed() -> Self {
        let mut one = Self::new();
        one.prove();
        one
    }

    /// One that has also shown that one coroutine answers all requests of a connection.
    fn of_connections() -> Self {
        let mut one = Self::believed();
        for _ in 0..ENOUGH {
            let request = one.request_on(4);
            one.answers(request, 4);
        }
        one
    }

    fn prove(&mut self) {
        let requests: Vec<_> = (0..ENOUGH).map(|_| self.request()).collect();
        for (coroutine, request) in (1_000..).zip(requests) {
            self.answers(request, coroutine);
        }
    }

    fn moment(&mut self) -> Moment {
        // The scene goes on by as much with each step.
        self.now += 1;
        Moment {
            turn: self.now,
            reads: 0,
            timer: true,
            at: BootNanos(DAWN + u64::from(self.now) * MILLISECOND),
        }
    }

    fn begin(&mut self, mut draft: Draft, coroutine: Option<u64>) -> ExchangeId {
        draft.0.moment = Some(self.moment());
        draft.0.coroutine = coroutine.map(number);
        self.scene.begin(draft)
    }

    fn request(&mut self) -> ExchangeId {
        self.begin(inbound(PID, LOOP), None)
    }

    fn request_on(&mut self, connection: u64) -> ExchangeId {
        self.begin(inbound(PID, LOOP).connection(connection), None)
    }

    fn calls(&mut self, coroutine: u64) -> ExchangeId {
        self.begin(outbound(PID, LOOP), Some(coroutine))
    }

    fn is_answered(&mut self, call: ExchangeId) {
        let moment = self.moment();
        self.scene.end_at(call, moment);
    }

    fn answers(&mut self, request: ExchangeId, coroutine: u64) {
        let moment = self.moment();
        self.scene.end_in(request, number(coroutine), moment);
    }

    fn makes(&mut self, maker: u64, coroutine: u64) {
        self.now += 1;
        self.scene.makes(PID, number(maker), number(coroutine));
    }

    /// When something is handed on now.
    fn hands_on(&mut self) -> BootNanos {
        self.moment().at
    }

    /// A call by a coroutine that writes for another, which has handed it something then.
    fn calls_for(&mut self, coroutine: u64, waker: u64, at: BootNanos) -> ExchangeId {
        let mut draft = outbound(PID, LOOP);
        let waker = Some(number(waker));
        draft.0.maker = Some(Maker::Coroutine { waker, at });
        self.begin(draft, Some(coroutine))
    }

    /// A call by a thread of a pool, which runs no loop.
    fn calls_in_thread(&mut self, coroutine: u64) -> ExchangeId {
        self.now += 1;
        let mut draft = outbound(PID, LOOP + 1);
        draft.0.coroutine = Some(number(coroutine));
        self.scene.begin(draft)
    }

    fn places<const COUNT: usize>(self, calls: [ExchangeId; COUNT]) -> [Place; COUNT] {
        let tree = self.scene.finish();
        calls.map(|call| tree.place(call))
    }
}

fn number(coroutine: u64) -> Coroutine {
    Coroutine(NonZeroU64::new(coroutine).unwrap())
}

fn by_task(request: ExchangeId) -> Place {
    Place::Under(request, Evidence::Task)
}

#[test]
fn a_call_is_made_for_the_request_that_its_coroutine_answers() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    let of_second = one.calls(2);
    let of_first = one.calls(1);
    one.is_answered(of_second);
    let again_of_second = one.calls(2);
    one.answers(first, 1);
    one.answers(second, 2);
    assert_eq!(
        one.places([of_first, of_second, again_of_second]),
        [by_task(first), by_task(second), by_task(second)]
    );
}

#[test]
fn nothing_is_told_before_the_thread_has_proven_that_its_coroutines_tell_requests_apart() {
    let mut one = Loop::new();
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(1);
    one.answers(request, 1);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn calls_made_before_the_proof_wait_for_it() {
    let mut one = Loop::new();
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(1);
    one.answers(request, 1);
    one.prove();
    assert_eq!(one.places([call]), [by_task(request)]);
}

#[test]
fn requests_that_come_one_after_the_other_prove_nothing() {
    let mut one = Loop::new();
    for coroutine in 1..=ENOUGH {
        let request = one.request();
        one.answers(request, coroutine);
    }
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(1);
    one.answers(request, 1);
    let Loop { scene, .. } = one;
    let tree = scene.finish();
    assert_eq!(tree.place(call), Place::Root);
    assert_eq!(tree.counters.coroutine_processes, 0);
}

#[test]
fn a_thread_that_does_all_in_one_context_is_not_believed() {
    let mut one = Loop::new();
    let requests: Vec<_> = (0..ENOUGH).map(|_| one.request()).collect();
    let call = one.calls(1);
    for request in requests {
        one.answers(request, 1);
    }
    let tree = one.scene.finish();
    assert_eq!(tree.place(call), Place::Root);
    assert!(tree.counters.coroutines_refuted >= ENOUGH - 1);
}

#[test]
fn one_coroutine_that_answers_two_requests_at_once_speaks_for_its_thread() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    one.answers(first, 1);
    one.answers(second, 1);
    let (third, _fourth) = (one.request(), one.request());
    let call = one.calls(2);
    one.answers(third, 2);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn requests_of_one_connection_may_wait_for_the_same_coroutine() {
    let mut one = Loop::believed();
    let (first, second) = (one.request_on(5), one.request_on(5));
    let of_first = one.calls(1);
    one.is_answered(of_first);
    one.answers(first, 1);
    let of_second = one.calls(1);
    one.answers(second, 1);
    assert_eq!(
        one.places([of_first, of_second]),
        [by_task(first), by_task(second)]
    );
}

#[test]
fn what_a_coroutine_sends_between_two_requests_of_a_connection_is_for_the_former() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.answers(first, 1);
    let late = one.calls(1);
    one.is_answered(late);
    let second = one.request_on(5);
    let of_second = one.calls(1);
    one.answers(second, 1);
    assert_eq!(one.places([late, of_second]), [by_task(first), by_task(second)]);
}

#[test]
fn work_that_reaches_into_the_next_request_leaves_it_open_which_was_called_for() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.answers(first, 1);
    let late = one.calls(1);
    let second = one.request_on(5);
    one.is_answered(late);
    let of_either = one.calls(1);
    one.answers(second, 1);
    assert_eq!(one.places([late, of_either]), [by_task(first), Place::Root]);
}

#[test]
fn what_follows_a_request_whose_answer_was_missed_is_not_for_the_one_before() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.answers(first, 1);
    // It is never seen to be answered.
    let _second = one.request_on(5);
    let of_second = one.calls(1);
    one.is_answered(of_second);
    let third = one.request_on(5);
    one.answers(third, 1);
    assert_eq!(one.places([of_second]), [Place::Root]);
}

#[test]
fn a_number_that_another_coroutine_has_got_tells_nothing_of_the_former() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.answers(first, 1);
    let of_nobody = one.calls(1);
    one.is_answered(of_nobody);
    let second = one.request_on(6);
    let of_second = one.calls(1);
    one.answers(second, 1);
    assert_eq!(one.places([of_nobody, of_second]), [Place::Root, by_task(second)]);
}

#[test]
fn where_each_request_has_a_coroutine_what_another_of_that_number_sent_is_for_nobody() {
    let mut one = Loop::of_connections();
    // It is another for the next request.
    let request = one.request_on(4);
    one.answers(request, 9);
    let first = one.request_on(5);
    one.answers(first, 1);
    let of_another = one.calls(1);
    one.is_answered(of_another);
    let second = one.request_on(5);
    one.answers(second, 1);
    assert_eq!(one.places([of_another]), [Place::Root]);
}

#[test]
fn what_those_send_that_a_coroutine_has_made_is_for_its_request() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    one.makes(2, 21);
    one.makes(1, 11);
    one.makes(11, 12);
    let of_second = one.calls(21);
    let of_first = one.calls(11);
    let also_of_first = one.calls_in_thread(12);
    one.answers(first, 1);
    one.answers(second, 2);
    assert_eq!(
        one.places([of_first, also_of_first, of_second]),
        [by_task(first), by_task(first), by_task(second)]
    );
}

#[test]
fn one_that_was_made_for_an_earlier_request_works_for_none_since() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.makes(1, 11);
    one.answers(first, 1);
    let second = one.request_on(5);
    let late = one.calls(11);
    one.answers(second, 1);
    assert_eq!(one.places([late]), [by_task(first)]);
    // Where coroutines do not stay with their connections that is not known either.
    let mut one = Loop::believed();
    one.makes(1, 11);
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(11);
    one.answers(request, 1);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn a_number_that_was_given_out_anew_counts_for_who_made_it_last() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    one.makes(1, 11);
    let of_first = one.calls(11);
    one.makes(2, 11);
    let of_second = one.calls(11);
    one.answers(second, 2);
    one.answers(first, 1);
    assert_eq!(
        one.places([of_first, of_second]),
        [by_task(first), by_task(second)]
    );
}

#[test]
fn a_maker_whose_number_was_given_out_anew_leads_to_nobody() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    one.makes(3, 11);
    // It is another than the one that has made the former.
    one.makes(2, 3);
    let call = one.calls(11);
    one.answers(second, 2);
    one.answers(first, 1);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn coroutines_that_made_each_other_do_no_harm() {
    let mut one = Loop::believed();
    let (request, _other) = (one.request(), one.request());
    one.makes(1, 2);
    one.makes(2, 1);
    one.makes(3, 3);
    let calls = [one.calls(3), one.calls(2)];
    one.answers(request, 1);
    assert_eq!(one.places(calls), [Place::Root, by_task(request)]);
}

/// Coroutine 90 writes for all, one after the other.
#[test]
fn what_one_sends_that_writes_for_others_is_for_the_request_of_who_has_woken_it() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    let at = one.hands_on();
    let of_first = one.calls_for(90, 1, at);
    one.is_answered(of_first);
    let at = one.hands_on();
    let of_second = one.calls_for(90, 2, at);
    one.is_answered(of_second);
    one.answers(first, 1);
    one.answers(second, 2);
    assert_eq!(
        one.places([of_first, of_second]),
        [by_task(first), by_task(second)]
    );
}

#[test]
fn who_has_made_the_one_that_wakes_has_the_request() {
    let mut one = Loop::believed();
    let (request, _other) = (one.request(), one.request());
    one.makes(1, 11);
    one.makes(11, 12);
    let at = one.hands_on();
    let call = one.calls_for(90, 12, at);
    one.is_answered(call);
    one.answers(request, 1);
    assert_eq!(one.places([call]), [by_task(request)]);
}

#[test]
fn a_call_that_is_not_over_when_a_request_is_answered_was_not_handed_on_for_it() {
    let mut one = Loop::believed();
    let (first, second) = (one.request(), one.request());
    let at = one.hands_on();
    let call = one.calls_for(90, 1, at);
    one.answers(first, 1);
    one.is_answered(call);
    one.answers(second, 2);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn what_was_handed_on_before_an_answer_is_over_with_it() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    let at = one.hands_on();
    one.answers(first, 1);
    let call = one.calls_for(90, 1, at);
    one.is_answered(call);
    let second = one.request_on(5);
    one.answers(second, 1);
    assert_eq!(one.places([call]), [Place::Root]);
}

#[test]
fn one_that_is_made_for_what_follows_an_answer_may_hand_that_on() {
    let mut one = Loop::of_connections();
    let first = one.request_on(5);
    one.makes(1, 11);
    one.answers(first, 1);
    let at = one.hands_on();
    let late = one.calls_for(90, 11, at);
    one.is_answered(late);
    let second = one.request_on(5);
    one.answers(second, 1);
    assert_eq!(one.places([late]), [by_task(first)]);
}

#[test]
fn many_that_are_gone_do_not_take_the_place_of_those_that_are_there() {
    let mut one = Loop::of_connections();
    for coroutine in 10_000..20_000 {
        let at = one.hands_on();
        one.calls_for(coroutine, coroutine + 50_000, at);
        if coroutine % 500 == 0 {
            let request = one.request_on(5);
            one.calls(1);
            one.answers(request, 1);
        }
    }
    let first = one.request_on(5);
    one.answers(first, 1);
    let late = one.calls(1);
    one.is_answered(late);
    let second = one.request_on(5);
    one.answers(second, 1);
    assert_eq!(one.places([late]), [by_task(first)]);
}

#[test]
fn a_coroutine_that_never_answers_tells_nothing() {
    let mut one = Loop::believed();
    let request = one.request();
    let calls: Vec<_> = (0..2_000).map(|_| one.calls(1)).collect();
    one.answers(request, 2);
    let tree = one.scene.finish();
    assert!(calls.iter().all(|call| tree.place(*call) == Place::Root));
}

#[test]
fn calls_that_nobody_is_told_of_are_waited_for_again_once_one_is() {
    let mut one = Loop::believed();
    // More than a process makes of which one is told.
    let request = one.request();
    for _ in 0..1_100 {
        one.calls(1);
    }
    one.calls(2);
    one.answers(request, 2);
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(3);
    one.answers(request, 3);
    assert_eq!(one.places([call]), [by_task(request)]);
}

#[test]
fn a_new_program_has_to_prove_it_anew() {
    let mut one = Loop::believed();
    one.scene.process(PID, Change::Executed);
    let (request, _other) = (one.request(), one.request());
    let call = one.calls(1);
    one.answers(request, 1);
    assert_eq!(one.places([call]), [Place::Root]);
}
