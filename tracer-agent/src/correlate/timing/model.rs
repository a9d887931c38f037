//! What is known of how a process works on a request: which calls it makes, in which order, after which delays.
//!
//! A request that is being worked on is in a *place*: the calls that were made for it so far, and what happened last
//! (it came, a call was made, a call was answered). From a place something is done next, after a delay: another call, or
//! the response. How often what follows, and how soon, is learned from requests whose calls are known.
//!
//! A place that was hardly seen is taken for a coarser one: without the calls that were made, then without the kind of
//! the request; and a delay that was hardly seen for the delays from the coarser place.

use std::collections::HashMap;

use super::delay::{self, Delays, Step};

/// What a request asks for, or whom a call goes to: numbers that the user of this module gives.
pub type Kind = u32;

/// A number of a place.
pub type PlaceId = u32;

/// Places that are told apart; past it only the coarsest are added.
const MAX_PLACES: usize = 1024;
/// Kinds of steps from all places that are told apart.
const MAX_STEPS: usize = 2048;
/// How many observations make a place half as telling as the coarser one.
const TRUST: f64 = 3.0;
/// Weight of the observations at a place, past which they are halved: what is new counts more.
const MEMORY: f64 = 4096.0;

/// How likely it is that something comes next that was never seen to.
const RARE: f64 = 0.01;
/// How much less likely a call is to whom a call was made for the same request, where nothing is known.
const AGAIN: f64 = 0.1;
/// So many requests make a place half familiar.
const FAMILIAR: f64 = 5.0;

/// What happened last in the work on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Last {
    Came,
    Called(Kind),
    Answered(Kind),
}

/// Where the work on a request is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    asked: Option<Kind>,
    /// The calls made, sorted; one that was made more than twice stands there twice. `None` in a coarse place.
    made: Option<Vec<Kind>>,
    last: Last,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// A call.
    Call(Kind),
    /// The response.
    Respond,
}

#[derive(Debug)]
struct Seen {
    place: Place,
    coarser: Option<PlaceId>,
    weight: f64,
    next: Vec<(Next, Delays)>,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub struct Model {
    numbers: HashMap<Place, PlaceId>,
    places: Vec<Seen>,
    moves: HashMap<(PlaceId, Last), PlaceId>,
    steps: usize,
    strays: HashMap<Kind, Strays>,
    threads: Threads,
}

/// Calls that were made for no request, and all calls of their kind.
#[derive(Clone, Copy, Debug, Default)]
struct Strays {
    stray: f64,
    calls: f64,
}

/// How many calls were made by the thread that read the request, and how many by another.
#[derive(Clone, Copy, Debug)]
struct Split {
    same: f64,
    other: f64,
}

/// Of the requests that calls were made for, and of the others that were in flight.
#[derive(Clone, Copy, Debug)]
struct Threads {
    own: Split,
    others: Split,
}

impl Strays {
    fn halve(&mut self) {
        self.stray /= 2.0;
        self.calls /= 2.0;
    }
}

impl Split {
    fn share(&self, is_same: bool) -> f64 {
        (if is_same { self.same } else { self.other }) / (self.same + self.other)
    }

    fn add(&mut self, same: f64, other: f64) {
        self.same += same;
        self.other += other;
        if self.same + self.other > MEMORY {
            self.same = (self.same / 2.0).max(0.5);
            self.other = (self.other / 2.0).max(0.5);
        }
    }
}

impl Default for Threads {
    /// A thread is rather taken to make calls for what it read itself.
    fn default() -> Self {
        let of = |same, other| Split { same, other };
        Self {
            own: of(3.0, 1.0),
            others: of(1.0, 3.0),
        }
    }
}

impl Model {
    /// Where the work on a request begins.
    pub fn came(&mut self, asked: Kind) -> PlaceId {
        self.number(Place {
            asked: Some(asked),
            made: Some(Vec::new()),
            last: Last::Came,
        })
    }

    /// Where it is after a call was made.
    pub fn called(&mut self, from: PlaceId, whom: Kind) -> PlaceId {
        self.moved(from, Last::Called(whom))
    }

    /// Where it is after a call was answered.
    pub fn answered(&mut self, from: PlaceId, whom: Kind) -> PlaceId {
        self.moved(from, Last::Answered(whom))
    }

    /// The logarithm of how likely it is that this comes next, so many nanoseconds after the last.
    pub fn score(&self, place: PlaceId, next: Next, delay_ns: i64) -> f64 {
        let step = Step::of(delay_ns);
        let (share, delay) = self.likelihood(Some(place), next, step);
        share.ln() + delay.ln()
    }

    /// How much of what is known of a place comes of having seen it, from none to one.
    pub fn familiarity(&self, place: PlaceId) -> f64 {
        let seen = self.places.get(place as usize);
        seen.map_or(0.0, |seen| seen.weight / (seen.weight + FAMILIAR))
    }

    /// The logarithm of how likely it is that a call is made for no request.
    pub fn score_stray(&self, whom: Kind) -> f64 {
        // Until it is seen to be otherwise, calls that are made while there are requests are made for them.
        const FEW: f64 = 0.002;
        const OF: f64 = 100.0;
        let Strays { stray, calls } = self.strays.get(&whom).copied().unwrap_or_default();
        ((stray + FEW) / (calls + OF) * delay::unknown()).ln()
    }

