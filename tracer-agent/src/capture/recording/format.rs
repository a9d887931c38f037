//! The layout of header and entries.

use super::super::{HostInfo, Input, ProcessInfo, input::Shed};
use crate::ids::BootNanos;

/// The version this agent writes, and the newest it reads.
pub(super) const VERSION: u32 = 8;
/// The most a payload may have: a hundred times a record with the largest head.
pub(super) const MAX_PAYLOAD: usize = 1 << 20;
pub(super) const HEADER_LEN: usize = 52;
pub(super) const ENTRY_HEAD_LEN: usize = 12;

pub(super) const MAGIC: [u8; 8] = *b"\x89trrec\r\n";
const AGENT_VERSION_LEN: usize = 32;
const REDACTED: u32 = 1 << 0;

/// What stands in front of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub version: u32,
    /// Printable ASCII.
    pub agent_version: String,
    pub redacted: bool,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend(MAGIC);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(
            self.agent_version
                .bytes()
                .chain(std::iter::repeat(0))
                .take(AGENT_VERSION_LEN),
        );
        bytes.extend((if self.redacted { REDACTED } else { 0 }).to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Decodes a header of this or a newer version; `None` if its CRC is wrong.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk()?;
        let (_, rest) = covered.split_first_chunk::<{ MAGIC.len() }>()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (agent_version, rest) = rest.split_first_chunk::<AGENT_VERSION_LEN>()?;
        let (flags, _) = rest.split_first_chunk()?;
        let version = u32::from_le_bytes(*version);
        // A newer version may keep its CRC elsewhere; what is read of it is only said to the user.
        if version <= VERSION && crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let agent_version = agent_version.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(Self {
            version,
            agent_version: agent_version.escape_ascii().to_string(),
            redacted: u32::from_le_bytes(*flags) & REDACTED != 0,
        })
    }
}

/// What stands in front of a payload.
#[derive(Clone, Copy)]
pub(super) struct EntryHead {
    pub len: u32,
    pub kind: u32,
    pub crc: u32,
}

impl EntryHead {
    pub fn encode(self) -> [u8; ENTRY_HEAD_LEN] {
        let mut bytes = [0; ENTRY_HEAD_LEN];
        let fields = [self.len, self.kind, self.crc]
            .into_iter()
            .flat_map(u32::to_le_bytes);
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(byte, field)| *byte = field);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, []) = bytes.as_chunks::<4>() else {
            return None;
        };
        let [len, kind, crc] = fields else {
            return None;
        };
        let [len, kind, crc] = [len, kind, crc].map(|field| u32::from_le_bytes(*field));
        Some(Self { len, kind, crc })
    }
}

pub(super) fn crc(kind: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

pub(super) mod kind {
    pub const HOST: u32 = 1;
    pub const RECORD: u32 = 2;
    pub const PROCESS: u32 = 3;
    pub const LOST: u32 = 4;
    pub const TICK: u32 = 5;
    pub const END: u32 = 6;
    pub const SHED: u32 = 7;
}

/// Appends the payload of `input` to `out` and gives its kind.
pub(super) fn encode(input: &Input<'_>, out: &mut Vec<u8>) -> Result<u32, serde_json::Error> {
    match input {
        Input::Host(host) => {
            serde_json::to_writer(out, host)?;
            Ok(kind::HOST)
        }
        Input::Record(record) => {
            out.extend_from_slice(record);
            Ok(kind::RECORD)
        }
        Input::Process(process) => {
            serde_json::to_writer(out, process)?;
            Ok(kind::PROCESS)
        }
        Input::Lost { cause, count } => {
            out.extend(cause.to_le_bytes());
            out.extend(count.to_le_bytes());
            Ok(kind::LOST)
        }
        Input::Shed(shed) => {
            out.extend([shed.cpu, shed.memory]);
            Ok(kind::SHED)
        }
        Input::Tick(at) => {
            out.extend(at.0.to_le_bytes());
            Ok(kind::TICK)
        }
        Input::End(at) => {
            out.extend(at.0.to_le_bytes());
            Ok(kind::END)
        }
    }
}

/// The input that a payload encodes; `None` if it encodes none.
pub(super) fn decode(kind: u32, payload: &[u8]) -> Option<Input<'_>> {
    match kind {
        kind::HOST => serde_json::from_slice::<HostInfo>(payload).ok().map(Input::Host),
        kind::RECORD => Some(Input::Record(payload)),
        kind::PROCESS => serde_json::from_slice::<Box<ProcessInfo>>(payload)
            .ok()
            .map(Input::Process),
        kind::LOST => {
            let (cause, count) = payload.split_first_chunk()?;
            Some(Input::Lost {
                cause: u32::from_le_bytes(*cause),
                count: u64::from_le_bytes(count.try_into().ok()?),
            })
        }
        kind::SHED => match *payload {
            [cpu, memory] => Some(Input::Shed(Shed { cpu, memory })),
            _ => None,
        },
        kind::TICK => time(payload).map(Input::Tick),
        kind::END => time(payload).map(Input::End),
        _ => None,
    }
}

fn time(payload: &[u8]) -> Option<BootNanos> {
    payload.try_into().ok().map(u64::from_le_bytes).map(BootNanos)
}
