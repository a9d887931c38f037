//! Which request each call of a process was made for: several answers are kept in mind at once, each with how likely it
//! is, and what happens later tells them apart.
//!
//! ```text
//! Called ──► one hypothesis becomes several: for each request in flight, and for none
//! Answered, Responded ──► each becomes more or less likely; the least likely are dropped
//! all requests that were in flight when it was made are answered, or the wait is over ──► the call is settled
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::{
    hypotheses::{CHOICES, Hypotheses},
    model::{Kind, Model, Next},
};
use crate::{correlate::known::ById, ids::BootNanos, protocols::ExchangeId};

/// A request is over when its response was written; what its process reads so soon afterwards was read before.
const SLACK_NS: u64 = 50_000;
/// From a request with more doubt nothing is learned: errors would teach themselves.
const MAX_DOUBT: f64 = 0.3;
/// What is no more likely than this is no matter of doubt.
const NOTHING: f64 = 0.01;
/// Requests in flight in one process; past it those that came first are let go.
const MAX_REQUESTS: usize = 512;
/// Calls that are not settled; past it the oldest are.
const MAX_CALLS: usize = 2048;

/// Where a call stands among things that happen at the same time.
const CALLED: u8 = 1;

/// A number of a thread, within its process.
pub type Thread = u64;

/// What happens in a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// A request came.
    Came {
        /// What it asks for.
        asks: Kind,
        /// The thread that read it.
        thread: Option<Thread>,
    },
    /// A call was made.
    Called {
        /// Whom it went to.
        whom: Kind,
        /// The thread that wrote it.
        thread: Option<Thread>,
        /// The request it was made for, where other evidence tells.
        known: Option<ExchangeId>,
        /// One for which other evidence speaks.
        hint: Option<Hint>,
    },
    /// A call was answered.
    Answered,
    /// The response was written.
    Responded,
}

/// A request that a call may have been made for, by evidence that does not decide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// The request.
    pub request: ExchangeId,
    /// How likely it is, as far as that evidence goes; more than 0, less than 1.
    pub share: f64,
}

/// Which request a call was made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The call.
    pub call: ExchangeId,
    /// The request; `None` if it was most likely made for none.
    pub request: Option<ExchangeId>,
    /// How likely that is.
    pub confidence: f64,
}

impl Hint {
    /// The logarithm of how much more likely it is to be for its request than for another, of so many in flight.
    #[expect(clippy::cast_precision_loss, reason = "requests in flight are few")]
    fn score(self, in_flight: usize) -> f64 {
        let others = in_flight.saturating_sub(1).max(1) as f64;
        (self.share * others / (1.0 - self.share)).ln()
    }
}

#[derive(Debug)]
struct Request {
    asks: Kind,
    thread: Option<Thread>,
    start: u64,
    end: Option<u64>,
    /// How likely it is that a call was not given as it was made, of those that may have been made for it.
    doubt: f64,
    /// The calls that were settled to be made for it.
    calls: Vec<ExchangeId>,
}

#[derive(Clone, Debug)]
struct Call {
    whom: Kind,
    thread: Option<Thread>,
    start: u64,
    end: Option<u64>,
    /// Of the requests in flight when it was made, how many its thread had read, and how many others.
    by_same: u32,
    by_others: u32,
    /// See [`Hypotheses::kept`], when it was made.
    kept: f64,
    /// For which request it was made was known by other evidence.
    is_known: bool,
}

/// The work of one process on its requests, as it goes on.
#[derive(Debug)]
pub struct Search {
    model: Model,
    learns: bool,
    wait_ns: u64,
    /// What happened and was not looked at yet, since earlier things may still be told.
    ahead: BTreeMap<(u64, u8, ExchangeId), What>,
    requests: ById<Request>,
    /// Those that are in flight, in the order in which they came.
    working: VecDeque<ExchangeId>,
    /// Those that are answered, and not learned from.
    responded: VecDeque<ExchangeId>,
    calls: ById<Call>,
    /// Calls that are not settled, in the order in which they were made.
    unsettled: VecDeque<ExchangeId>,
    hypotheses: Hypotheses,
}

