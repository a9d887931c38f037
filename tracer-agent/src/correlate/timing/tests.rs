//! Of made-up processes whose truth is known.

use std::collections::HashMap;

use super::{Answer, Search, What};
use crate::{ids::BootNanos, protocols::ExchangeId};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const WAIT_NS: u64 = 2_000 * MILLISECOND;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    /// From none to one, neither included.
    fn share(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f64 + 0.5) / f64::from(1_u32 << 31)
    }

    /// Around so many nanoseconds, as work takes: rarely much less, now and then much more.
    fn around(&mut self, ns: u64) -> u64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        scaled(ns, (0.6 * normal).exp())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "nanoseconds of a test"
)]
fn scaled(ns: u64, factor: f64) -> u64 {
    (ns as f64 * factor) as u64
}

/// A process with its events and the truth.
#[derive(Default)]
struct Process {
    events: Vec<(u64, ExchangeId, What)>,
    parents: HashMap<ExchangeId, ExchangeId>,
    last_id: u64,
}

impl Process {
    fn id(&mut self) -> ExchangeId {
        self.last_id += 1;
        ExchangeId(self.last_id)
    }

    /// A request that comes at `at` and makes these calls one after the other, each of `call_ns`; when it ends.
    fn serve(&mut self, dice: &mut Dice, at: u64, calls: &[u32], call_ns: u64) -> u64 {
        let request = self.id();
        self.events.push((
            at,
            request,
            What::Came {
                asks: 0,
                thread: None,
            },
        ));
        let mut now = at;
        for whom in calls {
            now += dice.around(200 * MICROSECOND);
            let call = self.id();
            let what = What::Called {
                whom: *whom,
                thread: None,
                known: None,
                hint: None,
            };
            self.events.push((now, call, what));
            self.parents.insert(call, request);
            now += dice.around(call_ns);
            self.events.push((now, call, What::Answered));
        }
        now += dice.around(100 * MICROSECOND);
        self.events.push((now, request, What::Responded));
        now
    }

    /// A call for no request.
    fn stray(&mut self, at: u64, whom: u32) -> ExchangeId {
        let call = self.id();
        let what = What::Called {
            whom,
            thread: None,
            known: None,
            hint: None,
        };
        self.events.push((at, call, what));
        self.events.push((at + MILLISECOND, call, What::Answered));
        call
    }

    /// What is answered as the events come.
    fn answers(&self) -> Vec<Answer> {
        let mut events = self.events.clone();
        events.sort_by_key(|(at, id, _)| (*at, *id));
        let mut search = Search::new(WAIT_NS);
        let mut answers = Vec::new();
        for (at, id, what) in events {
            search.tell(BootNanos(at), id, what);
            search.advance(BootNanos(at.saturating_sub(MILLISECOND)), &mut answers);
        }
        search.finish(&mut answers);
        answers
    }

    fn is_right(&self, answer: &Answer) -> bool {
        self.parents.get(&answer.call).copied() == answer.request
    }

    /// The share of answers that are right.
    fn accuracy(&self, answers: &[Answer]) -> f64 {
        let right = answers.iter().filter(|answer| self.is_right(answer)).count();
        right as f64 / answers.len() as f64
    }
}

/// Requests that come at random, so many on average in flight.
fn busy(in_flight: f64, requests: usize) -> Process {
    let mut dice = Dice(7);
    let mut process = Process::default();
    let mut at = MILLISECOND;
    for _ in 0..requests {
        at += scaled(12 * MILLISECOND, -dice.share().ln() / in_flight);
        process.serve(&mut dice, at, &[1, 2, 3], 4 * MILLISECOND);
    }
    process
}

#[test]
fn the_call_of_a_lone_request_is_its_own_from_the_first_on() {
    let mut process = Process::default();
    process.serve(&mut Dice(1), MILLISECOND, &[1, 2], MILLISECOND);
    let answers = process.answers();
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        assert!(process.is_right(answer) && answer.confidence > 0.9, "{answer:?}");
    }
}

#[test]
fn requests_that_overlap_now_and_then_get_their_own_calls() {
    let process = busy(1.0, 1_000);
    let answers = process.answers();
    assert_eq!(answers.len(), 3_000);
    let accuracy = process.accuracy(&answers);
    assert!(accuracy > 0.97, "{accuracy}");
}

