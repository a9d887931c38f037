//! The queue over files that can be damaged, cut off, full and broken, and over real ones.

mod corruption;
mod full;
mod model;

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
};

use super::{Bounds, DiskQueue, Lent, Losses, Storage};

/// Bounds that nothing comes near.
pub const WIDE: Bounds = Bounds {
    bytes: 1 << 30,
    age_ms: u64::MAX,
};

/// Files in memory, as they would be after the end of the process.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    /// So many bytes may still be written; `None` for any number.
    pub room: Option<usize>,
    /// What has been written in part stays: it cannot be cut off or removed.
    pub is_stuck: bool,
    /// So many reads fail.
    pub failing_reads: u32,
}

impl Memory {
    /// Changes one byte of a file.
    pub fn flip(&mut self, name: &str, byte: usize) {
        self.files.get_mut(name).unwrap()[byte] ^= 0x5a;
    }

    /// The names of the segments, oldest first.
    pub fn segments(&self) -> Vec<String> {
        self.files
            .keys()
            .filter(|name| name.ends_with(".spans1"))
            .cloned()
            .collect()
    }

    fn take_room(&mut self, wanted: usize) -> usize {
        let given = self.room.map_or(wanted, |room| room.min(wanted));
        if let Some(room) = &mut self.room {
            *room -= given;
        }
        given
    }

    fn give_room(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            *room += bytes;
        }
    }
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

impl Storage for Memory {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn size(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.files.get(name).ok_or(ErrorKind::NotFound)?.len() as u64)
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.failing_reads > 0 {
            self.failing_reads -= 1;
            return Err(io::Error::other("the disk does not answer"));
        }
        let file = self.files.get(name).ok_or(ErrorKind::NotFound)?;
        let from = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let given = self.take_room(bytes.len());
        let file = self.files.entry(name.to_owned()).or_default();
        file.extend_from_slice(&bytes[..given]);
        if given < bytes.len() { Err(full()) } else { Ok(()) }
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = usize::try_from(offset).unwrap() + bytes.len();
        let size = self.files.get(name).map_or(0, Vec::len);
        let wanted = end.saturating_sub(size);
        if self.take_room(wanted) < wanted {
            return Err(full());
        }
        let file = self.files.entry(name.to_owned()).or_default();
        file.resize(file.len().max(end), 0);
        file[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        if self.is_stuck {
            return Err(io::Error::other("stuck"));
        }
        let size = usize::try_from(size).unwrap();
        let file = self.files.get_mut(name).ok_or(ErrorKind::NotFound)?;
        let cut = file.len() - size;
        file.truncate(size);
        self.give_room(cut);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.is_stuck {
            return Err(io::Error::other("stuck"));
        }
        let file = self.files.remove(name).ok_or(ErrorKind::NotFound)?;
        self.give_room(file.len());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.size(name).map(drop)
    }
}

/// A payload that says which spans it is of, and by whom it was made.
pub fn payload(first: u64, spans: u32, filling: usize) -> Vec<u8> {
    let mut payload = format!("spans {first} to {}", first + u64::from(spans)).into_bytes();
    payload.resize(payload.len() + filling, b'.');
    payload
}

pub fn open(storage: &Memory, bounds: Bounds) -> DiskQueue<Memory> {
    DiskQueue::open(storage.clone(), bounds, 0).unwrap()
}

/// Appends batches of so many spans each, numbered from `first` by the test.
pub fn fill(queue: &mut DiskQueue<impl Storage>, first: u64, batches: &[u32], filling: usize) -> u64 {
    let mut next = first;
    for (salt, spans) in (0x5a17..).zip(batches) {
        queue
            .append(&payload(next, *spans, filling), *spans, 0, salt + next)
            .unwrap();
        next += u64::from(*spans);
    }
    next
}

