//! A file to replay. What it is, its first bytes tell, never its name.

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read},
    path::{Path, PathBuf},
};

use super::{
    Input,
    pcap::{self, Capture, CaptureCounters, CaptureError},
    recording::{self, ReadError, Reader},
};

/// Enough to tell one format from another.
const MAGIC_BYTES: u64 = 8;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a file cannot be replayed, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{path} is not a recording, nor a packet capture (pcap, pcapng); `tracer-agent trace --record FILE -- CMD` \
         makes a recording"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// It is compressed.
    #[error("{path} is compressed; unpack it first: gunzip -c {path} | tracer-agent replay /dev/stdin")]
    Compressed {
        /// The file.
        path: PathBuf,
    },
    /// A recording that cannot be read.
    #[error(transparent)]
    Recording(#[from] ReadError),
    /// A packet capture that cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

type Source = BufReader<Chain<Cursor<Vec<u8>>, File>>;

/// A file being replayed.
pub enum Replayed {
    /// What the kernel side told, kept.
    Recording(Box<Reader<Source>>),
    /// Packets.
    Capture(Box<Capture<Source>>),
}

impl Replayed {
    /// Opens a file.
    ///
    /// # Errors
    /// Any [`ReplayError`].
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let io = |source| ReplayError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let mut head = Vec::new();
        file.by_ref()
            .take(MAGIC_BYTES)
            .read_to_end(&mut head)
            .map_err(io)?;
        let is_recording = recording::is_recording(&head);
        let is_capture = pcap::is_capture(&head);
        let is_compressed = head.starts_with(&GZIP);
        let source = BufReader::new(Cursor::new(head).chain(file));
        let path = path.to_owned();
        if is_recording {
            Ok(Self::Recording(Box::new(Reader::start(source, &path)?)))
        } else if is_capture {
            Ok(Self::Capture(Box::new(Capture::start(source, &path)?)))
        } else if is_compressed {
            Err(ReplayError::Compressed { path })
        } else {
            Err(ReplayError::Unknown { path })
        }
    }

    /// The next input, lent until the one after it is asked for; `None` after the last. After an error a recording
    /// gives no more; a capture gives what follows from the packets before.
    ///
    /// # Errors
    /// Any [`ReplayError`], once.
    pub fn next_input(&mut self) -> Result<Option<Input<'_>>, ReplayError> {
        Ok(match self {
            Self::Recording(reader) => reader.next_input()?,
            Self::Capture(capture) => capture.next_input()?,
        })
    }

    /// Whether it is a packet capture.
    pub fn is_capture(&self) -> bool {
        matches!(self, Self::Capture(_))
    }

    /// Of a capture that stops in the middle of a packet: where.
    pub fn cut_off(&self) -> Option<u64> {
        match self {
            Self::Recording(_) => None,
            Self::Capture(capture) => capture.cut_off(),
        }
    }

    /// What was read, passed over and missed so far; of a recording its own inputs tell.
    pub fn counters(&self) -> CaptureCounters {
        match self {
            Self::Recording(_) => CaptureCounters::default(),
            Self::Capture(capture) => capture.counters(),
        }
    }
}