#[test]
fn confidence_is_not_claimed_that_is_not_there() {
    let process = busy(6.0, 2_000);
    let answers = process.answers();
    for from in [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99] {
        let claimed: Vec<_> = answers
            .iter()
            .filter(|answer| answer.confidence >= from)
            .copied()
            .collect();
        assert!(claimed.len() > 500, "{} claim {from}", claimed.len());
        let accuracy = process.accuracy(&claimed);
        assert!(accuracy > from - 0.02, "{accuracy} of those that claim {from}");
    }
}

#[test]
fn what_is_called_while_nothing_is_served_is_not_given_to_who_is_served_by_chance() {
    let mut process = Process::default();
    let mut dice = Dice(3);
    let mut strays = Vec::new();
    for round in 0..300 {
        let at = (1 + round * 20) * MILLISECOND;
        process.serve(&mut dice, at, &[1], 4 * MILLISECOND);
        let when = at + scaled(20 * MILLISECOND, dice.share());
        strays.push(process.stray(when, 9));
    }
    let answers = process.answers();
    let sure = |answer: &&Answer| answer.request.is_some() && answer.confidence > 0.9;
    let of_strays = answers.iter().filter(|answer| strays.contains(&answer.call));
    let wrong = of_strays.filter(sure).count();
    assert!(wrong <= 6, "{wrong} of 300");
    let right = answers
        .iter()
        .filter(|answer| !strays.contains(&answer.call))
        .filter(sure)
        .count();
    assert!(right >= 290, "{right} of 300");
}

#[test]
fn threads_are_believed_as_far_as_they_tell() {
    let mut process = Process::default();
    let mut dice = Dice(5);
    let mut at = MILLISECOND;
    let mut threads = HashMap::new();
    for number in 0..400 {
        at += dice.around(2 * MILLISECOND);
        let before = process.last_id;
        process.serve(&mut dice, at, &[1], 8 * MILLISECOND);
        threads.extend((before + 1..=process.last_id).map(|id| (ExchangeId(id), number)));
    }
    for (_, id, what) in &mut process.events {
        if let What::Came { thread, .. } | What::Called { thread, .. } = what {
            *thread = threads.get(id).copied();
        }
    }
    let answers = process.answers();
    let late = answers.get(100..).unwrap();
    assert!(process.accuracy(late) > 0.999, "{}", process.accuracy(late));
}

#[test]
fn a_call_whose_request_is_known_is_not_asked_about_and_helps_the_others() {
    let mut process = busy(2.0, 200);
    let is_asked = |answer: &Answer| answer.call.0 % 2 == 1;
    let mut alone = process.answers();
    alone.retain(is_asked);
    let known = process.parents.clone();
    let mut told = 0;
    for (_, id, what) in &mut process.events {
        if let What::Called { known: request, .. } = what
            && id.0 % 2 == 0
        {
            *request = known.get(id).copied();
            told += 1;
        }
    }
    let answers = process.answers();
    assert_eq!(answers.len(), 600 - told);
    assert!(answers.iter().all(is_asked));
    let [helped, alone] = [answers, alone].map(|answers| process.accuracy(&answers));
    assert!(helped > alone, "{helped}, {alone} without help");
}

#[test]
fn the_answer_is_the_same_twice() {
    let process = busy(8.0, 500);
    assert_eq!(process.answers(), process.answers());
}

#[test]
fn requests_and_calls_that_never_end_are_let_go() {
    let mut search = Search::new(WAIT_NS);
    let mut answers = Vec::new();
    for number in 0..4_000_u32 {
        let id = 2 * u64::from(number);
        let at = BootNanos(id * MILLISECOND);
        let thread = None;
        search.tell(at, ExchangeId(id), What::Came { asks: 0, thread });
        let what = What::Called {
            whom: number % 3,
            thread,
            known: None,
            hint: None,
        };
        search.tell(at, ExchangeId(id + 1), what);
        search.advance(at, &mut answers);
    }
    assert!(answers.len() > 1_000, "{} were answered", answers.len());
    assert!(search.held() < 12_000, "{} are held", search.held());
}
