use std::{
    cell::RefCell,
    io::{self, Write},
    path::Path,
    rc::Rc,
};

use proptest::prelude::*;
use tracer_common::record::data_flags;

use super::{
    Content, ReadError, Reader, Recording, Summary, WriteError,
    format::{ENTRY_HEAD_LEN, EntryHead, HEADER_LEN, Header, MAX_PAYLOAD, VERSION, crc, kind},
    redaction::tests::data,
};
use crate::{
    capture::input::{AttributeValue, HostInfo, Input, ProcessInfo, Shed},
    ids::BootNanos,
    privacy::Privacy,
};

const PATH: &str = "run.trec";

/// A file in memory that is full after `room` bytes.
#[derive(Clone, Default)]
struct Disk {
    bytes: Rc<RefCell<Vec<u8>>>,
    room: Option<usize>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.bytes.borrow_mut();
        let room = self.room.map_or(bytes.len(), |room| {
            room.saturating_sub(disk.len()).min(bytes.len())
        });
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.extend(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorded(inputs: &[Input<'_>], content: Content) -> Vec<u8> {
    let disk = Disk::default();
    let mut recording = Recording::start(disk.clone(), Path::new(PATH), content).unwrap();
    for input in inputs {
        recording.write(input).unwrap();
    }
    recording.finish().unwrap();
    assert_eq!(recording.summary().written, inputs.len() as u64);
    disk.bytes.take()
}

/// Reads to the end: what was read in words, and the error that ended it.
fn read(bytes: &[u8]) -> (Vec<String>, Option<ReadError>) {
    let mut inputs = Vec::new();
    let mut reader = match Reader::start(bytes, Path::new(PATH)) {
        Ok(reader) => reader,
        Err(error) => return (inputs, Some(error)),
    };
    loop {
        match reader.next_input() {
            Ok(Some(input)) => inputs.push(format!("{input:?}")),
            Ok(None) => return (inputs, None),
            Err(error) => {
                assert!(matches!(reader.next_input(), Ok(None)), "an error is given once");
                return (inputs, Some(error));
            }
        }
    }
}

fn words(inputs: &[Input<'_>]) -> Vec<String> {
    inputs.iter().map(|input| format!("{input:?}")).collect()
}

fn run() -> Vec<Input<'static>> {
    vec![
        Input::Host(HostInfo {
            host_name: "box".into(),
            id_seed: [u64::MAX, 1],
            ..HostInfo::default()
        }),
        Input::Process(Box::new(ProcessInfo {
            pid: 7,
            service_name: "shop".into(),
            resource: vec![("process.pid".into(), AttributeValue::Int(7))],
            ..ProcessInfo::default()
        })),
        Input::Record(b"a record"),
        Input::Lost { cause: 3, count: 9 },
        Input::Shed(Shed { cpu: 4, memory: 1 }),
        Input::Tick(BootNanos(5)),
        Input::End(BootNanos(6)),
    ]
}

#[test]
fn a_recording_gives_back_what_was_written() {
    let bytes = recorded(&run(), Content::Raw);
    let reader = Reader::start(bytes.as_slice(), Path::new(PATH)).unwrap();
    assert_eq!(
        (reader.agent_version(), reader.is_redacted()),
        (env!("CARGO_PKG_VERSION"), false)
    );
    let (inputs, error) = read(&bytes);
    assert_eq!(inputs, words(&run()));
    assert!(error.is_none());
}

#[test]
fn a_file_on_disk_is_readable_by_its_owner_only_and_reads_back() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let mut recording = Recording::create(&path, Content::Redacted(Privacy::Default)).unwrap();
    recording.write(&Input::End(BootNanos(1))).unwrap();
    recording.finish().unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut reader = Reader::open(&path).unwrap();
    assert!(reader.is_redacted());
    assert_eq!(reader.next_input().unwrap(), Some(Input::End(BootNanos(1))));
    assert_eq!(reader.next_input().unwrap(), None);
}

#[test]
fn a_tick_puts_on_disk_what_came_before_it() {
    let disk = Disk::default();
    let mut recording = Recording::start(disk.clone(), Path::new(PATH), Content::Raw).unwrap();
    recording.write(&Input::Record(b"r")).unwrap();
    assert_eq!(disk.bytes.borrow().len(), HEADER_LEN);
    recording.write(&Input::Tick(BootNanos(1))).unwrap();
    assert_eq!(disk.bytes.borrow().len(), HEADER_LEN + 2 * ENTRY_HEAD_LEN + 1 + 8);
}

#[test]
fn secrets_reach_the_file_only_if_raw_content_is_asked_for() {
    let (start, end) = (
        data(
            1,
            0,
            data_flags::HEAD | data_flags::HEAD_START,
            b"GET /a?token=hunter2 HTTP/1.1\r\nCookie: sid=hun",
        ),
        data(
            1,
            46,
            data_flags::HEAD | data_flags::HEAD_END,
            b"ter2\r\nHost: h\r\n\r\n",
        ),
    );
    let inputs = [
        Input::Record(&start),
        Input::Record(&end),
        Input::End(BootNanos(1)),
    ];
    let holds = |file: &[u8], text: &[u8]| file.windows(text.len()).any(|window| window == text);
    let redacted = recorded(&inputs, Content::Redacted(Privacy::Default));
    assert!(holds(
        &redacted,
        b"GET /a?token=xxxxxxx HTTP/1.1\r\nCookie: xxxxxxx"
    ));
    assert!(holds(&redacted, b"xxxx\r\nHost: h\r\n\r\n"));
    assert!(!holds(&redacted, b"hunter2") && !holds(&redacted, b"ter2"));
    assert!(read(&redacted).1.is_none());
    assert!(holds(&recorded(&inputs, Content::Raw), b"hunter2"));
}

#[test]
fn a_full_disk_is_reported_once_and_what_is_missing_is_counted() {
    let disk = Disk {
        room: Some(HEADER_LEN + 30),
        ..Disk::default()
    };
    let mut recording = Recording::start(disk.clone(), Path::new(PATH), Content::Raw).unwrap();
    recording.write(&Input::Tick(BootNanos(1))).unwrap();
    let error = recording.write(&Input::Tick(BootNanos(2))).unwrap_err();
    assert!(
        matches!(&error, WriteError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    );
    recording.write(&Input::Tick(BootNanos(3))).unwrap();
    recording.write(&Input::End(BootNanos(4))).unwrap();
    recording.finish().unwrap();
    let expected = Summary {
        written: 1,
        lost: 3,
        masked_blind: 0,
    };
    assert_eq!(recording.summary(), expected);
    let (inputs, error) = read(&disk.bytes.take());
    assert_eq!(inputs, words(&[Input::Tick(BootNanos(1))]));
    assert!(matches!(error, Some(ReadError::Truncated { .. })));
}

#[test]
fn a_file_that_cannot_be_made_or_written_is_named() {
    let missing = Recording::create(Path::new("/nowhere/run.trec"), Content::Raw)
        .err()
        .unwrap()
        .to_string();
    assert!(
        missing.starts_with("cannot create recording /nowhere/run.trec: "),
        "{missing}"
    );
    let full = Recording::create(Path::new("/dev/full"), Content::Raw)
        .err()
        .unwrap()
        .to_string();
    assert!(full.starts_with("cannot write recording /dev/full: "), "{full}");
}

#[test]
fn an_input_over_the_bound_is_missing_alone() {
    let disk = Disk::default();
    let mut recording = Recording::start(disk.clone(), Path::new(PATH), Content::Raw).unwrap();
    recording.write(&Input::Record(&vec![0; MAX_PAYLOAD])).unwrap();
    let error = recording
        .write(&Input::Record(&vec![0; MAX_PAYLOAD + 1]))
        .unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { len, .. } if len == MAX_PAYLOAD + 1));
    recording.write(&Input::End(BootNanos(1))).unwrap();
    recording.finish().unwrap();
    assert_eq!((recording.summary().written, recording.summary().lost), (2, 1));
    let (inputs, error) = read(&disk.bytes.take());
    assert_eq!((inputs.len(), error.is_none()), (2, true));
}

#[test]
fn a_cut_at_any_byte_gives_everything_before_it_and_its_offset() {
    let bytes = recorded(&run(), Content::Raw);
    let whole = read(&bytes).0;
    for cut in 8..bytes.len() {
        let (inputs, error) = read(&bytes[..cut]);
        assert!(
            matches!(error, Some(ReadError::Truncated { offset, .. }) if offset == cut as u64),
            "{cut}: {error:?}"
        );
        assert_eq!(inputs, whole[..inputs.len()]);
    }
    let last = bytes.len() - ENTRY_HEAD_LEN - 8;
    assert_eq!(read(&bytes[..last]).0.len(), whole.len() - 1);
}

#[test]
fn a_changed_byte_is_found_and_everything_before_it_is_given() {
    let bytes = recorded(&run(), Content::Raw);
    let whole = read(&bytes).0;
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        let (inputs, error) = read(&changed);
        assert!(error.is_some(), "byte {place}");
        assert_eq!(inputs, whole[..inputs.len()], "byte {place}");
    }
}

