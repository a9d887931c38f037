//! Reading a recording, whoever wrote it: every length is bounded, every entry is checked, nothing panics.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{
    super::Input,
    format::{ENTRY_HEAD_LEN, EntryHead, HEADER_LEN, Header, MAGIC, MAX_PAYLOAD, VERSION, crc, decode, kind},
    older::bring_up_to_date,
};

/// Why a recording cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error("cannot read recording {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is not a recording; `tracer-agent trace --record FILE -- CMD` makes one")]
    NotARecording {
        /// The file.
        path: PathBuf,
    },
    /// A newer agent made it.
    #[error(
        "recording {path} has format {version}, made by tracer-agent {agent_version}; this one reads up to format \
         {VERSION}: upgrade to {agent_version} or newer"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The agent that made it.
        agent_version: String,
    },
    /// It stops before its end; all inputs before the cut were given.
    #[error("recording {path} is cut off at byte {offset}; everything before was read")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Length of the file.
        offset: u64,
    },
    /// It was changed; all inputs before the place were given.
    #[error("recording {path} is corrupt at byte {offset}: {what}; everything before was read")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the header or entry that is wrong begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A recording being read.
pub struct Reader<R: BufRead = BufReader<File>> {
    source: R,
    path: PathBuf,
    header: Header,
    /// The last payload read; `payload.len() <= MAX_PAYLOAD`.
    payload: Vec<u8>,
    /// Bytes read.
    offset: u64,
    expect: Expect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Entry,
    /// End was read.
    EndOfFile,
    /// The end of the file or an error was given.
    Nothing,
}

impl Reader {
    /// Opens a recording.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::start(BufReader::new(file), path)
    }
}

impl<R: BufRead> Reader<R> {
    /// Begins to read a recording from `source`; `path` is its name in errors.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn start(mut source: R, path: &Path) -> Result<Self, ReadError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        let io = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        source
            .by_ref()
            .take(HEADER_LEN as u64)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        if !bytes.starts_with(&MAGIC) {
            return Err(ReadError::NotARecording {
                path: path.to_owned(),
            });
        }
        let offset = bytes.len() as u64;
        let bytes: &[u8; HEADER_LEN] = bytes.as_slice().try_into().map_err(|_| ReadError::Truncated {
            path: path.to_owned(),
            offset,
        })?;
        let header = Header::decode(bytes).ok_or_else(|| ReadError::Corrupt {
            path: path.to_owned(),
            offset: 0,
            what: "the header does not match its checksum",
        })?;
        if header.version > VERSION {
            return Err(ReadError::Newer {
                path: path.to_owned(),
                version: header.version,
                agent_version: header.agent_version,
            });
        }
        Ok(Self {
            source,
            path: path.to_owned(),
            header,
            payload: Vec::new(),
            offset,
            expect: Expect::Entry,
        })
    }

    /// Version of the agent that made the recording.
    pub fn agent_version(&self) -> &str {
        &self.header.agent_version
    }

    /// Whether secrets were masked.
    pub fn is_redacted(&self) -> bool {
        self.header.redacted
    }

    /// The next input, lent until the one after it is asked for; `None` after the last, and after an error.
    ///
    /// # Errors
    /// [`ReadError::Truncated`] where the file stops before [`Input::End`], [`ReadError::Corrupt`] where an entry
    /// is wrong, [`ReadError::Io`].
    pub fn next_input(&mut self) -> Result<Option<Input<'_>>, ReadError> {
        let expect = std::mem::replace(&mut self.expect, Expect::Nothing);
        if expect == Expect::Nothing {
            return Ok(None);
        }
        let start = self.offset;
        self.read(ENTRY_HEAD_LEN)?;
        if self.payload.is_empty() && expect == Expect::EndOfFile {
            return Ok(None);
        }
        if expect == Expect::EndOfFile {
            return Err(self.corrupt(start, "there are bytes after its end"));
        }
        let head = EntryHead::decode(&self.payload).ok_or_else(|| self.truncated())?;
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD {
            return Err(self.corrupt(start, "an entry is longer than any can be"));
        }
        self.read(len)?;
        if self.payload.len() < len {
            return Err(self.truncated());
        }
        if crc(head.kind, &self.payload) != head.crc {
            return Err(self.corrupt(start, "an entry does not match its checksum"));
        }
        if head.kind == kind::RECORD && self.header.version < VERSION {
            bring_up_to_date(&mut self.payload, self.header.version);
        }
        let Some(input) = decode(head.kind, &self.payload) else {
            return Err(ReadError::Corrupt {
                path: self.path.clone(),
                offset: start,
                what: "an entry is of no known kind or form",
            });
        };
        self.expect = if matches!(input, Input::End(_)) {
            Expect::EndOfFile
        } else {
            Expect::Entry
        };
        Ok(Some(input))
    }

    /// Reads `len` bytes, or what there is; memory grows with what is there, not with `len`.
    fn read(&mut self, len: usize) -> Result<(), ReadError> {
        self.payload.clear();
        while self.payload.len() < len {
            let there = match self.source.fill_buf() {
                Ok([]) => break,
                Ok(there) => there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let path = self.path.clone();
                    return Err(ReadError::Io { path, source });
                }
            };
            let taken = there.get(..len - self.payload.len()).unwrap_or(there);
            let count = taken.len();
            self.payload.extend_from_slice(taken);
            self.source.consume(count);
        }
        self.offset += self.payload.len() as u64;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn payload_capacity(&self) -> usize {
        self.payload.capacity()
    }

    fn truncated(&self) -> ReadError {
        ReadError::Truncated {
            path: self.path.clone(),
            offset: self.offset,
        }
    }

    fn corrupt(&self, offset: u64, what: &'static str) -> ReadError {
        ReadError::Corrupt {
            path: self.path.clone(),
            offset,
            what,
        }
    }
}
