//! Records of the kernel side, decoded: bytes in, typed record out, nothing believed.

use std::{num::NonZeroU32, sync::Arc};

use tracer_common::{
    layout::{Exe, process},
    record::{data_flags, kind, open_flags},
};

use super::address::Address;
use crate::ids::{BootNanos, ConnectionId, Pid, StreamOffset, Task};

/// A record, borrowing its captured bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Bytes passed.
    Data(Data<'a>),
    /// A connection was seen for the first time.
    Open(Open),
    /// A connection ended.
    Close(Close),
    /// A process was born, changed its program, ended or was selected.
    Process(ProcessEvent),
}

/// Which way bytes went, seen from the process that made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The process read them.
    Received,
    /// The process wrote them.
    Sent,
}

/// See [`tracer_common::record::DataRecord`]; `captured.len() <= len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on DataRecord")]
pub struct Data<'a> {
    pub connection: ConnectionId,
    pub direction: Direction,
    pub offset: StreamOffset,
    pub len: u64,
    pub start: BootNanos,
    pub end: BootNanos,
    pub task: Task,
    pub seq: u32,
    pub marks: Marks,
    pub captured: &'a [u8],
    pub exchange: Option<NonZeroU32>,
}

/// What the kernel side knows of the bytes of a [`Data`]: see [`data_flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u32);

macro_rules! marks {
    ($($name:ident = $flag:ident;)+) => {
        impl Marks {
            $(
                #[doc = concat!("[`data_flags::", stringify!($flag), "`]")]
                pub const fn $name(self) -> bool { self.0 & data_flags::$flag != 0 }
            )+
        }
    };
}

marks! {
    head = HEAD;
    head_start = HEAD_START;
    head_end = HEAD_END;
    message_end = MESSAGE_END;
    truncated = TRUNCATED;
    unknown = UNKNOWN;
    opaque = OPAQUE;
    unsampled_request = UNSAMPLED_REQUEST;
    unsampled_response = UNSAMPLED_RESPONSE;
}

impl Marks {
    /// The marks of these [`data_flags`] bits.
    pub const fn new(flags: u32) -> Self {
        Self(flags)
    }
}

/// See [`tracer_common::record::OpenRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on OpenRecord")]
pub struct Open {
    pub connection: ConnectionId,
    pub start: BootNanos,
    pub established: Option<BootNanos>,
    pub pid: Pid,
    pub tid: u32,
    pub netns: u32,
    pub origin: Origin,
    pub mid_stream: bool,
    pub own: bool,
    pub local: Address,
    pub peer: Address,
    /// Of a Unix socket: what its server listens on; `@` begins an abstract name.
    pub path: Option<Arc<str>>,
    /// Bytes that the path takes in the record.
    pub path_len: usize,
    pub comm: Comm,
}

/// How an end of a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `connect`.
    Connected,
    /// By `accept`.
    Accepted,
    /// It was there before it was seen.
    Unknown,
}

/// See [`tracer_common::record::CloseRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on CloseRecord")]
pub struct Close {
    pub connection: ConnectionId,
    pub at: BootNanos,
    pub received: u64,
    pub sent: u64,
    pub last_received: Option<BootNanos>,
    pub last_sent: Option<BootNanos>,
    /// `None` for an orderly end.
    pub errno: Option<u32>,
    /// The connection was never established.
    pub failed: bool,
}

/// See [`tracer_common::record::ProcessRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on ProcessRecord")]
pub struct ProcessEvent {
    pub at: BootNanos,
    pub pid: Pid,
    pub change: Change,
    pub comm: Comm,
}

/// See [`tracer_common::record::AskRecord`]: not a record of what passed, but a question, which is answered and gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented on AskRecord")]
pub struct Ask {
    pub exe: Exe,
    pub pid: Pid,
    pub place: Verdict,
}

impl Ask {
    /// The question in these bytes, if they are one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut read = Fields::new(bytes);
        let kind = read.u32().ok()?;
        if kind != kind::ASK {
            return None;
        }
        read.u32().ok()?;
        ask(&mut read).ok()
    }
}

/// Whether a process is traced, as far as one rule or all of them decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Selected,
    /// It is not, whatever else speaks for it.
    Excluded,
    /// Nothing is said about it.
    Passed,
}

impl Verdict {
    /// From one of [`tracer_common::layout::process`].
    pub fn of_mark(mark: u8) -> Self {
        match mark {
            process::SELECTED | process::DUE => Self::Selected,
            process::EXCLUDED => Self::Excluded,
            _ => Self::Passed,
        }
    }

