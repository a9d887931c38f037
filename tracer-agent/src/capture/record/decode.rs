//! Bytes in, typed record out, nothing believed.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
};

use tracer_common::{
    layout::Exe,
    record::{DataRecord, data_flags, kind, open_flags},
};

use super::{
    Ask, Change, Close, Comm, CoroutineMade, Data, Direction, Marks, Open, Origin, ProcessEvent, Record,
    StreamTask, Verdict,
};
use crate::{
    capture::address::Address,
    ids::{BootNanos, ConnectionId, Coroutine, Maker, Moment, Pid, StreamOffset, Task},
};

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
            kind::STREAM => stream_task(&mut read).map(Self::Stream),
            kind::COROUTINE => coroutine_made(&mut read).map(Self::Coroutine),
            other => Err(RecordError::Kind(other)),
        }
    }
}

fn data<'a>(whole: &mut Fields<'a>) -> Result<Data<'a>, RecordError> {
    let mut read = whole.up_to(size_of::<DataRecord>())?;
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
    let maker = read.u64()?;
    let at = if flags & data_flags::SENT != 0 { start } else { end };
    let is_by = |flag| flags & flag != 0;
    let coroutine = |number| NonZeroU64::new(number).map(Coroutine);
    let (task, coroutine, maker) = match NonZeroU64::new(context) {
        _ if is_by(data_flags::BY_THREAD) => {
            let [taker, waker] = halves(maker);
            let at = BootNanos(context);
            (
                Task::thread(pid, tid),
                None,
                Some(Maker::Thread { taker, waker, at }),
            )
        }
        _ if is_by(data_flags::BY_TASK) => {
            let [own, waker] = halves(maker).map(|number| coroutine(number.into()));
            let at = BootNanos(context);
            (Task::thread(pid, tid), own, Some(Maker::Coroutine { waker, at }))
        }
        None => (Task::thread(pid, tid), coroutine(maker), None),
        Some(goroutine) => {
            let maker = NonZeroU64::new(maker).map(Maker::Goroutine);
            (Task::goroutine(pid, goroutine.get()), None, maker)
        }
    };
    let moment = read.moment(flags & data_flags::TIMER != 0, at)?;
    let captured = whole.slice(captured as usize)?;
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
        task,
        coroutine,
        maker,
        moment,
        seq,
        marks: Marks::new(flags),
        captured,
        exchange,
    })
}

/// The lower and the upper half.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
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
    let moment = read.moment(flags & open_flags::TIMER != 0, start)?;
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
        moment,
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

fn coroutine_made(read: &mut Fields<'_>) -> Result<CoroutineMade, RecordError> {
    let at = BootNanos(read.u64()?);
    let number = |number| NonZeroU64::new(number).map(Coroutine);
    let coroutine = number(read.u64()?).ok_or(RecordError::Field("coroutine"))?;
    let maker = number(read.u64()?).ok_or(RecordError::Field("maker"))?;
    let pid = Pid(read.u32()?);
    Ok(CoroutineMade {
        at,
        thread: Task::thread(pid, read.u32()?),
        coroutine,
        maker,
    })
}

