//! The files of one destination: a directory that only root reads and only one agent uses.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// What a queue asks of a file system. Files are named, flat, and made by the first write.
pub trait Storage {
    /// Every file.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn names(&mut self) -> io::Result<Vec<String>>;

    /// Bytes of a file.
    ///
    /// # Errors
    /// If there is none.
    fn size(&mut self, name: &str) -> io::Result<u64>;

    /// Reads from `offset`, as much as there is room for or the file has.
    ///
    /// # Errors
    /// If there is no file, or it cannot be read.
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Adds bytes to the end of a file. If it fails, some of them may have been written.
    ///
    /// # Errors
    /// If not all can be written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes bytes over those at `offset`.
    ///
    /// # Errors
    /// If not all can be written.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file off.
    ///
    /// # Errors
    /// If it cannot be cut.
    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Waits until what was written to a file is on the disk.
    ///
    /// # Errors
    /// If it is not certain that it is.
    fn sync(&mut self, name: &str) -> io::Result<()>;
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or read.
    #[error("cannot use the queue {}: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else's.
    #[error("the queue {} belongs to user {owner}: give the agent a directory of its own", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// User id.
        owner: u32,
    },
    /// Another agent is at it.
    #[error("the queue {} is in use by another agent: give each its own --queue-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// The name of the file that is locked.
pub const LOCK: &str = "lock";
/// Files that are kept open: the segment that is written, the one that is read, and the position.
const OPEN_FILES: usize = 3;

/// A directory of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Those used last, the last first.
    open: VecDeque<(String, File)>,
    /// Given back when this is dropped, or the process ends.
    _lock: File,
}

impl Folder {
    /// Opens the directory `name` below `root`; makes both, for this user alone, if they are not there.
    ///
    /// # Errors
    /// If it cannot be written, belongs to somebody else, or another agent uses it.
    pub fn open(root: &Path, name: &str) -> Result<Self, OpenError> {
        let path = root.join(name);
        let io = |error| OpenError::Io {
            path: path.clone(),
            error,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&path).map_err(io)?;
        let owner = fs::metadata(&path).map_err(io)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(OpenError::Foreign { path, owner });
        }
        let lock = file(&path.join(LOCK), true).map_err(io)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path,
                open: VecDeque::new(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path }),
            Err(error) => Err(io(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&mut self, name: &str, create: bool) -> io::Result<&File> {
        let found = self.open.iter().position(|(known, _)| known == name);
        let entry = match found.and_then(|place| self.open.remove(place)) {
            Some(entry) => entry,
            None => (name.to_owned(), file(&self.path.join(name), create)?),
        };
        self.open.truncate(OPEN_FILES - 1);
        self.open.push_front(entry);
        match self.open.front() {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Only its owner may read it, and it is no way to another file.
fn file(path: &Path, create: bool) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

impl Storage for Folder {
    fn names(&mut self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn size(&mut self, name: &str) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(self.path.join(name))?;
        match metadata.is_file() {
            true => Ok(metadata.len()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name, false)?;
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file(name, true)?;
        rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?;
        file.write_all(bytes)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name, true)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.file(name, false)?.set_len(size)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.retain(|(known, _)| known != name);
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name, false)?.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_reads_what_waits() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&root.path().join("queue"), "backend").unwrap();
        folder.append("a", b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o600);
    }

    #[test]
    fn a_directory_that_is_in_use_is_refused_until_it_is_not() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::open(root.path(), "backend").unwrap();
        let refused = Folder::open(root.path(), "backend").unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
        drop(first);
        Folder::open(root.path(), "backend").unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(root.path(), "backend").unwrap();
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, b"keep").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("a")).unwrap();
        assert!(folder.append("a", b"x").is_err());
        assert!(folder.size("a").is_err());
        assert_eq!(fs::read(elsewhere).unwrap(), b"keep");
    }

    #[test]
    fn more_files_are_used_than_are_kept_open() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(root.path(), "backend").unwrap();
        for _ in 0..2 {
            for name in ["a", "b", "c", "d", "e"] {
                folder.append(name, name.as_bytes()).unwrap();
            }
        }
        assert_eq!(folder.open.len(), OPEN_FILES);
        let mut bytes = [0; 8];
        assert_eq!(folder.read_at("b", 1, &mut bytes).unwrap(), 1);
        assert_eq!(bytes[0], b'b');
    }
}
