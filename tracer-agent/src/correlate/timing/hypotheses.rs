//! Several ways of giving calls to requests, each with how likely it is.

use super::{
    model::{Kind, Model, Next, PlaceId},
    search::since,
};
use crate::protocols::ExchangeId;

/// How many are kept.
const WIDTH: usize = 64;
/// How many choices there are to be at a call: with many requests in flight fewer hypotheses are kept.
pub const CHOICES: usize = 2048;
/// Logarithm of how much less likely it is that who waits longer is served later, beyond what delays tell.
const OVERTAKES: f64 = -0.2;
/// Delays of requests that are in flight together depend on each other, which is not modelled: what they tell is taken for so
/// much less when it is claimed.
const CAUTION: f64 = 2.0;

/// The likeliest hypotheses. In all of them the same requests are in flight, in the order in which they came, and the same
/// calls are not settled, in the order in which they were made.
#[derive(Debug)]
pub struct Hypotheses {
    all: Vec<Hypothesis>,
    kept: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Hypothesis {
    /// The logarithm of how likely it is, next to the others.
    score: f64,
    working: Vec<Work>,
    /// Calls that are not answered, with their requests.
    open: Vec<(ExchangeId, ExchangeId)>,
    given: Vec<Given>,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Work {
    request: ExchangeId,
    place: PlaceId,
    /// When something happened last.
    last: u64,
}

/// What a hypothesis says of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Given {
    request: Option<ExchangeId>,
    /// The most that can be claimed for it: where a place is new, the requests in it cannot be told from each other.
    most: f64,
}

/// A hypothesis and what it may say of a call.
#[derive(Clone, Copy, Debug)]
struct Choice {
    score: f64,
    hypothesis: usize,
    /// The request by its place among those in flight, and how many are in the same place of their work.
    given: Option<(usize, f64)>,
}

/// Who waits in a place of their work.
struct Waiting {
    place: PlaceId,
    /// Since when the first of them does.
    first: u64,
    count: f64,
}

/// A request that a call may have been made for.
#[derive(Clone, Copy, Debug)]
pub struct Likely {
    /// Which; none if it was made for none.
    pub request: Option<ExchangeId>,
    /// The share of the hypotheses that say so.
    pub share: f64,
    /// The part of it that can be claimed.
    pub claimed: f64,
}

impl Default for Hypotheses {
    fn default() -> Self {
        Self {
            all: vec![Hypothesis::default()],
            kept: 0.0,
        }
    }
}

impl Hypotheses {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The logarithm of the share of all hypotheses, by their weight, that was not dropped so far. What was dropped since a
    /// call was made may have said otherwise of it.
    pub fn kept(&self) -> f64 {
        self.kept
    }

    pub fn came(&mut self, request: ExchangeId, place: PlaceId, at: u64) {
        for hypothesis in &mut self.all {
            hypothesis.working.push(Work {
                request,
                place,
                last: at,
            });
        }
    }

    /// A call was made. Of each request in flight `possible` says whether it may be for it, and how much the threads speak for
    /// that; `for_none` whether it may be for none.
    pub fn called(
        &mut self,
        call: ExchangeId,
        (at, whom): (u64, Kind),
        possible: &[Option<f64>],
        for_none: bool,
        model: &mut Model,
    ) {
        let mut choices = self.choices((at, whom), possible, for_none, model);
        choices.sort_by(|one, other| other.score.total_cmp(&one.score));
        let best = choices.first().map_or(0.0, |choice| choice.score);
        let weight =
            |choices: &[Choice]| -> f64 { choices.iter().map(|choice| (choice.score - best).exp()).sum() };
        let all = weight(&choices);
        choices.truncate((CHOICES / possible.len().max(1)).clamp(1, WIDTH));
        self.kept += f64::ln(weight(&choices) / all);
        let next = choices.into_iter().map(|choice| {
            let mut hypothesis = self.all.get(choice.hypothesis).cloned().unwrap_or_default();
            hypothesis.score = choice.score - best;
            hypothesis.give(call, (at, whom), choice.given, model);
            hypothesis
        });
        self.all = next.collect();
    }

    fn choices(
        &self,
        (at, whom): (u64, Kind),
        possible: &[Option<f64>],
        for_none: bool,
        model: &Model,
    ) -> Vec<Choice> {
        let stray = model.score_stray(whom);
        let mut choices = Vec::new();
        // Most hypotheses agree about most requests.
        let mut scores: Vec<Option<(Work, f64)>> = vec![None; possible.len()];
        for (number, hypothesis) in self.all.iter().enumerate() {
            let waiting = hypothesis.waiting(possible);
            for (place, work, by_thread) in hypothesis.possible(possible) {
                let known = scores.get(place).copied().flatten();
                let score = match known.filter(|(same, _)| *same == work) {
                    Some((_, score)) => score,
                    None => by_thread + model.score(work.place, Next::Call(whom), since(at, work.last)),
                };
                if let Some(known) = scores.get_mut(place) {
                    *known = Some((work, score));
                }
                let same = waiting.iter().find(|waiting| waiting.place == work.place);
                let (first, count) = same.map_or((work.last, 1.0), |same| (same.first, same.count));
                let order = if first < work.last { OVERTAKES } else { 0.0 };
                choices.push(Choice {
                    score: hypothesis.score + score + order,
                    hypothesis: number,
                    given: Some((place, count)),
                });
            }
            if for_none || waiting.is_empty() {
                choices.push(Choice {
                    score: hypothesis.score + stray,
                    hypothesis: number,
                    given: None,
                });
            }
        }
        choices
    }

