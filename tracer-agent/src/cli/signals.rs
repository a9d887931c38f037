//! Signals that the agent gets: ended by, or passed on to CMD.

use std::{
    io,
    os::raw::c_int,
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{
        Handle, SignalsInfo,
        exfiltrator::{WithOrigin, origin::Origin},
    },
    low_level::siginfo::Cause,
};

use crate::kernel::capability;

/// The signals on which a daemon ends in good order.
const ENDING: &[c_int] = &[SIGINT, SIGTERM, SIGHUP, SIGQUIT];
/// The signals that are CMD's to understand.
const FORWARDED: &[c_int] = &[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// Listens for signals until dropped.
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Calls `end` on every signal that asks a daemon to end. SIGHUP from a process asks to `reload` instead, where there is
    /// something to; from the kernel it says that the terminal is gone.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn ending(
        end: impl Fn() + Send + 'static,
        reload: Option<impl Fn() + Send + 'static>,
    ) -> io::Result<Self> {
        Self::on(ENDING, move |origin| match &reload {
            Some(reload) if origin.signal == SIGHUP && !matches!(origin.cause, Cause::Kernel) => reload(),
            _ => end(),
        })
    }

    /// Catches every signal that is CMD's and passes it on, unless CMD got it from the same hand: the terminal, or a
    /// process of its own (`kill 0` in a script's trap), which `is_its_own` knows.
    ///
    /// # Errors
    /// When CMD is gone or a handler cannot be installed.
    pub fn forwarding(command: u32, is_its_own: impl Fn(u32) -> bool + Send + 'static) -> io::Result<Self> {
        let pid = i32::try_from(command)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::NotFound)?;
        // A process id may be given again once CMD is gone; a descriptor of the process is of no other.
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        Self::on(FORWARDED, move |origin| {
            let sender = origin.process.and_then(|process| u32::try_from(process.pid).ok());
            if matches!(origin.cause, Cause::Kernel) || sender.is_some_and(&is_its_own) {
                return;
            }
            if let Some(signal) = Signal::from_named_raw(origin.signal) {
                // CMD may have ended in between; then there is nobody to tell.
                let _ = pidfd_send_signal(&process, signal);
            }
        })
    }

    fn on(signals: &[c_int], act: impl Fn(Origin) + Send + 'static) -> io::Result<Self> {
        let mut signals = SignalsInfo::<WithOrigin>::new(signals)?;
        let handle = signals.handle();
        let body = move || {
            capability::keep(capability::TO_SIGNAL);
            signals.forever().for_each(act);
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(body)?;
        Ok(Self {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