/// Takes everything out.
pub fn drain(queue: &mut DiskQueue<impl Storage>) -> (Vec<Lent>, Losses) {
    let mut all = Vec::new();
    while let Some(lent) = queue.head(0).unwrap() {
        queue.settle(&lent).unwrap();
        all.push(lent);
    }
    assert_eq!(queue.waiting(), 0);
    (all, queue.take_losses())
}

#[test]
fn what_was_appended_comes_out_in_order_and_leaves_nothing_behind() {
    let mut queue = open(&Memory::default(), WIDE);
    fill(&mut queue, 0, &[3, 1, 5], 10);
    assert_eq!(queue.waiting(), 9);
    let (all, losses) = drain(&mut queue);
    let payloads: Vec<_> = all.iter().map(|lent| lent.payload.clone()).collect();
    assert_eq!(
        payloads,
        [payload(0, 3, 10), payload(3, 1, 10), payload(4, 5, 10)]
    );
    assert!(losses.is_none());
    queue.close();
    assert_eq!(queue.storage().segments(), [""; 0]);
}

#[test]
fn what_was_delivered_does_not_gather_on_disk() {
    let mut queue = open(&Memory::default(), WIDE);
    let mut next = 0;
    for _ in 0..200 {
        next = fill(&mut queue, next, &[3], 10_000);
        assert_eq!(drain(&mut queue).0.len(), 1);
        assert!(queue.bytes() < 300_000, "{}", queue.bytes());
    }
}

#[test]
fn the_next_run_goes_on_where_the_one_before_was_ended_without_a_word() {
    let mut queue = open(&Memory::default(), WIDE);
    fill(&mut queue, 0, &[3, 1, 5], 10);
    let lent = queue.head(0).unwrap().unwrap();
    queue.settle(&lent).unwrap();
    // Given out, but not settled: it may have arrived, and it comes again.
    queue.head(0).unwrap().unwrap();

    let mut queue = open(queue.storage(), WIDE);
    assert_eq!(queue.waiting(), 6);
    fill(&mut queue, 9, &[2], 10);
    let (all, losses) = drain(&mut queue);
    let payloads: Vec<_> = all.iter().map(|lent| lent.payload.clone()).collect();
    assert_eq!(
        payloads,
        [payload(3, 1, 10), payload(4, 5, 10), payload(9, 2, 10)]
    );
    assert!(losses.is_none());
}

#[test]
fn when_there_is_no_room_the_oldest_give_way_and_are_counted() {
    let bounds = Bounds {
        bytes: 1 << 20,
        ..WIDE
    };
    let mut queue = open(&Memory::default(), bounds);
    let next = fill(&mut queue, 0, &[7; 300], 10_000);
    assert!(queue.bytes() <= 1 << 20, "{}", queue.bytes());
    let lost = queue.take_losses();
    assert!(lost.full > 0 && lost.full.is_multiple_of(7), "{lost:?}");
    let (all, rest) = drain(&mut queue);
    assert!(rest.is_none());
    assert_eq!(lost.full + all.iter().map(Lent::spans).sum::<u64>(), next);
    assert_eq!(
        all[0].payload,
        payload(lost.full, 7, 10_000),
        "the newest are kept"
    );
}

#[test]
fn a_batch_that_is_out_when_its_segment_gives_way_has_one_fate() {
    let bounds = Bounds {
        bytes: 200_000,
        ..WIDE
    };
    let mut queue = open(&Memory::default(), bounds);
    fill(&mut queue, 0, &[7], 10_000);
    let lent = queue.head(0).unwrap().unwrap();
    let next = fill(&mut queue, 7, &[7; 100], 10_000);
    let lost = queue.take_losses();
    queue.settle(&lent).unwrap();
    let (all, rest) = drain(&mut queue);
    let delivered = lent.spans() + all.iter().map(Lent::spans).sum::<u64>();
    assert_eq!(delivered + lost.full, next);
    assert!(rest.is_none());
}

