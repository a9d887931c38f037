//! Beside the way: what the running kernel offers (BTF, features), and the loading and attaching of the probes.

pub mod btf;
pub mod capability;
mod error;
mod family;
pub mod layout;
mod probes;

pub use error::KernelError;
use std::{io, os::fd::BorrowedFd};

use tracer_common::Loss;

pub use family::Family;
pub use probes::{Plan, Probes, Refusal, Selection};

use crate::live;

impl live::Probes for Probes {
    fn ring(&self) -> BorrowedFd<'_> {
        self.ring()
    }

    fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        self.drain(most, each)
    }

    fn losses(&self) -> io::Result<Vec<(Loss, u64)>> {
        self.losses().map_err(io::Error::other)
    }

    fn select(&mut self, pid: u32) -> io::Result<()> {
        self.select(pid).map_err(io::Error::other)
    }
}