#[test]
fn what_is_not_a_recording_says_so_and_how_to_make_one() {
    for bytes in [&b""[..], b"\x89trre", b"{\"resourceSpans\":[]}\n", &[0; 200]] {
        let (inputs, error) = read(bytes);
        assert!(inputs.is_empty());
        assert_eq!(
            error.unwrap().to_string(),
            "run.trec is not a recording; `tracer-agent trace --record FILE -- CMD` makes one"
        );
    }
    assert!(matches!(
        Reader::open(Path::new("/nowhere.trec")),
        Err(ReadError::Io { .. })
    ));
}

#[test]
fn a_newer_version_says_which_agent_reads_it() {
    let mut bytes = Header {
        version: VERSION + 1,
        agent_version: "9.1.0\x1b".into(),
        redacted: true,
    }
    .encode();
    bytes[HEADER_LEN - 1] ^= 1;
    let error = read(&bytes).1.unwrap().to_string();
    let format = VERSION + 1;
    assert!(
        error.contains(&format!("has format {format}, made by tracer-agent 9.1.0\\x1b;")),
        "{error}"
    );
    assert!(error.ends_with("upgrade to 9.1.0\\x1b or newer"), "{error}");
}

fn entry(len: usize, kind: u32, payload: &[u8]) -> Vec<u8> {
    let head = EntryHead {
        len: u32::try_from(len).unwrap(),
        kind,
        crc: crc(kind, payload),
    };
    [&recorded(&[], Content::Raw)[..], &head.encode(), payload].concat()
}