    /// As one of [`tracer_common::layout::process`].
    pub fn mark(self) -> u8 {
        match self {
            Self::Selected => process::SELECTED,
            Self::Excluded => process::EXCLUDED,
            Self::Passed => process::PASSED,
        }
    }

    /// Both together: to exclude is stronger.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Excluded, _) | (_, Self::Excluded) => Self::Excluded,
            (Self::Selected, _) | (_, Self::Selected) => Self::Selected,
            (Self::Passed, Self::Passed) => Self::Passed,
        }
    }
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made by this parent.
    Forked(Pid),
    /// Runs a new program.
    Executed,
    /// Ended.
    Exited,
    /// Was selected by what it did.
    Selected,
}

/// `task_struct.comm`: at most 15 bytes, then zeroes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name, without what is not UTF-8.
    pub fn name(&self) -> String {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Shorter than its kind needs, or than it says it is.
    #[error("record of kind {kind} has {have} bytes and needs {need}")]
    Short {
        /// The kind it says it is.
        kind: u32,
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// A kind this version does not know.
    #[error("unknown record kind {0}")]
    Kind(u32),
    /// A field has a value that its invariant excludes.
    #[error("record field {0} has an impossible value")]
    Field(&'static str),
}

impl<'a> Record<'a> {
    /// Decodes one record.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are not a whole record; never panics.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut read = Fields::new(bytes);
        let kind = read.u32()?;
        read.kind = kind;
        let size = read.u32()? as usize;
        if size > bytes.len() {
            return Err(RecordError::Short {
                kind,
                have: bytes.len(),
                need: size,
            });
        }
        match kind {
            kind::DATA => data(&mut read).map(Self::Data),
            kind::OPEN => open(&mut read).map(Self::Open),
            kind::CLOSE => close(&mut read).map(Self::Close),
            kind::PROCESS => process_event(&mut read).map(Self::Process),
            other => Err(RecordError::Kind(other)),
        }
    }
}

fn data<'a>(read: &mut Fields<'a>) -> Result<Data<'a>, RecordError> {
    let connection = ConnectionId(read.u64()?);
    let offset = StreamOffset(read.u64()?);
    let len = read.u64()?;
    let start = BootNanos(read.u64()?);
    let end = BootNanos(read.u64()?);
    let context = read.u64()?;
    let pid = Pid(read.u32()?);
    let tid = read.u32()?;
    let seq = read.u32()?;
    let flags = read.u32()?;
    let captured = read.u32()?;
    let exchange = NonZeroU32::new(read.u32()?);
    let captured = read.slice(captured as usize)?;
    if captured.len() as u64 > len || offset.0.checked_add(len).is_none() {
        return Err(RecordError::Field("len"));
    }
    Ok(Data {
        connection,
        direction: if flags & data_flags::SENT != 0 {
            Direction::Sent
        } else {
            Direction::Received
        },
        offset,
        len,
        start,
        end,
        task: Task { pid, tid, context },
        seq,
        marks: Marks::new(flags),
        captured,
        exchange,
    })
}

fn open(read: &mut Fields<'_>) -> Result<Open, RecordError> {
    let connection = ConnectionId(read.u64()?);
    let start = BootNanos(read.u64()?);
    let established = time(read.u64()?);
    let pid = Pid(read.u32()?);
    let tid = read.u32()?;
    let netns = read.u32()?;
    let flags = read.u32()?;
    let local_addr = read.array::<16>()?;
    let peer_addr = read.array::<16>()?;
    let local_port = read.u16()?;
    let peer_port = read.u16()?;
    let path_len = read.u32()? as usize;
    let comm = Comm(read.array()?);
    let is_unix = flags & open_flags::UNIX != 0;
    let address = |bytes, port| {
        if is_unix {
            Address::unix(bytes, connection)
        } else {
            Address::ip(bytes, port)
        }
    };
    let path_len = if is_unix { path_len } else { 0 };
    let path = path(read.slice(path_len)?);
    Ok(Open {
        connection,
        start,
        established,
        pid,
        tid,
        netns,
        origin: if flags & open_flags::CONNECTED != 0 {
            Origin::Connected
        } else if flags & open_flags::ACCEPTED != 0 {
            Origin::Accepted
        } else {
            Origin::Unknown
        },
        mid_stream: flags & open_flags::MID_STREAM != 0,
        own: flags & open_flags::OWN != 0,
        local: address(local_addr, local_port),
        peer: address(peer_addr, peer_port),
        path,
        path_len,
        comm,
    })
}

