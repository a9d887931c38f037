//! What was made of a packet and waits to be asked for: inputs, in one piece of memory that is used again.

use std::{collections::VecDeque, ops::Range};

use crate::{
    capture::{Input, ProcessInfo},
    ids::BootNanos,
};

/// Inputs in the order in which they are to be given.
#[derive(Debug, Default)]
pub(super) struct Told {
    inputs: VecDeque<Waiting>,
    records: Vec<u8>,
    /// The one that was given last.
    given: Option<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Record(Range<usize>),
    Process(Box<ProcessInfo>),
    Tick(BootNanos),
}

impl Told {
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Adds a record: `parts` one after the other.
    pub fn record(&mut self, parts: &[&[u8]]) {
        let begin = self.records.len();
        parts.iter().for_each(|part| self.records.extend_from_slice(part));
        self.inputs.push_back(Waiting::Record(begin..self.records.len()));
    }

    pub fn process(&mut self, info: Box<ProcessInfo>) {
        self.inputs.push_back(Waiting::Process(info));
    }

    pub fn tick(&mut self, at: u64) {
        self.inputs.push_back(Waiting::Tick(BootNanos(at)));
    }

    /// The next input, lent until the one after it is asked for.
    pub fn give(&mut self) -> Option<Input<'_>> {
        self.given = self.inputs.pop_front();
        Some(match self.given.as_mut()? {
            Waiting::Record(range) => Input::Record(self.records.get(range.clone()).unwrap_or_default()),
            Waiting::Process(info) => Input::Process(std::mem::take(info)),
            Waiting::Tick(at) => Input::Tick(*at),
        })
    }

    /// Makes room, once everything was given.
    pub fn clear(&mut self) {
        if self.inputs.is_empty() {
            self.records.clear();
        }
    }
}
