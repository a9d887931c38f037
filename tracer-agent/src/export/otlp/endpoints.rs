//! The endpoints of one destination. Requests go round those that are well; one that fails rests, and the others take what
//! it would have.
//!
//! ```text
//!  well ── refused a connection, no answer, may be retried ─▶ rests ── as long as it said, else 1 s, 2 s, … 15 s ─▶ well
//! ```
//!
//! One that has rested takes its turn again, and rests for longer if it fails once more.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    ClientError, OtlpSettings,
    client::{Client, random},
    retry::{self, Verdict},
};
use crate::export::report::Counters;

/// No endpoint rests for longer, whatever it says: times stay within what can be added to a clock.
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// The clients of all endpoints of one destination; there is one at least.
pub(super) struct Endpoints {
    first: Endpoint,
    others: Vec<Endpoint>,
    /// Whose turn it is.
    turn: usize,
}

struct Endpoint {
    /// Where it stands among all.
    place: usize,
    /// For people; none where there is one endpoint only, which the destination is named by.
    name: Option<String>,
    client: Client,
    /// In a row.
    failures: u32,
    rests_until: Option<Instant>,
}

/// What came of asking.
pub(super) enum Outcome {
    /// An endpoint has answered for good.
    Settled(Verdict),
    /// It is to be asked again, or another is.
    Failed {
        /// Why, for people.
        why: String,
    },
    /// Nobody can be asked before.
    AllRest(Instant),
}

impl Endpoints {
    /// Must be made inside the runtime.
    pub(super) fn new(settings: &OtlpSettings) -> Result<Self, ClientError> {
        let is_alone = settings.others.is_empty();
        let mut all = Vec::new();
        for (place, (settings, name)) in settings.each().zip(settings.names()).enumerate() {
            all.push(Endpoint {
                place,
                name: Some(name).filter(|_| !is_alone),
                client: Client::new(&settings)?,
                failures: 0,
                rests_until: None,
            });
        }
        let first = all.remove(0);
        Ok(Self {
            // Agents that start together do not all begin with the same one.
            turn: usize::try_from(random() >> 32).unwrap_or_default() % (all.len() + 1),
            first,
            others: all,
        })
    }

    /// The body as it goes over the wire, to whichever of them.
    pub(super) fn prepare(&self, body: impl Into<Bytes>) -> Bytes {
        self.first.client.prepare(body)
    }

    /// Sends one request of so many spans to the endpoint whose turn it is among those that do not rest.
    pub(super) async fn ask(&mut self, body: Bytes, spans: u64, counters: &Counters) -> Outcome {
        let now = Instant::now();
        let Some(endpoint) = self.next(now) else {
            return Outcome::AllRest(self.rested_at().unwrap_or(now));
        };
        match endpoint.client.attempt(body).await {
            Verdict::Retry { after, why } => {
                let rest = endpoint.rest(after);
                counters.endpoint_failed(endpoint.place);
                Outcome::Failed {
                    why: match &endpoint.name {
                        Some(name) => format!("{name} is passed over for {} ms: {why}", rest.as_millis()),
                        None => why,
                    },
                }
            }
            verdict => {
                endpoint.failures = 0;
                if let Verdict::Delivered { rejected, .. } = verdict {
                    counters.endpoint_took(endpoint.place, spans.saturating_sub(rejected));
                }
                Outcome::Settled(verdict)
            }
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// The next that does not rest; the turn goes on to the one after it.
    fn next(&mut self, now: Instant) -> Option<&mut Endpoint> {
        let (turn, all) = (self.turn, self.others.len() + 1);
        let found = self
            .all()
            .filter(|endpoint| endpoint.rests_until.is_none_or(|until| now >= until))
            .min_by_key(|endpoint| (endpoint.place + all - turn) % all)?
            .place;
        self.turn = (found + 1) % all;
        self.all().nth(found)
    }

    /// When the first of them has rested.
    fn rested_at(&mut self) -> Option<Instant> {
        self.all().filter_map(|endpoint| endpoint.rests_until).min()
    }
}

impl Endpoint {
    /// Rests for so long, by its own word or by its failures.
    fn rest(&mut self, after: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let rest = after.unwrap_or_else(|| retry::backoff(self.failures, random()));
        let rest = rest.min(LONGEST_REST);
        self.rests_until = Some(Instant::now() + rest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_rests_by_its_failures_or_its_word_and_never_for_longer_than_a_day() {
        let (settings, _) = OtlpSettings::from_env(["http://127.0.0.1:1"], |_| None).unwrap();
        let mut endpoint = Endpoints::new(&settings).unwrap().first;
        assert!(endpoint.rest(None) <= Duration::from_secs(1));
        assert!(endpoint.rest(None) >= Duration::from_secs(1));
        assert_eq!(
            endpoint.rest(Some(Duration::from_secs(7))),
            Duration::from_secs(7)
        );
        assert_eq!(endpoint.rest(Some(Duration::MAX)), LONGEST_REST);
        assert_eq!(endpoint.rests_until, Some(Instant::now() + LONGEST_REST));
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_goes_round_those_that_do_not_rest() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"];
        let (settings, _) = OtlpSettings::from_env(urls, |_| None).unwrap();
        let mut endpoints = Endpoints::new(&settings).unwrap();
        endpoints.turn = 1;
        let now = Instant::now();
        let mut next = |now| endpoints.next(now).map(|endpoint| endpoint.place);
        assert_eq!([(); 4].map(|()| next(now)), [Some(1), Some(2), Some(0), Some(1)]);
        endpoints.others[1].rests_until = Some(now + Duration::from_secs(1));
        let mut next = |now| endpoints.next(now).map(|endpoint| endpoint.place);
        assert_eq!([(); 3].map(|()| next(now)), [Some(0), Some(1), Some(0)]);
        let later = now + Duration::from_secs(1);
        let mut next = |now| endpoints.next(now).map(|endpoint| endpoint.place);
        assert_eq!([(); 3].map(|()| next(later)), [Some(1), Some(2), Some(0)]);
        for endpoint in endpoints.all() {
            endpoint.rests_until = Some(now + Duration::from_secs(3));
        }
        endpoints.others[0].rests_until = Some(now + Duration::from_secs(2));
        assert!(endpoints.next(now).is_none());
        assert_eq!(endpoints.rested_at(), Some(now + Duration::from_secs(2)));
    }
}