#[test]
fn an_entry_that_cannot_be_is_corrupt() {
    for bytes in [
        entry(u32::MAX as usize, kind::RECORD, b""),
        entry(MAX_PAYLOAD + 1, kind::RECORD, b""),
        entry(0, 77, b""),
        entry(3, kind::TICK, b"abc"),
        entry(11, kind::LOST, b"abcdefghijk"),
        entry(2, kind::HOST, b"[}"),
        [&entry(8, kind::END, &[0; 8])[..], b"x"].concat(),
    ] {
        let error = read(&bytes).1;
        assert!(matches!(error, Some(ReadError::Corrupt { .. })), "{error:?}");
    }
}

#[test]
fn memory_does_not_grow_with_a_length_that_is_not_there() {
    let bytes = entry(MAX_PAYLOAD, kind::RECORD, b"short");
    let mut reader = Reader::start(bytes.as_slice(), Path::new(PATH)).unwrap();
    assert!(matches!(reader.next_input(), Err(ReadError::Truncated { .. })));
    assert!(reader.payload_capacity() < 4096);
}

fn attribute() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Bool),
        any::<i64>().prop_map(AttributeValue::Int),
        prop::num::f64::NORMAL.prop_map(AttributeValue::Double),
        any::<String>().prop_map(|text| AttributeValue::Text(text.into())),
        prop::collection::vec(any::<String>(), 0..3).prop_map(|texts| AttributeValue::List(texts.into())),
    ]
}

#[derive(Clone, Debug)]
enum Owned {
    Input(Input<'static>),
    Record(Vec<u8>),
}

fn input() -> impl Strategy<Value = Owned> {
    let process = (
        any::<u32>(),
        any::<String>(),
        any::<Option<String>>(),
        prop::collection::vec((any::<String>(), attribute()), 0..4),
    );
    let host = (
        any::<i64>(),
        any::<String>(),
        any::<Option<String>>(),
        any::<[u64; 2]>(),
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Owned::Record),
        (any::<u32>(), any::<u64>()).prop_map(|(cause, count)| Owned::Input(Input::Lost { cause, count })),
        any::<(u8, u8)>().prop_map(|(cpu, memory)| Owned::Input(Input::Shed(Shed { cpu, memory }))),
        any::<u64>().prop_map(|at| Owned::Input(Input::Tick(BootNanos(at)))),
        process.prop_map(|(pid, service_name, exe, resource)| {
            Owned::Input(Input::Process(Box::new(ProcessInfo {
                pid,
                service_name,
                exe,
                resource,
                ..ProcessInfo::default()
            })))
        }),
        host.prop_map(|(unix_minus_boot_ns, host_name, host_id, id_seed)| {
            Owned::Input(Input::Host(HostInfo {
                unix_minus_boot_ns,
                host_name,
                host_id,
                id_seed,
                ..HostInfo::default()
            }))
        }),
    ]
}

proptest! {
    #[test]
    fn any_inputs_come_back_as_they_were(owned in prop::collection::vec(input(), 0..30)) {
        let mut inputs: Vec<_> = owned
            .iter()
            .map(|owned| match owned {
                Owned::Input(input) => input.clone(),
                Owned::Record(bytes) => Input::Record(bytes),
            })
            .collect();
        inputs.push(Input::End(BootNanos(1)));
        let bytes = recorded(&inputs, Content::Raw);
        let mut reader = Reader::start(bytes.as_slice(), Path::new(PATH)).unwrap();
        for input in &inputs {
            prop_assert_eq!(reader.next_input().unwrap(), Some(input.clone()));
        }
        prop_assert_eq!(reader.next_input().unwrap(), None);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), with_header: bool) {
        let header = if with_header { recorded(&[], Content::Raw) } else { Vec::new() };
        read(&[header, bytes].concat());
    }

    #[test]
    fn hostile_payloads_with_right_checksums_never_panic(kind in 0u32..8, payload in prop::collection::vec(any::<u8>(), 0..64)) {
        read(&entry(payload.len(), kind, &payload));
    }
}
