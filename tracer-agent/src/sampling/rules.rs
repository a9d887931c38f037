//! Rules about requests: what is dropped, what is kept, and how much of the rest. In: the head of a request, and the service that it
//! was seen in. Out: what the first rule that fits says.
//!
//! ```text
//! /health* drop
//! service=shop method=GET path=/static/* 0.01
//! peer=10.0.7.* keep
//! ```
//!
//! Words with spaces between them: any number of conditions, all of which must hold, and what to do. `*` is any run of
//! characters, `?` one. A path is compared without its query; with braces it is a route (`/orders/{id}`).

use std::str::FromStr;

use crate::{
    capture::address::Address,
    discovery::Glob,
    protocols::exchange::{ConnectFailure, Exchange, Side},
    spans::{Route, Target},
};

use super::Threshold;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not exported, nor what it causes, whatever its caller has decided.
    Drop,
    /// Its trace is kept, if nobody before has decided.
    Keep,
    /// This part of such traces is kept, if nobody before has decided.
    Share(Threshold),
}

/// A rule about requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    conditions: Vec<Condition>,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Service(Glob),
    Method(Glob),
    Path(Glob),
    Route(Route),
    Peer(Glob),
}

/// Why a text is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {}", self.wanted())]
pub enum RuleError {
    /// Its last word.
    Action,
    /// It would be a sampler.
    Unconditional,
    /// A word before the last.
    Condition,
    /// A path with braces.
    Route,
}

impl RuleError {
    /// What would be a rule.
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::Action => "a rule: its last word is what to do, drop, keep or a share above 0 and up to 1",
            Self::Unconditional => {
                "a rule: it has no condition, such as /health* or service=shop (--sampler is for all requests)"
            }
            Self::Condition => {
                "a rule: a condition is service=, method=, path= or peer= with a pattern, or a path that begins with /"
            }
            Self::Route => "a rule: its path has braces but is no route such as /orders/{id}",
        }
    }
}

/// What rules ask of.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A request.
    Request(&'a Exchange),
    /// A connection that was asked for in vain.
    Connect(&'a ConnectFailure),
}

/// What the first rule that fits says; `service` is asked for where one wants to know it.
pub fn first<'a>(
    rules: &[Rule],
    subject: Subject<'_>,
    mut service: impl FnMut() -> &'a str,
) -> Option<Action> {
    let rule = rules.iter().find(|rule| {
        rule.conditions
            .iter()
            .all(|condition| condition.holds(subject, &mut service))
    })?;
    Some(rule.action)
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut words: Vec<_> = text.split_ascii_whitespace().collect();
        let action = match words.pop() {
            Some("drop") => Action::Drop,
            Some("keep") => Action::Keep,
            Some(share) => {
                let threshold = share.parse().ok().and_then(Threshold::of_share);
                Action::Share(threshold.ok_or(RuleError::Action)?)
            }
            None => return Err(RuleError::Action),
        };
        if words.is_empty() {
            return Err(RuleError::Unconditional);
        }
        let conditions = words
            .into_iter()
            .map(Condition::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions, action })
    }
}

impl Condition {
    fn parse(word: &str) -> Result<Self, RuleError> {
        let (key, pattern) = if word.starts_with('/') {
            ("path", word)
        } else {
            word.split_once('=').ok_or(RuleError::Condition)?
        };
        if pattern.is_empty() {
            return Err(RuleError::Condition);
        }
        match key {
            "service" => Ok(Self::Service(Glob::new(pattern))),
            "method" => Ok(Self::Method(Glob::new(pattern))),
            "peer" => Ok(Self::Peer(Glob::new(pattern))),
            "path" if pattern.contains(['{', '}']) => {
                Route::new(pattern).map(Self::Route).map_err(|_| RuleError::Route)
            }
            "path" => Ok(Self::Path(Glob::new(pattern))),
            _ => Err(RuleError::Condition),
        }
    }

    fn holds<'a>(&self, subject: Subject<'_>, service: &mut impl FnMut() -> &'a str) -> bool {
        match (self, subject) {
            (Self::Service(glob), _) => glob.matches(service()),
            (Self::Method(glob), Subject::Request(exchange)) => glob.matches(&exchange.request.method),
            (Self::Path(glob), Subject::Request(exchange)) => {
                path(exchange).is_some_and(|path| glob.matches(path))
            }
            (Self::Route(route), Subject::Request(exchange)) => {
                path(exchange).is_some_and(|path| route.matches(path))
            }
            (Self::Peer(glob), Subject::Request(exchange)) => {
                let host = exchange.request.host.as_deref();
                let host = host.filter(|_| exchange.side == Side::Outbound);
                let named = host.into_iter().chain(exchange.path.as_deref());
                named.into_iter().any(|name| glob.matches(name)) || is_at(glob, exchange.peer)
            }
            (Self::Peer(glob), Subject::Connect(failure)) => is_at(glob, failure.peer),
            // What was never sent has no path.
            (Self::Method(_) | Self::Path(_) | Self::Route(_), Subject::Connect(_)) => false,
        }
    }
}