impl Search {
    /// Nothing is known yet; a call is settled this long after it was made at the latest.
    pub fn new(wait_ns: u64) -> Self {
        Self {
            model: Model::default(),
            learns: true,
            wait_ns,
            ahead: BTreeMap::new(),
            requests: ById::default(),
            working: VecDeque::new(),
            responded: VecDeque::new(),
            calls: ById::default(),
            unsettled: VecDeque::new(),
            hypotheses: Hypotheses::default(),
        }
    }

    /// Takes note of what happened; in any order, as long as it is not looked at yet.
    pub fn tell(&mut self, at: BootNanos, id: ExchangeId, what: What) {
        let (at, rank) = match what {
            What::Came { .. } => (at.0, 0),
            What::Called { .. } => (at.0, CALLED),
            What::Answered => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.end = Some(at.0);
                }
                (at.0, 2)
            }
            What::Responded => {
                if let Some(request) = self.requests.get_mut(&id) {
                    request.end = Some(at.0);
                }
                (at.0.saturating_add(SLACK_NS), 3)
            }
        };
        match what {
            What::Came { asks, thread } => {
                let request = Request {
                    asks,
                    thread,
                    start: at,
                    end: None,
                    doubt: 0.0,
                    calls: Vec::new(),
                };
                self.requests.insert(id, request);
            }
            What::Called {
                whom, thread, known, ..
            } => {
                let call = Call {
                    whom,
                    thread,
                    start: at,
                    end: None,
                    by_same: 0,
                    by_others: 0,
                    kept: 0.0,
                    is_known: known.is_some(),
                };
                self.calls.insert(id, call);
            }
            What::Answered | What::Responded => {}
        }
        self.ahead.insert((at, rank, id), what);
    }

    /// Looks at what happened until then.
    pub fn advance(&mut self, until: BootNanos, out: &mut Vec<Answer>) {
        while let Some(next) = self.ahead.first_entry()
            && next.key().0 <= until.0
        {
            let ((at, _, id), what) = next.remove_entry();
            match what {
                What::Came { asks, .. } => self.came(id, at, asks),
                What::Called { known, hint, .. } => self.called(id, known, hint),
                What::Answered => self.answered(id, at),
                What::Responded => self.responded(id),
            }
            if what == What::Responded || self.unsettled.len() > MAX_CALLS {
                self.settle(at, out);
            }
        }
        self.settle(until.0, out);
    }

    /// Settles all, as if nothing more happened.
    pub fn finish(&mut self, out: &mut Vec<Answer>) {
        self.advance(BootNanos(u64::MAX), out);
    }

    /// Forgets what went on, but not what was learned, of which the older counts a part only.
    pub fn start_anew(&mut self, learns: bool) {
        if learns {
            self.model.fade();
        }
        *self = Self {
            model: std::mem::take(&mut self.model),
            learns,
            ..Self::new(self.wait_ns)
        };
    }

    /// The earliest moment at which [`Self::advance`] does something.
    pub fn next_deadline(&self) -> Option<BootNanos> {
        let ahead = self.ahead.first_key_value().map(|((at, _, _), _)| *at);
        let oldest = self.unsettled.front().and_then(|call| self.calls.get(call));
        let oldest = oldest.map(|call| call.start.saturating_add(self.wait_ns));
        [ahead, oldest].into_iter().flatten().min().map(BootNanos)
    }

    /// How much it takes to find out about a call.
    pub fn looks(&self) -> u64 {
        let looks = self
            .hypotheses
            .len()
            .saturating_mul(self.working.len())
            .min(CHOICES);
        u64::try_from(looks).unwrap_or(u64::MAX)
    }

    /// A call was made that will not be told: nothing is to be learned from the requests in flight.
    pub fn miss(&mut self) {
        for id in &self.working {
            if let Some(request) = self.requests.get_mut(id) {
                request.doubt = 1.0;
            }
        }
    }

    /// Everything that is remembered of what went on.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.ahead.len() + self.requests.len() + self.calls.len() + self.hypotheses.held()
    }

    fn came(&mut self, id: ExchangeId, at: u64, asks: Kind) {
        if !self.requests.contains_key(&id) {
            return;
        }
        let place = self.model.came(asks);
        self.hypotheses.came(id, place, at);
        self.working.push_back(id);
        if self.working.len() > MAX_REQUESTS
            && let Some(oldest) = self.working.front().copied()
        {
            self.drop_request(oldest);
        }
    }

    fn called(&mut self, id: ExchangeId, known: Option<ExchangeId>, hint: Option<Hint>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        self.unsettled.push_back(id);
        call.kept = self.hypotheses.kept();
        let (at, whom, thread) = (call.start, call.whom, call.thread);
        let hinted = |id: ExchangeId| match hint {
            Some(hint) if hint.request == id => hint.score(self.working.len()),
            _ => 0.0,
        };
        let possible: Vec<Option<f64>> = self
            .working
            .iter()
            .map(|id| {
                let request = self.requests.get(id)?;
                let is_over = request.end.is_some_and(|end| end < at);
                (request.start <= at && !is_over).then_some(())?;
                let same = is_same(request.thread, thread);
                call.by_same += u32::from(same == Some(true));
                call.by_others += u32::from(same == Some(false));
                let is_possible = known.is_none_or(|known| known == *id);
                is_possible.then(|| hinted(*id) + same.map_or(0.0, |same| self.model.score_thread(same)))
            })
            .collect();
        self.hypotheses
            .called(id, (at, whom), &possible, known.is_none(), &mut self.model);
    }

    /// Other evidence tells by now which request a call was made for.
    pub fn know(&mut self, id: ExchangeId, request: ExchangeId) {
        if let Some(What::Called { known, .. }) = self.ahead_of(id) {
            *known = Some(request);
        }
        let place = self.unsettled.iter().position(|unsettled| *unsettled == id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.is_known = place.is_none_or(|place| self.hypotheses.know(place, request));
    }

    /// What is known of a call that was not looked at yet.
    fn ahead_of(&mut self, call: ExchangeId) -> Option<&mut What> {
        let start = self.calls.get(&call)?.start;
        self.ahead.get_mut(&(start, CALLED, call))
    }

    fn answered(&mut self, id: ExchangeId, at: u64) {
        let Some(whom) = self.calls.get(&id).map(|call| call.whom) else {
            return;
        };
        self.hypotheses.answered(id, whom, at, &mut self.model);
    }

    fn responded(&mut self, id: ExchangeId) {
        let Some(end) = self.requests.get(&id).and_then(|request| request.end) else {
            return;
        };
        self.hypotheses.responded(id, end, &self.model);
        if let Some(place) = self.working.iter().position(|working| *working == id) {
            self.working.remove(place);
            self.responded.push_back(id);
        }
    }

    /// Forgets a request: when it is answered will not be known.
    pub fn drop_request(&mut self, id: ExchangeId) {
        self.hypotheses.drop_request(id);
        self.working.retain(|working| *working != id);
        self.forget(id);
    }

    fn forget(&mut self, id: ExchangeId) {
        let request = self.requests.remove(&id);
        for call in request.into_iter().flat_map(|request| request.calls) {
            self.calls.remove(&call);
        }
    }

    /// Settles the calls that nothing can be learned about any more, and those that have waited long enough.
    fn settle(&mut self, now: u64, out: &mut Vec<Answer>) {
        let earliest = self
            .working
            .iter()
            .filter_map(|id| self.requests.get(id))
            .map(|request| request.start)
            .min();
        let is_ripe = |call: &Call| {
            earliest.is_none_or(|start| call.start < start) || call.start.saturating_add(self.wait_ns) <= now
        };
        let ripe = self
            .unsettled
            .iter()
            .take_while(|id| self.calls.get(*id).is_none_or(is_ripe))
            .count();
        let ripe = ripe.max(self.unsettled.len().saturating_sub(MAX_CALLS));
        if ripe > 0 {
            self.settle_first(ripe, out);
        }
        self.learn();
    }

    fn settle_first(&mut self, count: usize, out: &mut Vec<Answer>) {
        let settled = self.hypotheses.settle(count);
        for (call, likely) in self.unsettled.drain(..count).zip(settled) {
            let most = likely
                .iter()
                .max_by(|one, other| one.share.total_cmp(&other.share));
            let (Some(most), Some(made)) = (most, self.calls.get(&call)) else {
                continue;
            };
            let kept = (self.hypotheses.kept() - made.kept).exp();
            let (request, confidence) = (most.request, most.claimed * kept);
            for other in likely.iter().filter(|other| other.share > NOTHING) {
                if let Some(other) = other.request.and_then(|other| self.requests.get_mut(&other)) {
                    other.doubt = other.doubt.max(1.0 - confidence);
                }
            }
            let made = made.clone();
            let parent = request.and_then(|request| self.requests.get_mut(&request));
            if self.learns {
                let same = parent
                    .as_ref()
                    .and_then(|parent| is_same(parent.thread, made.thread));
                self.model
                    .observe_threads(same, made.by_same, made.by_others, confidence);
                if !made.is_known {
                    self.model.observe_call(made.whom, request.is_none(), confidence);
                }
            }
            match parent {
                Some(parent) => parent.calls.push(call),
                None => _ = self.calls.remove(&call),
            }
            if !made.is_known {
                out.push(Answer {
                    call,
                    request,
                    confidence,
                });
            }
        }
    }

    /// Learns from requests of which nothing more will be known.
    fn learn(&mut self) {
        let unsettled = self.unsettled.front().and_then(|call| self.calls.get(call));
        let until = unsettled.map_or(u64::MAX, |call| call.start);
        while let Some(id) = self.responded.front().copied() {
            if let Some(request) = self.requests.get(&id) {
                let may_change = |end: u64| end.saturating_add(SLACK_NS) >= until;
                if request.end.is_some_and(may_change) {
                    break;
                }
                if self.learns {
                    learn(&mut self.model, request, &self.calls);
                }
            }
            self.forget(id);
            self.responded.pop_front();
        }
    }
}

