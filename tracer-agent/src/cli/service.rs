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
};

const SOCKET: &str = "NOTIFY_SOCKET";

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The probes are attached: what waited for the service may begin.
    Ready,
    /// What is left is delivered, and then it ends.
    Stopping,
}

impl State {
    fn words(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
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
    fn a_manager_is_told_at_an_abstract_name() {
        let name = format!("tracer-agent-test-{}", std::process::id());
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