/// The path of a request without its query, where it is known.
fn path(exchange: &Exchange) -> Option<&str> {
    let request = &exchange.request;
    let target = Target::parse(&request.method, &request.target);
    match target.path {
        "" if target.scheme.is_some() => Some("/"),
        path => Some(path).filter(|path| !path.is_empty()),
    }
}

/// With its port or without.
fn is_at(glob: &Glob, peer: Address) -> bool {
    match peer {
        Address::Ip(address) => glob.matches(&address.ip().to_string()) || glob.matches(&address.to_string()),
        Address::Unix(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::correlate::tests::scene::{inbound, outbound};

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn request(side: Side, method: &str, target: &str) -> Exchange {
        let mut exchange = match side {
            Side::Inbound => inbound(1, 1).0,
            Side::Outbound => outbound(1, 1).0,
        };
        exchange.peer = ([10, 0, 7, 4], 8080).into();
        exchange.request.method = method.into();
        exchange.request.target = target.into();
        exchange.request.host = Some("pay.internal:8080".into());
        exchange
    }

    fn asked(rules: &[&str], exchange: &Exchange) -> Option<Action> {
        let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
        first(&rules, Subject::Request(exchange), || "shop")
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let exchange = request(Side::Inbound, "GET", "/health/live?probe=1");
        for (text, holds) in [
            ("/health* drop", true),
            ("path=/health/live drop", true),
            ("path=/health drop", false),
            ("/health/{kind} drop", true),
            ("/orders/{id} drop", false),
            ("service=shop /health* drop", true),
            ("service=sh?p drop", true),
            ("service=pay /health* drop", false),
            ("method=GET /health* drop", true),
            ("method=get /health* drop", false),
            ("peer=10.0.7.* drop", true),
            ("peer=10.0.7.4:8080 drop", true),
            ("peer=pay.internal* drop", false),
        ] {
            assert_eq!(asked(&[text], &exchange), holds.then_some(Action::Drop), "{text}");
        }
        let call = request(Side::Outbound, "GET", "http://pay.internal:8080");
        assert_eq!(asked(&["peer=pay.internal* / drop"], &call), Some(Action::Drop));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let exchange = request(Side::Inbound, "GET", "/health");
        let half = Threshold::of_share(0.5).unwrap();
        let rules = ["/other drop", "/health 0.5", "/* drop"];
        assert_eq!(asked(&rules, &exchange), Some(Action::Share(half)));
        assert_eq!(
            asked(&["/health keep", "/health drop"], &exchange),
            Some(Action::Keep)
        );
        assert_eq!(asked(&[], &exchange), None);
    }

    #[test]
    fn what_is_not_known_fits_no_pattern_of_it() {
        let unseen = Exchange {
            unseen: true,
            ..request(Side::Inbound, "", "")
        };
        assert_eq!(asked(&["/* drop"], &unseen), None);
        let failure = ConnectFailure {
            id: unseen.id,
            connection: unseen.connection,
            task: unseen.task,
            peer: unseen.peer,
            start: unseen.start,
            end: unseen.start,
            errno: 111,
            rule: None,
        };
        let said = |text| first(&[rule(text)], Subject::Connect(&failure), || "shop");
        assert_eq!(said("/* drop"), None);
        assert_eq!(said("service=shop peer=10.0.7.4 drop"), Some(Action::Drop));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_is_wrong() {
        for (text, error) in [
            ("", RuleError::Action),
            ("/health", RuleError::Action),
            ("/health 1.5", RuleError::Action),
            ("/health 0", RuleError::Action),
            ("/health NaN", RuleError::Action),
            ("drop", RuleError::Unconditional),
            ("health drop", RuleError::Condition),
            ("path= drop", RuleError::Condition),
            ("host=a drop", RuleError::Condition),
            ("/health = drop", RuleError::Condition),
            ("/a{b} drop", RuleError::Route),
        ] {
            assert_eq!(text.parse::<Rule>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "((service|path|peer|x)?=?[/{}*a-z. ]{0,6} ?){0,4}(drop|keep|0\\.5|\\PC{0,4})") {
            let _ = text.parse::<Rule>();
        }
    }
}
