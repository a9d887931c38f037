//! Threads that wake others for what they have read: the rung `turn`, from thread to thread.

use super::scene::{Place, Scene, inbound, outbound, task};
use crate::{correlate::Evidence, protocols::ExchangeId};

const PID: u32 = 7;
/// It reads every response.
const READER: u32 = 9;
/// More rows than are needed to be believed.
const ENOUGH: u32 = 40;

/// A server that answers when the last of two calls has been answered, in whatever thread.
struct Relay(Scene);

impl Relay {
    /// Where another request is in flight throughout.
    fn new() -> Self {
        let mut scene = Scene::without_timing();
        scene.begin(inbound(PID, 99).taken_by(99));
        Self(scene)
    }

    fn believed() -> Self {
        let mut relay = Self::new();
        for _ in 0..ENOUGH {
            let (request, calls) = relay.works();
            relay.0.end_woken_by(request, 60, READER);
            assert!(calls.iter().all(|call| relay.0.is_out(*call)) || !relay.is_believed());
        }
        assert!(relay.is_believed());
        relay
    }

    fn is_believed(&self) -> bool {
        self.0.correlator.counters().relaying_processes == 1
    }

    /// A request is read, by a thread of a pool that goes on to the next.
    fn request(&mut self) -> ExchangeId {
        self.0.begin(inbound(PID, 1).taken_by(1))
    }

    /// A call of a thread that was woken a moment ago.
    fn call(&mut self, waker: u32) -> ExchangeId {
        let now = self.0.now();
        self.0.begin(outbound(PID, 50).woken_by(51, waker, now))
    }

    fn reads_answer(&mut self, call: ExchangeId) {
        self.0.end_by(call, task(PID, READER));
    }

    /// All up to the response.
    fn works(&mut self) -> (ExchangeId, [ExchangeId; 2]) {
        let request = self.request();
        let first = self.call(1);
        self.reads_answer(first);
        let second = self.call(READER);
        self.reads_answer(second);
        (request, [first, second])
    }
}

#[test]
fn calls_of_a_row_that_leads_from_a_request_to_its_response_are_made_for_it() {
    let mut relay = Relay::new();
    let (request, calls) = relay.works();
    relay.0.end_woken_by(request, 60, READER);
    assert!(
        calls.iter().all(|call| !relay.0.is_out(*call)),
        "nothing is proven yet"
    );
    for _ in 0..ENOUGH {
        let (request, _) = relay.works();
        relay.0.end_woken_by(request, 60, READER);
    }
    let tree = relay.0.finish();
    for call in calls {
        assert_eq!(tree.place(call), Place::Under(request, Evidence::Turn));
    }
    assert_eq!(tree.counters.relays_refuted, 0);
}

#[test]
fn a_row_that_leads_to_the_response_to_another_request_tells_nothing() {
    let mut relay = Relay::believed();
    let (request, _) = relay.works();
    // The reader was at another's response when it woke the thread that answers this one.
    let (other, wrong) = relay.works();
    relay.0.end_woken_by(request, 60, READER);
    relay.0.end(other);
    let tree = relay.0.finish();
    assert_eq!(wrong.map(|call| tree.place(call)), [Place::Root; 2]);
    assert_eq!(tree.counters.relays_refuted, 1);
}

#[test]
fn calls_that_are_made_at_once_are_for_what_had_been_read_though_only_the_last_is_in_the_row() {
    let mut relay = Relay::believed();
    let request = relay.request();
    let calls = [(); 3].map(|()| relay.call(1));
    // Meanwhile the thread reads the next.
    let next = relay.request();
    calls.iter().for_each(|call| relay.reads_answer(*call));
    relay.0.end_woken_by(request, 60, READER);
    relay.0.end(next);
    let tree = relay.0.finish();
    for call in calls {
        assert_eq!(tree.place(call), Place::Under(request, Evidence::Turn));
    }
}

#[test]
fn where_no_row_has_led_to_its_request_calls_are_not_given_to_what_was_read() {
    let mut relay = Relay::new();
    let (request, calls) = relay.works();
    // Nobody was woken for the answer.
    relay.0.end_by(request, task(PID, 60));
    let tree = relay.0.finish();
    assert_eq!(calls.map(|call| tree.place(call)), [Place::Root; 2]);
}

#[test]
fn one_read_that_ends_a_response_and_begins_the_next_is_for_neither() {
    let mut relay = Relay::believed();
    let (first, second) = (relay.request(), relay.request());
    let calls = [relay.call(1), relay.call(1)];
    let at = relay.0.now() + 1;
    for call in calls {
        relay.0.end_by_at(call, task(PID, READER), at);
    }
    let after = relay.call(READER);
    relay.0.end(first);
    relay.0.end(second);
    let tree = relay.0.finish();
    assert_eq!(tree.place(after), Place::Root);
}
