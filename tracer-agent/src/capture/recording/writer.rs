//! Writing a recording beside a live run. A recording that fails is given up, said once and counted; the run
//! goes on.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    super::Input,
    format::{ENTRY_HEAD_LEN, EntryHead, Header, MAX_PAYLOAD, VERSION, crc, encode, kind},
    redaction::Redactor,
};
use crate::privacy::Privacy;

/// What is written to disk at once; a tick writes what there is.
const BUFFER_LEN: usize = 64 << 10;

/// Whether secrets are masked before they reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Header and query values, userinfo and what looks like a secret in a path are masked, as privacy says: safe to attach to a
    /// bug report.
    Redacted(Privacy),
    /// As the kernel side delivered it, credentials included.
    Raw,
}

/// Why inputs are missing from a recording.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be made.
    #[error("cannot create recording {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written further: nothing more is recorded.
    #[error("cannot write recording {path}: {source}; recording ends here, tracing goes on")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why; `StorageFull` for a full disk.
        source: io::Error,
    },
    /// One input is over the bound of an entry: it alone is missing.
    #[error("an input of {len} bytes is missing from recording {path}: an entry holds at most {MAX_PAYLOAD}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Length of its payload.
        len: usize,
    },
}

/// What became of the inputs of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs that are in the file, or will be after [`Recording::finish`].
    pub written: u64,
    /// Inputs that are not, because of an error.
    pub lost: u64,
    /// Pieces of heads and of frames that were masked whole because what they begin in was not known, and directions of
    /// connections in HTTP/2 that were forgotten, being too many.
    pub masked_blind: u64,
}

/// A recording being written.
pub struct Recording<W: Write = File> {
    /// `None` once the recording has failed or is finished.
    file: Option<W>,
    path: PathBuf,
    /// `None` for raw content.
    redactor: Option<Redactor>,
    /// Whole entries that are not in the file yet; `buffered` of them.
    buffer: Vec<u8>,
    buffered: u64,
    summary: Summary,
}

impl Recording {
    /// Makes the file, or empties it, readable by its owner only.
    ///
    /// # Errors
    /// [`WriteError::Create`] if it cannot be made, [`WriteError::Write`] if its first bytes cannot be written.
    pub fn create(path: &Path, content: Content) -> Result<Self, WriteError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        let file = file.map_err(|source| WriteError::Create {
            path: path.to_owned(),
            source,
        })?;
        Self::start(file, path, content)
    }
}

impl<W: Write> Recording<W> {
    /// Begins a recording in `file`; `path` is its name in errors.
    ///
    /// # Errors
    /// [`WriteError::Write`]
    pub fn start(file: W, path: &Path, content: Content) -> Result<Self, WriteError> {
        let header = Header {
            version: VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            redacted: content != Content::Raw,
        };
        let mut recording = Self {
            file: Some(file),
            path: path.to_owned(),
            redactor: match content {
                Content::Redacted(privacy) => Some(Redactor::new(privacy)),
                Content::Raw => None,
            },
            buffer: header.encode(),
            buffered: 0,
            summary: Summary::default(),
        };
        recording.flush()?;
        Ok(recording)
    }

    /// Writes one input.
    ///
    /// # Errors
    /// [`WriteError::Write`] the first time the file cannot be written; from then on inputs are only counted as
    /// lost. [`WriteError::TooLarge`] for this input alone.
    pub fn write(&mut self, input: &Input<'_>) -> Result<(), WriteError> {
        if self.file.is_none() {
            self.summary.lost += 1;
            return Ok(());
        }
        self.append(input)?;
        if self.buffer.len() >= BUFFER_LEN || matches!(input, Input::Tick(_)) {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is buffered and ends the recording.
    ///
    /// # Errors
    /// [`WriteError::Write`] unless the recording had failed, and said so, before.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let flushed = self.flush();
        self.file = None;
        flushed
    }

    /// What became of the inputs so far.
    pub fn summary(&self) -> Summary {
        let masked_blind = self.redactor.as_ref().map_or(0, Redactor::masked_blind);
        Summary {
            masked_blind,
            ..self.summary
        }
    }

    fn append(&mut self, input: &Input<'_>) -> Result<(), WriteError> {
        let entry = self.buffer.len();
        self.buffer.extend([0; ENTRY_HEAD_LEN]);
        let encoded = encode(input, &mut self.buffer);
        let Some((head, payload)) = self
            .buffer
            .get_mut(entry..)
            .and_then(<[u8]>::split_first_chunk_mut::<ENTRY_HEAD_LEN>)
        else {
            return Ok(());
        };
        let len = payload.len();
        let (Ok(kind), Ok(len_field), true) = (encoded, u32::try_from(len), len <= MAX_PAYLOAD) else {
            self.buffer.truncate(entry);
            self.summary.lost += 1;
            return Err(WriteError::TooLarge {
                path: self.path.clone(),
                len,
            });
        };
        if let (kind::RECORD, Some(redactor)) = (kind, &mut self.redactor) {
            redactor.redact(payload);
        }
        let crc = crc(kind, payload);
        *head = EntryHead {
            len: len_field,
            kind,
            crc,
        }
        .encode();
        self.buffered += 1;
        self.summary.written += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.write_all(&self.buffer).and_then(|()| file.flush());
        self.buffer.clear();
        let buffered = std::mem::take(&mut self.buffered);
        written.map_err(|source| {
            self.file = None;
            self.summary.written -= buffered;
            self.summary.lost += buffered;
            WriteError::Write {
                path: self.path.clone(),
                source,
            }
        })
    }
}