/// The path of a Unix socket as people write it.
fn path(bytes: &[u8]) -> Option<Arc<str>> {
    let (mark, name) = match bytes {
        [] => return None,
        [0, name @ ..] => ("@", name),
        path => ("", path.split(|byte| *byte == 0).next().unwrap_or_default()),
    };
    Some(format!("{mark}{}", String::from_utf8_lossy(name)).into())
}

fn close(read: &mut Fields<'_>) -> Result<Close, RecordError> {
    Ok(Close {
        connection: ConnectionId(read.u64()?),
        at: BootNanos(read.u64()?),
        received: read.u64()?,
        sent: read.u64()?,
        last_received: time(read.u64()?),
        last_sent: time(read.u64()?),
        errno: Some(read.u32()?).filter(|errno| *errno != 0),
        failed: read.u32()? != 0,
    })
}

fn process_event(read: &mut Fields<'_>) -> Result<ProcessEvent, RecordError> {
    use tracer_common::record::process_event;
    let at = BootNanos(read.u64()?);
    let event = read.u32()?;
    let pid = Pid(read.u32()?);
    let parent = Pid(read.u32()?);
    read.u32()?;
    let change = match event {
        process_event::FORK => Change::Forked(parent),
        process_event::EXEC => Change::Executed,
        process_event::EXIT => Change::Exited,
        process_event::SELECTED => Change::Selected,
        _ => return Err(RecordError::Field("event")),
    };
    Ok(ProcessEvent {
        at,
        pid,
        change,
        comm: Comm(read.array()?),
    })
}

fn ask(read: &mut Fields<'_>) -> Result<Ask, RecordError> {
    let exe = Exe {
        inode: read.u64()?,
        device: read.u32()?,
        generation: read.u32()?,
    };
    let pid = Pid(read.u32()?);
    let place = u8::try_from(read.u32()?).map_err(|_| RecordError::Field("place"))?;
    Ok(Ask {
        exe,
        pid,
        place: Verdict::of_mark(place),
    })
}

fn time(nanos: u64) -> Option<BootNanos> {
    (nanos != 0).then_some(BootNanos(nanos))
}

/// Reads little-endian (host order) fields off the front; every read is checked.
struct Fields<'a> {
    rest: &'a [u8],
    whole: usize,
    kind: u32,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes.len(),
            kind: 0,
        }
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Short {
            kind: self.kind,
            have: self.whole,
            need: (self.whole - self.rest.len()).saturating_add(len),
        })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_ne_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_ne_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::End;

    fn open_of(end: &End) -> Open {
        match end.records().next() {
            Some(Record::Open(open)) => open,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_path_of_a_unix_socket_is_read_as_people_write_it() {
        let path = |bytes: &[u8]| {
            let end = End::new(1).over_unix(7, true, bytes).open(open_flags::CONNECTED);
            open_of(&end).path
        };
        assert_eq!(path(b"/run/app.sock\0").as_deref(), Some("/run/app.sock"));
        assert_eq!(path(b"/run/app.sock").as_deref(), Some("/run/app.sock"));
        assert_eq!(path(b"\0app").as_deref(), Some("@app"));
        assert_eq!(path(b""), None);
    }

    #[test]
    fn ends_of_unix_sockets_name_each_other_and_those_without_a_number_nobody() {
        let open =
            |connection, pair, first| open_of(&End::new(connection).over_unix(pair, first, b"").open(0));
        let (client, server) = (open(1, 7, true), open(2, 7, false));
        assert_eq!((client.local, client.peer), (server.peer, server.local));
        assert_ne!(client.local, client.peer);
        let (client, server) = (open(1, 0, true), open(2, 0, false));
        assert_ne!(client.local, server.peer);
    }

    #[test]
    fn a_path_that_is_longer_than_its_record_is_an_error() {
        let mut bytes = vec![0; size_of::<tracer_common::record::OpenRecord>()];
        let mut put = |at: usize, value: u32| {
            bytes.splice(at..at + 4, value.to_ne_bytes());
        };
        put(0, kind::OPEN);
        put(
            std::mem::offset_of!(tracer_common::record::OpenRecord, flags),
            open_flags::UNIX,
        );
        put(std::mem::offset_of!(tracer_common::record::OpenRecord, path), 1);
        assert!(matches!(Record::decode(&bytes), Err(RecordError::Short { .. })));
    }
}
