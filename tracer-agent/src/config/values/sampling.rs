//! Rules of sampling, head and tail, as they are written in one text each.

use std::str::FromStr;

use super::NotAValue;
use crate::sampling::{self, tail};

/// What is dropped and kept of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub sampling::Rule);

impl FromStr for Rule {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let rule = text.parse::<sampling::Rule>();
        rule.map(Self).map_err(|error| NotAValue(error.wanted()))
    }
}

/// What is kept of finished traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail(pub tail::Settings);

impl FromStr for Tail {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let settings = text.parse::<tail::Settings>();
        settings.map(Self).map_err(|error| NotAValue(error.wanted()))
    }
}
