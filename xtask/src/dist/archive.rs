//! Archives that are the same whoever makes them: one time, root's, nothing of the machine.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

use super::moment::Moment;

/// A tar archive in the making.
pub struct Archive {
    files: tar::Builder<Vec<u8>>,
    made_at: Moment,
}

impl Archive {
    pub fn new(made_at: Moment) -> Self {
        let mut files = tar::Builder::new(Vec::new());
        files.mode(tar::HeaderMode::Deterministic);
        Self { files, made_at }
    }

    /// A folder; those around it come before it.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(&format!("{path}/"), tar::EntryType::Directory, 0o755, &[])
    }

    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entry(path, tar::EntryType::Regular, mode, bytes)
    }

    /// The archive, whole.
    pub fn end(self) -> Result<Vec<u8>> {
        Ok(self.files.into_inner()?)
    }

    fn entry(&mut self, path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.made_at.0);
        header.set_size(u64::try_from(bytes.len())?);
        Ok(self.files.append_data(&mut header, path, bytes)?)
    }
}

/// With gzip, which names neither a file nor a time.
pub fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}