/// What a request tells of how its process works, the less the more doubtful it is which calls were made for it.
fn learn(model: &mut Model, request: &Request, calls: &ById<Call>) {
    let Some(end) = request.end else {
        return;
    };
    if request.doubt > MAX_DOUBT {
        return;
    }
    let weight = 1.0 - request.doubt;
    let calls = request.calls.iter().filter_map(|call| calls.get(call));
    let mut events: Vec<_> = calls
        .flat_map(|call| {
            let answered = call.end.map(|end| (end, true, call.whom));
            [Some((call.start, false, call.whom)), answered]
                .into_iter()
                .flatten()
        })
        .filter(|(at, _, _)| *at <= end.saturating_add(SLACK_NS))
        .collect();
    events.sort_unstable();
    let mut place = model.came(request.asks);
    let mut last = request.start;
    for (at, is_answer, whom) in events {
        place = if is_answer {
            model.answered(place, whom)
        } else {
            model.observe(place, Next::Call(whom), since(at, last), weight);
            model.called(place, whom)
        };
        last = at;
    }
    model.observe(place, Next::Respond, since(end, last), weight);
}

impl Default for Search {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Whether two threads are one, where both are known.
fn is_same(one: Option<Thread>, other: Option<Thread>) -> Option<bool> {
    Some(one? == other?)
}

/// Nanoseconds from `before` to `at`, less than none if it is earlier.
pub(super) fn since(at: u64, before: u64) -> i64 {
    at.wrapping_sub(before).cast_signed()
}
