//! The start gate of `trace`: CMD's process exists before CMD runs, so that it can be selected first.
//!
//! The agent starts itself as a hidden command in the process that will be CMD. That process waits at a socket;
//! when the probes are ready the agent sends the standard input that CMD shall have, and the process becomes CMD
//! with `exec`: same process id, same terminal, same environment, nothing left open. Kept true: if `exec` fails the
//! agent hears why; if the agent dies CMD never runs.

use std::{
    ffi::OsString,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child, Command, Stdio},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::Exit;

/// The hidden command that waits at the gate.
pub const COMMAND: &str = "__gate";

/// CMD's process, waiting to become CMD.
#[derive(Debug)]
pub struct Gated {
    process: Child,
    control: UnixStream,
    name: OsString,
}

/// CMD could not be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {name:?}: {error}{}", advice(.error))]
pub struct NotRun {
    /// CMD.
    pub name: OsString,
    /// What `exec` said.
    pub error: io::Error,
}

impl NotRun {
    /// 127 where there is no such program, 126 where there is one that cannot be run.
    pub fn exit(&self) -> Exit {
        match self.error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::NotExecutable,
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check its spelling, PATH, and the interpreter its first line names",
        io::ErrorKind::PermissionDenied => "; is it a file with execute permission?",
        _ => "",
    }
}

impl Gated {
    /// Makes the process of `command` (the program and its arguments) and lets it wait. `agent` is the agent's own
    /// executable.
    ///
    /// # Errors
    /// When there can be no process or socket.
    pub fn new(agent: &str, command: &[OsString]) -> io::Result<Self> {
        let (control, gate) = UnixStream::pair()?;
        let process = Command::new(agent)
            .arg0("tracer-agent")
            .arg(COMMAND)
            .arg("--")
            .args(command)
            .stdin(Stdio::from(OwnedFd::from(gate)))
            .spawn()?;
        Ok(Self {
            process,
            control,
            name: command.first().cloned().unwrap_or_default(),
        })
    }

    /// The process id that CMD will have.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets CMD run with the agent's standard input, and returns once its program is loaded.
    ///
    /// # Errors
    /// [`NotRun`] when it cannot be; its process is gone then.
    pub fn open(mut self) -> Result<Child, NotRun> {
        let mut answer = [0; 4];
        let heard = send_stdin(&self.control).and_then(|()| read_all(&mut self.control, &mut answer));
        match heard {
            // A program that is loaded closes the socket without a word; so does a process that was killed.
            Ok(0) => Ok(self.process),
            Ok(_) => {
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(answer));
                Err(self.give_up(error))
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Lets the process end without ever becoming CMD.
    pub fn abandon(self) {
        drop(self.end());
    }

    /// Closes the gate for good; the name of CMD.
    fn end(mut self) -> OsString {
        drop(self.control);
        // The process ends by itself once its socket is closed; there is nothing to learn from its status.
        let _ = self.process.wait();
        self.name
    }

    fn give_up(self, error: io::Error) -> NotRun {
        NotRun {
            name: self.end(),
            error,
        }
    }
}

/// What the hidden command does: waits, then becomes CMD. Returns only if that failed.
pub fn wait_and_become(command: &[OsString]) -> Exit {
    let Some((program, arguments)) = command.split_first() else {
        return Exit::Misused;
    };
    match take_stdin() {
        Ok(Some(mut control)) => {
            let error = Command::new(program).args(arguments).exec();
            let code = error
                .raw_os_error()
                .unwrap_or(rustix::io::Errno::INVAL.raw_os_error());
            // If the agent is gone by now, nobody is left to tell.
            let _ = control.write_all(&code.to_ne_bytes());
            NotRun {
                name: program.clone(),
                error,
            }
            .exit()
        }
        // The agent ended before it was ready, or this is not its child.
        Ok(None) | Err(_) => Exit::Failed,
    }
}

fn send_stdin(control: &UnixStream) -> io::Result<()> {
    let stdin = io::stdin();
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(control, &[IoSlice::new(b"go")], &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for CMD's standard input, puts it in its place and returns the socket it came over, which closes on `exec`.
/// `None` when the agent is gone.
fn take_stdin() -> io::Result<Option<UnixStream>> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0; 2];
    recvmsg(
        &control,
        &mut [IoSliceMut::new(&mut word)],
        &mut message,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let stdin = message.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let Some(stdin) = stdin else { return Ok(None) };
    rustix::stdio::dup2_stdin(stdin)?;
    Ok(Some(control))
}

/// Fills the buffer; 0 if there was nothing, an error if it ended in between.
fn read_all(from: &mut impl Read, buffer: &mut [u8; 4]) -> io::Result<usize> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(buffer.len()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        // A process that was killed before it took its standard input resets the socket.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        Err(error) => Err(error),
    }
}
