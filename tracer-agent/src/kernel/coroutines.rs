//! The kinds of coroutines that the kernel side tells apart.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
};

use aya::maps::{Array, MapData};
use tracer_common::layout::{COROUTINE_KINDS, CoroutineKind, Coroutines};

pub(super) const MAP: &str = "COROUTINES";

/// Each is made when a process has it, and stays.
pub(super) struct Kinds {
    map: Array<MapData, Kind>,
    known: Vec<Coroutines>,
    mask: u64,
}

impl Kinds {
    pub fn new(map: Array<MapData, Kind>) -> Self {
        Self {
            map,
            known: Vec::new(),
            // 64 random bits: std keys each of its hashers from the system's randomness.
            mask: RandomState::new().hash_one(0_u8),
        }
    }

    /// The number of this kind.
    ///
    /// # Errors
    /// When there are too many.
    pub fn number(&mut self, places: Coroutines) -> io::Result<u8> {
        let mut known = (0..).zip(&self.known);
        if let Some((number, _)) = known.find(|(_, known)| **known == places) {
            return Ok(number);
        }
        let number = (0..COROUTINE_KINDS).nth(self.known.len());
        let number = number.ok_or_else(|| io::Error::other("too many kinds of it run at once"))?;
        let kind = Kind(CoroutineKind {
            places,
            reserved: 0,
            mask: self.mask,
        });
        self.map.set(number.into(), kind, 0).map_err(io::Error::other)?;
        self.known.push(places);
        Ok(number)
    }
}

/// A kind as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Kind(CoroutineKind);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for Kind {}