fn stream_task(read: &mut Fields<'_>) -> Result<StreamTask, RecordError> {
    let connection = read.u64()?;
    let at = BootNanos(read.u64()?);
    let (task, maker) = (read.u64()?, read.u64()?);
    let pid = Pid(read.u32()?);
    let stream = read.u32()?;
    if task == 0 {
        return Err(RecordError::Field("task"));
    }
    Ok(StreamTask {
        stream: (connection != 0).then_some((ConnectionId(connection), stream)),
        at,
        task: Task::goroutine(pid, task),
        maker: (maker != 0).then(|| Task::goroutine(pid, maker)),
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

    /// The fields up to this place in the record: there at once, so that what is read of them is not looked for one by one.
    #[inline]
    fn up_to(&mut self, place: usize) -> Result<Self, RecordError> {
        let read = self.whole - self.rest.len();
        let rest = self.slice(place.saturating_sub(read))?;
        Ok(Self { rest, ..*self })
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Short {
            kind: self.kind,
            have: self.whole,
            need: (self.whole - self.rest.len()).saturating_add(len),
        })?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    /// The turn of a loop, and how often it read in it.
    fn moment(&mut self, timer: bool, at: BootNanos) -> Result<Option<Moment>, RecordError> {
        let (turn, reads) = (self.u32()?, self.u32()?);
        Ok((turn != 0).then_some(Moment {
            turn,
            reads,
            timer,
            at,
        }))
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_ne_bytes(self.array()?))
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_ne_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use tracer_common::record::CoroutineRecord;

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

    /// A record of this size with these bytes in it.
    fn bytes(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (at, part) in parts {
            bytes.splice(*at..*at + part.len(), part.iter().copied());
        }
        bytes
    }

    #[test]
    fn who_sends_is_a_coroutine_where_there_is_no_goroutine() {
        let size = size_of::<DataRecord>();
        let data = |flags: u32, task: u64, maker: u64| {
            let bytes = bytes(
                size,
                &[
                    (0, &kind::DATA.to_ne_bytes()),
                    (4, &u32::try_from(size).unwrap().to_ne_bytes()),
                    (offset_of!(DataRecord, flags), &flags.to_ne_bytes()),
                    (offset_of!(DataRecord, task), &task.to_ne_bytes()),
                    (offset_of!(DataRecord, tid), &3_u32.to_ne_bytes()),
                    (offset_of!(DataRecord, maker), &maker.to_ne_bytes()),
                ],
            );
            match Record::decode(&bytes) {
                Ok(Record::Data(data)) => (
                    data.task,
                    data.coroutine.map(|coroutine| coroutine.0.get()),
                    data.maker,
                ),
                other => panic!("{other:?}"),
            }
        };
        let (thread, goroutine) = (Task::thread(Pid(0), 3), Task::goroutine(Pid(0), 7));
        assert_eq!(data(0, 0, 9), (thread, Some(9), None));
        let nine = NonZeroU64::new(9).unwrap();
        assert_eq!(data(0, 7, 9), (goroutine, None, Some(Maker::Goroutine(nine))));
        assert_eq!(data(0, 7, 0), (goroutine, None, None));
        assert_eq!(data(0, 0, 0), (thread, None, None));
        let by_thread = |at, other| data(data_flags::BY_THREAD, at, other);
        let other = |waker, at| {
            let (taker, at) = (9, BootNanos(at));
            (thread, None, Some(Maker::Thread { taker, waker, at }))
        };
        assert_eq!(by_thread(0, 9), other(0, 0));
        assert_eq!(by_thread(7, 8 << 32 | 9), other(8, 7));
        let by_task = |at, tasks| data(data_flags::BY_TASK, at, tasks);
        let woken = |number| {
            let (waker, at) = (NonZeroU64::new(number).map(Coroutine), BootNanos(7));
            Some(Maker::Coroutine { waker, at })
        };
        assert_eq!(by_task(7, 8 << 32 | 9), (thread, Some(9), woken(8)));
        assert_eq!(by_task(7, 9), (thread, Some(9), woken(0)));
    }

    #[test]
    fn a_coroutine_that_was_made_has_a_number_and_a_maker() {
        let size = size_of::<CoroutineRecord>();
        let decoded = |coroutine: u64, maker: u64| {
            let bytes = bytes(
                size,
                &[
                    (0, &kind::COROUTINE.to_ne_bytes()),
                    (4, &u32::try_from(size).unwrap().to_ne_bytes()),
                    (offset_of!(CoroutineRecord, at_ns), &5_u64.to_ne_bytes()),
                    (offset_of!(CoroutineRecord, coroutine), &coroutine.to_ne_bytes()),
                    (offset_of!(CoroutineRecord, maker), &maker.to_ne_bytes()),
                    (offset_of!(CoroutineRecord, tgid), &3_u32.to_ne_bytes()),
                    (offset_of!(CoroutineRecord, tid), &4_u32.to_ne_bytes()),
                ],
            );
            Record::decode(&bytes).map(|record| match record {
                Record::Coroutine(made) => made,
                other => panic!("{other:?}"),
            })
        };
        let number = |number| Coroutine(NonZeroU64::new(number).unwrap());
        let made = CoroutineMade {
            at: BootNanos(5),
            thread: Task::thread(Pid(3), 4),
            coroutine: number(8),
            maker: number(9),
        };
        assert_eq!(decoded(8, 9).unwrap(), made);
        assert!(matches!(decoded(0, 9), Err(RecordError::Field("coroutine"))));
        assert!(matches!(decoded(8, 0), Err(RecordError::Field("maker"))));
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