    pub fn answered(&mut self, call: ExchangeId, whom: Kind, at: u64, model: &mut Model) {
        for hypothesis in &mut self.all {
            let Some(place) = hypothesis.open.iter().position(|(open, _)| *open == call) else {
                continue;
            };
            let (_, request) = hypothesis.open.swap_remove(place);
            if let Some(work) = hypothesis.working.iter_mut().find(|work| work.request == request) {
                work.place = model.answered(work.place, whom);
                work.last = at;
            }
        }
    }

    pub fn responded(&mut self, request: ExchangeId, end: u64, model: &Model) {
        for hypothesis in &mut self.all {
            let Some(place) = hypothesis.working.iter().position(|work| work.request == request) else {
                continue;
            };
            let work = hypothesis.working.remove(place);
            hypothesis.open.retain(|(_, of)| *of != request);
            let before = |other: &Work| other.place == work.place && other.last < work.last;
            let overtakes = hypothesis.working.iter().any(before);
            hypothesis.score += model.score(work.place, Next::Respond, since(end, work.last))
                + if overtakes { OVERTAKES } else { 0.0 };
        }
    }

    /// The request of a call is known by now, by its place among those that are not settled. False if no hypothesis says so.
    pub fn know(&mut self, place: usize, request: ExchangeId) -> bool {
        let says_so = |hypothesis: &Hypothesis| {
            let given = hypothesis.given.get(place);
            given.is_some_and(|given| given.request == Some(request))
        };
        if !self.all.iter().any(says_so) {
            return false;
        }
        self.all.retain(says_so);
        let given = self
            .all
            .iter_mut()
            .filter_map(|hypothesis| hypothesis.given.get_mut(place));
        given.for_each(|given| given.most = 1.0);
        true
    }

    pub fn drop_request(&mut self, request: ExchangeId) {
        for hypothesis in &mut self.all {
            hypothesis.working.retain(|work| work.request != request);
            hypothesis.open.retain(|(_, of)| *of != request);
        }
    }

    /// For which requests each of the first calls that are not settled may have been made. They are settled now, and
    /// hypotheses that differ in nothing else are one.
    pub fn settle(&mut self, count: usize) -> Vec<Vec<Likely>> {
        let scores = self.all.iter().map(|hypothesis| hypothesis.score);
        let best = scores.fold(f64::NEG_INFINITY, f64::max);
        for hypothesis in &mut self.all {
            hypothesis.score -= best;
        }
        let settled = (0..count).map(|place| self.likely(place)).collect();
        let mut merged: Vec<Hypothesis> = Vec::new();
        for mut hypothesis in self.all.drain(..) {
            hypothesis.given.drain(..count.min(hypothesis.given.len()));
            match merged.iter_mut().find(|other| other.is_like(&hypothesis)) {
                Some(other) => other.score = (other.score.exp() + hypothesis.score.exp()).ln(),
                None => merged.push(hypothesis),
            }
        }
        self.all = merged;
        settled
    }

    /// For which requests a call may have been made, by its place among those that are not settled.
    fn likely(&self, place: usize) -> Vec<Likely> {
        let total: f64 = self.all.iter().map(Hypothesis::weight).sum();
        let mut likely: Vec<Likely> = Vec::new();
        for hypothesis in &self.all {
            let Some(given) = hypothesis.given.get(place) else {
                continue;
            };
            let share = hypothesis.weight() / total;
            let claimed = share * given.most;
            match likely.iter_mut().find(|known| known.request == given.request) {
                Some(known) => {
                    known.share += share;
                    known.claimed += claimed;
                }
                None => likely.push(Likely {
                    request: given.request,
                    share,
                    claimed,
                }),
            }
        }
        likely
    }

    /// Everything that is remembered.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        let of = |one: &Hypothesis| one.working.len() + one.open.len() + one.given.len();
        self.all.iter().map(of).sum()
    }
}

impl Hypothesis {
    /// How much it counts beside the others where something is claimed.
    fn weight(&self) -> f64 {
        (self.score / CAUTION).exp()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.given == other.given && self.open == other.open && self.working == other.working
    }

    /// The requests that a call may have been made for, with their places and what threads say.
    fn possible(&self, possible: &[Option<f64>]) -> impl Iterator<Item = (usize, Work, f64)> {
        let works = self.working.iter().zip(possible).enumerate();
        works.filter_map(|(place, (work, by_thread))| Some((place, *work, (*by_thread)?)))
    }

    /// Who of them waits where.
    fn waiting(&self, possible: &[Option<f64>]) -> Vec<Waiting> {
        let mut waiting: Vec<Waiting> = Vec::new();
        for (_, work, _) in self.possible(possible) {
            match waiting.iter_mut().find(|waiting| waiting.place == work.place) {
                Some(same) => {
                    same.first = work.last.min(same.first);
                    same.count += 1.0;
                }
                None => waiting.push(Waiting {
                    place: work.place,
                    first: work.last,
                    count: 1.0,
                }),
            }
        }
        waiting
    }

    fn give(
        &mut self,
        call: ExchangeId,
        (at, whom): (u64, Kind),
        to: Option<(usize, f64)>,
        model: &mut Model,
    ) {
        let mut given = Given {
            request: None,
            most: 1.0,
        };
        if let Some((work, rivals)) =
            to.and_then(|(place, rivals)| Some((self.working.get_mut(place)?, rivals)))
        {
            let familiarity = model.familiarity(work.place);
            given.request = Some(work.request);
            given.most = familiarity + (1.0 - familiarity) / rivals;
            work.place = model.called(work.place, whom);
            work.last = at;
            self.open.push((call, work.request));
        }
        self.given.push(given);
    }
}