#[test]
fn what_has_waited_for_too_long_is_dropped_whoever_looks_first() {
    let bounds = Bounds { age_ms: 100, ..WIDE };
    let mut queue = open(&Memory::default(), bounds);
    queue.append(&payload(0, 3, 0), 3, 0, 1).unwrap();
    queue.append(&payload(3, 4, 0), 4, 90, 2).unwrap();
    queue.append(&payload(7, 5, 0), 5, 150, 3).unwrap();
    assert_eq!((queue.take_losses().expired, queue.waiting()), (3, 9));
    let lent = queue.head(200).unwrap().unwrap();
    assert_eq!(lent.payload, payload(7, 5, 0));
    assert_eq!(queue.take_losses().expired, 4);
}

#[test]
fn a_clock_that_was_wrong_before_or_is_wrong_now_makes_nothing_old_at_once_or_never() {
    let bounds = Bounds { age_ms: 100, ..WIDE };
    let mut queue = open(&Memory::default(), bounds);
    queue.append(&payload(0, 3, 0), 3, 1_000_000, 1).unwrap();
    // The next run finds it long before it was made.
    let mut queue = DiskQueue::open(queue.storage().clone(), bounds, 500).unwrap();
    assert_eq!(queue.head(600).unwrap().unwrap().created_ms, 500);
    assert_eq!(queue.head(601).unwrap(), None);
    assert_eq!(queue.take_losses().expired, 3);
}

#[test]
fn files_of_others_and_of_newer_versions_are_left_alone() {
    let mut storage = Memory::default();
    for name in ["notes.txt", "0000000000000000-0000000000000001.spans2"] {
        storage.files.insert(name.into(), b"keep".to_vec());
    }
    let mut queue = open(&storage, WIDE);
    assert_eq!(queue.foreign(), 2);
    fill(&mut queue, 0, &[3], 0);
    drain(&mut queue);
    queue.close();
    assert_eq!(queue.storage().files["notes.txt"], b"keep");
    assert_eq!(queue.storage().files.len(), 3, "and the position");
}

#[test]
fn a_batch_that_never_fits_is_counted_and_hinders_no_other() {
    let bounds = Bounds {
        bytes: 100_000,
        ..WIDE
    };
    let mut queue = open(&Memory::default(), bounds);
    queue.append(&payload(0, 9, 200_000), 9, 0, 1).unwrap();
    assert_eq!((queue.take_losses().full, queue.waiting()), (9, 0));
    fill(&mut queue, 0, &[3], 0);
    assert_eq!(drain(&mut queue).0.len(), 1);
}

#[test]
fn a_position_that_is_gone_brings_spans_twice_and_loses_none() {
    let mut queue = open(&Memory::default(), WIDE);
    fill(&mut queue, 0, &[3, 1, 5], 10);
    let lent = queue.head(0).unwrap().unwrap();
    queue.settle(&lent).unwrap();
    let mut storage = queue.storage().clone();
    storage.files.remove("position");
    let (all, losses) = drain(&mut open(&storage, WIDE));
    assert_eq!(all.len(), 3);
    assert!(losses.is_none());
}

#[test]
fn a_segment_that_is_gone_is_counted() {
    let bounds = Bounds {
        bytes: 1 << 20,
        ..WIDE
    };
    let mut queue = open(&Memory::default(), bounds);
    let next = fill(&mut queue, 0, &[7; 60], 10_000);
    let lent = queue.head(0).unwrap().unwrap();
    queue.settle(&lent).unwrap();
    for place in [0, 3] {
        let mut storage = queue.storage().clone();
        storage.files.remove(&storage.segments()[place]);
        let (all, losses) = drain(&mut open(&storage, bounds));
        let delivered = 7 + all.iter().map(Lent::spans).sum::<u64>();
        assert!(losses.corrupt > 0, "{place}");
        assert_eq!(delivered + losses.corrupt, next, "{place}");
    }
}