    /// The logarithm of how much more likely it is that the thread of a call is, or is not, that of its request than that of
    /// another.
    pub fn score_thread(&self, is_same: bool) -> f64 {
        (self.threads.own.share(is_same) / self.threads.others.share(is_same)).ln()
    }

    /// Takes note of what came next.
    #[expect(clippy::cast_possible_truncation, reason = "a weight is at most one")]
    pub fn observe(&mut self, place: PlaceId, next: Next, delay_ns: i64, weight: f64) {
        let step = Step::of(delay_ns);
        let mut at = Some(place);
        while let Some(seen) = at.and_then(|at| self.places.get_mut(at as usize)) {
            seen.weight += weight;
            let known = seen.next.iter().position(|(known, _)| *known == next);
            let known = known.or_else(|| {
                (self.steps < MAX_STEPS).then(|| {
                    self.steps += 1;
                    seen.next.push((next, Delays::default()));
                    seen.next.len() - 1
                })
            });
            if let Some((_, delays)) = known.and_then(|known| seen.next.get_mut(known)) {
                delays.observe(step, weight as f32);
            }
            if seen.weight > MEMORY {
                seen.weight /= 2.0;
                seen.next.iter_mut().for_each(|(_, delays)| delays.halve());
            }
            at = seen.coarser;
        }
    }

    /// Takes note of a call, made for a request or for none.
    pub fn observe_call(&mut self, whom: Kind, is_stray: bool, weight: f64) {
        let strays = self.strays.entry(whom).or_default();
        strays.calls += weight;
        strays.stray += if is_stray { weight } else { 0.0 };
        if strays.calls > MEMORY {
            strays.halve();
        }
    }

    /// Takes note of the thread of a call: whether it read the request that the call was made for, if it is known, and how
    /// many of all that were in flight it read, and how many not.
    pub fn observe_threads(&mut self, is_same: Option<bool>, same: u32, other: u32, weight: f64) {
        let [mut same, mut other] = [same, other].map(f64::from);
        if let Some(is_same) = is_same {
            let own = if is_same { &mut same } else { &mut other };
            *own = (*own - 1.0).max(0.0);
            let own = |is: bool| if is { weight } else { 0.0 };
            self.threads.own.add(own(is_same), own(!is_same));
        }
        let all = same + other;
        if all > 0.0 {
            self.threads.others.add(weight * same / all, weight * other / all);
        }
    }

    /// What was learned so far counts a part from now on.
    pub fn fade(&mut self) {
        for seen in &mut self.places {
            seen.weight /= 2.0;
            seen.next.iter_mut().for_each(|(_, delays)| delays.halve());
        }
        self.strays.values_mut().for_each(Strays::halve);
    }

    /// How likely this is next, and then after this delay.
    fn likelihood(&self, place: Option<PlaceId>, next: Next, step: Step) -> (f64, f64) {
        let Some(seen) = place.and_then(|place| self.places.get(place as usize)) else {
            return (RARE, delay::unknown());
        };
        let (mut coarse_share, coarse_delay) = self.likelihood(seen.coarser, next, step);
        if let (Some(made), Next::Call(whom)) = (&seen.place.made, next)
            && made.contains(&whom)
        {
            coarse_share *= AGAIN;
        }
        let delays = seen.next.iter().find(|(known, _)| *known == next);
        let (of_next, of_step) = delays.map_or((0.0, 0.0), |(_, delays)| (delays.weight(), delays.of(step)));
        (
            TRUST.mul_add(coarse_share, of_next) / (seen.weight + TRUST),
            TRUST.mul_add(coarse_delay, of_step) / (of_next + TRUST),
        )
    }

    fn moved(&mut self, from: PlaceId, last: Last) -> PlaceId {
        if let Some(place) = self.moves.get(&(from, last)) {
            return *place;
        }
        let Some(before) = self.places.get(from as usize).map(|seen| seen.place.clone()) else {
            return from;
        };
        let mut made = before.made;
        if let (Last::Called(whom), Some(made)) = (last, &mut made) {
            let end = made.partition_point(|other| *other <= whom);
            let start = made.partition_point(|other| *other < whom);
            if end - start < 2 {
                made.insert(end, whom);
            }
        }
        let place = self.number(Place {
            asked: before.asked,
            made,
            last,
        });
        self.moves.insert((from, last), place);
        place
    }

    fn number(&mut self, mut place: Place) -> PlaceId {
        if let Some(number) = self.numbers.get(&place) {
            return *number;
        }
        if self.places.len() >= MAX_PLACES && place.made.is_some() {
            place.made = None;
            return self.number(place);
        }
        let coarser = match (&place.made, place.asked) {
            (Some(_), _) => Some(Place {
                made: None,
                ..place.clone()
            }),
            (None, Some(_)) => Some(Place {
                asked: None,
                ..place.clone()
            }),
            (None, None) => None,
        };
        let coarser = coarser.map(|coarser| self.number(coarser));
        let number = PlaceId::try_from(self.places.len()).unwrap_or(PlaceId::MAX);
        self.places.push(Seen {
            place: place.clone(),
            coarser,
            weight: 0.0,
            next: Vec::new(),
        });
        self.numbers.insert(place, number);
        number
    }
}
