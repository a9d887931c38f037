//! The kinds of coroutines that the kernel side tells apart.

use std::io;

use aya::maps::{Array, MapData};
use tracer_common::layout::{COROUTINE_KINDS, Coroutines};

pub(super) const MAP: &str = "COROUTINES";

/// Each is made when a process has it, and stays.
pub(super) struct Kinds {
    map: Array<MapData, Kind>,
    known: Vec<Coroutines>,
}

impl Kinds {
    pub fn new(map: Array<MapData, Kind>) -> Self {
        Self {
            map,
            known: Vec::new(),
        }
    }

    /// The number of this kind.
    ///
    /// # Errors
    /// When there are too many.
    pub fn number(&mut self, kind: Coroutines) -> io::Result<u8> {
        let mut known = (0..).zip(&self.known);
        if let Some((number, _)) = known.find(|(_, known)| **known == kind) {
            return Ok(number);
        }
        let number = (0..COROUTINE_KINDS).nth(self.known.len());
        let number = number.ok_or_else(|| io::Error::other("too many kinds of it run at once"))?;
        self.map
            .set(number.into(), Kind(kind), 0)
            .map_err(io::Error::other)?;
        self.known.push(kind);
        Ok(number)
    }
}

/// A kind as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Kind(Coroutines);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for Kind {}
