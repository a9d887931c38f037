//! Processes are followed: what works in them is told apart, by what the kernel side reads of it and by breakpoints.

use std::io;

use tracer_common::layout::{GrpcGo, JavaThreads, mark, process};

use super::Probes;
use crate::{
    kernel::{
        followed::{Places, Refused},
        tls,
    },
    symbols::{Go, Runtime},
};

pub(super) const NO_REGISTERS: &str = "the registers of programs cannot be found on this kernel";

impl Probes {
    /// The goroutines of a process are told apart from now on, and what its HTTP client hands on is followed.
    ///
    /// # Errors
    /// When they cannot be: its version of Go is not known.
    pub fn follow(&mut self, pid: u32, go: &Go) -> io::Result<()> {
        let kind = go.program.goroutines.ok_or_else(|| {
            io::Error::other("where it keeps its goroutines is not known to this version of the agent")
        })?;
        let before = self.known(pid).map(mark::decided);
        let Some(decided @ (process::SELECTED | process::DUE)) = before else {
            return Ok(());
        };
        if !self.knows_registers {
            return Err(io::Error::other(NO_REGISTERS));
        }
        self.replace(pid, mark::of(decided, kind.0))
            .map_err(io::Error::other)?;
        if let Some(layout) = go.program.grpc {
            self.grpc
                .insert(pid, GrpcKind(layout), 0)
                .map_err(io::Error::other)?;
            self.have_grpc.insert(pid);
        }
        self.breakpoints.attach(pid, Places::of_go(go));
        Ok(())
    }

    /// What works in a process is told apart from now on: the coroutines of CPython and which makes which, the threads of Java and which has work for
    /// which.
    ///
    /// # Errors
    /// When there are more kinds of coroutines than can be, or the kernel cannot tell which thread wakes which.
    pub fn tell_apart(&mut self, pid: u32, runtime: &Runtime) -> io::Result<()> {
        let before = self.known(pid).map(mark::decided);
        let Some(decided @ (process::SELECTED | process::DUE)) = before else {
            return Ok(());
        };
        let kind = match runtime {
            Runtime::Python(python) => mark::of_coroutines(self.coroutines.number(python.coroutines)?),
            Runtime::Java(_) => mark::POOLS,
            Runtime::Tokio(_) => mark::TASKS,
        };
        if let Runtime::Tokio(tokio) = runtime {
            self.tokio
                .insert(pid, tokio.program.distance, 0)
                .map_err(io::Error::other)?;
            self.have_tokio.insert(pid);
        }
        self.replace(pid, mark::of(decided, kind))
            .map_err(io::Error::other)?;
        match runtime {
            Runtime::Python(python) => self.breakpoints.attach(pid, Places::of_python(python)),
            Runtime::Tokio(tokio) => self.breakpoints.attach(pid, Places::of_tokio(tokio)),
            Runtime::Java(threads) => {
                if let Some(threads) = threads {
                    self.java
                        .insert(pid, JavaKind(*threads), 0)
                        .map_err(io::Error::other)?;
                    self.have_java.insert(pid);
                }
                self.wakes.follow(pid)?;
            }
        }
        Ok(())
    }

    /// A process has ended, or runs another program.
    pub fn unfollow(&mut self, pid: u32) {
        if self.have_grpc.remove(&pid) {
            // It is there.
            let _ = self.grpc.remove(&pid);
        }
        if self.have_java.remove(&pid) {
            // The same holds for this.
            let _ = self.java.remove(&pid);
        }
        if self.have_tokio.remove(&pid) {
            // And for this.
            let _ = self.tokio.remove(&pid);
        }
        self.breakpoints.detach(pid);
        self.wakes.unfollow(pid);
    }

    /// From here on breakpoints are set in processes that are followed, by threads that keep what rights they need.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn begin_to_follow(&mut self, refused: Refused, libraries: tls::Told) -> io::Result<()> {
        self.breakpoints.begin(refused)?;
        self.libraries.begin(libraries)
    }

    /// A process runs a new program, or is seen for the first time: what libraries of TLS it has is looked at.
    pub fn look(&mut self, pid: u32) {
        self.libraries.look(pid);
    }
}

/// A kind of gRPC as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct GrpcKind(GrpcGo);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for GrpcKind {}

/// A version of Java as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct JavaKind(JavaThreads);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for JavaKind {}
