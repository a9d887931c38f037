//! Beside the way: what the running kernel offers (BTF, features), and the loading and attaching of the probes.

mod arch;
mod attached;
mod breakpoint;
pub mod btf;
pub mod capability;
mod coroutines;
mod counters;
mod descriptors;
mod error;
mod family;
mod followed;
pub mod layout;
mod load;
mod pages;
mod plan;
mod preemption;
mod probes;
mod ring;
mod shielded;
mod sizes;
mod tls;
mod voice;
mod wakes;

pub use descriptors::allow_all as allow_open_files;
pub use error::KernelError;
use std::{io, os::fd::BorrowedFd};

use tracer_common::{Loss, layout::Exe};

pub use family::Family;
pub use load::{LeftOut, Refusal};
pub use plan::{Excludes, Plan, Selection};
pub use probes::{Probes, ReselectError, give_back_free_memory};

use crate::{
    capture::record::Verdict,
    live,
    symbols::{Go, Runtime},
};

impl live::Probes for Probes {
    fn ring(&self) -> BorrowedFd<'_> {
        self.ring()
    }

    fn ring_bytes(&self) -> u32 {
        self.ring_bytes()
    }

    fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        self.drain(most, each)
    }

    fn said(&mut self) -> Vec<String> {
        self.said()
    }

    fn losses(&self) -> Vec<(Loss, u64)> {
        self.losses()
    }

    fn settle(&mut self) {
        self.settle();
    }

    fn judge(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool> {
        self.judge(pid, verdict.mark()).map_err(io::Error::other)
    }

    fn answer(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool> {
        self.answer(pid, verdict.mark()).map_err(io::Error::other)
    }

    fn place(&mut self, group: u64, verdict: Verdict) -> io::Result<()> {
        self.place(group, verdict.mark()).map_err(io::Error::other)
    }

    fn learn(&mut self, exe: Exe, verdict: Verdict) -> io::Result<()> {
        self.learn(exe, verdict.mark()).map_err(io::Error::other)
    }

    fn forget(&mut self, pid: u32) -> io::Result<()> {
        self.forget(pid).map_err(io::Error::other)
    }

    fn selected(&self) -> Vec<u32> {
        self.selected()
    }

    fn follow(&mut self, pid: u32, go: &Go) -> io::Result<()> {
        self.follow(pid, go)
    }

    fn tell_apart(&mut self, pid: u32, runtime: &Runtime) -> io::Result<()> {
        self.tell_apart(pid, runtime)
    }

    fn unfollow(&mut self, pid: u32) {
        self.unfollow(pid);
    }

    fn look(&mut self, pid: u32) {
        self.look(pid);
    }
}
