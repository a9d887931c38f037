//! What the service manager is told (`sd_notify(3)`): that the agent traces, and that it ends. In: `NOTIFY_SOCKET`, which only a
//! service manager sets. Kept true: where nobody asked, nothing is said, and nothing here keeps the agent from its work.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

const SOCKET: &str = "NOTIFY_SOCKET";

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The probes are attached: what waited for the service may begin.
    Ready,
    /// It has not stopped to work: said again and again, if that was asked for.
    Alive,
    /// What is left is delivered, and then it ends.
    Stopping,
}

impl State {
    fn words(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Alive => b"WATCHDOG=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

/// Tells the service manager, if there is one.
///
/// # Errors
/// When it asked to be told and cannot be.
pub fn tell(state: State) -> io::Result<()> {
    match env::var_os(SOCKET) {
        Some(name) => tell_at(&name, state),
        None => Ok(()),
    }
}

/// How often a manager wants to hear that the agent is [`State::Alive`], if it does: half of the time after which it would end it
/// (`sd_watchdog_enabled(3)`).
pub fn wants_to_hear_every() -> Option<Duration> {
    let variable = |name| env::var(name).ok();
    interval(
        variable("WATCHDOG_USEC")?,
        variable("WATCHDOG_PID"),
        process::id(),
    )
}

/// The same of these variables, in this process: they may be meant for the one that has started it.
fn interval(micros: String, meant: Option<String>, pid: u32) -> Option<Duration> {
    if meant.is_some_and(|meant| meant.parse() != Ok(pid)) {
        return None;
    }
    let micros = micros.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros) / 2)
}

fn tell_at(name: &OsStr, state: State) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read is not waited for.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.words(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut words = [0; 64];
        let len = socket.recv(&mut words).unwrap();
        words[..len].to_vec()
    }

    #[test]
    fn a_manager_is_told_at_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell_at(path.as_os_str(), State::Ready).unwrap();
        assert_eq!(heard(&socket), b"READY=1");
    }

    #[test]
    fn a_manager_that_watches_is_told_twice_as_often_as_it_asks() {
        let wanted = |micros: &str, meant: Option<&str>| interval(micros.into(), meant.map(Into::into), 7);
        assert_eq!(wanted("60000000", None), Some(Duration::from_secs(30)));
        assert_eq!(wanted("60000000", Some("7")), Some(Duration::from_secs(30)));
        assert_eq!(wanted("60000000", Some("8")), None);
        assert_eq!(wanted("0", None), None);
        assert_eq!(wanted("soon", None), None);
    }

    #[test]
    fn a_manager_is_told_at_an_abstract_name() {
        let name = format!("tracer-agent-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        tell_at(OsStr::new(&format!("@{name}")), State::Stopping).unwrap();
        assert_eq!(heard(&socket), b"STOPPING=1");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nobody");
        assert!(tell_at(path.as_os_str(), State::Ready).is_err());
    }

    /// A queue that nobody reads fills up; the agent goes on.
    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let mut tries = 0..100_000;
        let error = tries.find_map(|_| tell_at(path.as_os_str(), State::Ready).err());
        assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
