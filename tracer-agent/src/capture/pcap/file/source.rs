//! The bytes of a capture file, read piece by piece.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::super::error::CaptureError;

/// Where the bytes come from, and how many were taken.
pub(super) struct Source<R> {
    inner: R,
    path: PathBuf,
    offset: u64,
    /// The piece that was read last.
    piece: Vec<u8>,
}

impl<R: Read> Source<R> {
    pub fn new(inner: R, path: &Path) -> Self {
        Self {
            inner,
            path: path.to_owned(),
            offset: 0,
            piece: Vec::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The piece that was read last.
    pub fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Reads `len` bytes, or what there is: whether it was all. Memory grows with what is there, not with `len`.
    pub fn read(&mut self, len: u32) -> Result<bool, CaptureError> {
        self.piece.clear();
        let read = self
            .inner
            .by_ref()
            .take(u64::from(len))
            .read_to_end(&mut self.piece);
        read.map_err(|source| self.io(source))?;
        self.offset += self.piece.len() as u64;
        Ok(self.piece.len() as u64 == u64::from(len))
    }

    /// The next few bytes, if there are so many.
    pub fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        self.read(u32::try_from(N).unwrap_or(u32::MAX))?;
        Ok(self.piece.as_slice().try_into().ok())
    }

    /// Passes over `len` bytes: whether there were so many.
    pub fn skip(&mut self, len: u32) -> Result<bool, CaptureError> {
        let mut skipped = self.inner.by_ref().take(u64::from(len));
        let count = io::copy(&mut skipped, &mut io::sink()).map_err(|source| self.io(source))?;
        self.offset += count;
        Ok(count == u64::from(len))
    }

    pub fn corrupt(&self, offset: u64, what: &'static str) -> CaptureError {
        CaptureError::Corrupt {
            path: self.path.clone(),
            offset,
            what,
        }
    }

    fn io(&self, source: io::Error) -> CaptureError {
        CaptureError::Io {
            path: self.path.clone(),
            source,
        }
    }
}
