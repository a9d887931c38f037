//! The queue of one destination: what is appended, given out, settled and dropped, and what is counted of it.
//!
//! ```text
//!   settled or dropped │ waiting, oldest first              │
//!  ────────────────────┼────────────────────────────────────┼──▶ numbers of spans
//!                    head                                  next
//! ```
//!
//! Synchronous, without a clock or randomness of its own. One batch is out at a time; if the size bound passes over it
//! meanwhile, its fate is still told by who has it.

use std::{collections::VecDeque, io, ops::Range};

use super::{
    position::{self, Position},
    record::{Header, MAX_PAYLOAD},
    segment::Segment,
    storage::{self, Storage},
};

/// While something waits for longer than the batch that is written, segments are synchronised this often.
pub const SYNC_EVERY_MS: u64 = 1_000;
/// So often a read that fails is tried again before the rest of its segment is given up as damaged.
const READ_ATTEMPTS: u32 = 5;
/// A queue of the largest size consists of so many segments; one of the smallest has shorter ones.
const SEGMENTS: u64 = 32;
/// What of a segment is dropped or kept as one.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(8 << 20);

/// Segments of which all was delivered are removed when they have come to this: soon enough that the kernel has not
/// written them back, and seldom enough that files are not made for each batch.
const DRAINED_BYTES: u64 = 256 << 10;

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Milliseconds since a batch was made.
    pub age_ms: u64,
}

impl Bounds {
    /// A segment is begun when the one before would become longer.
    fn segment_bytes(&self) -> u64 {
        (self.bytes / SEGMENTS).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end())
    }
}

/// Spans that were dropped since somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// There was no room: the oldest gave way.
    pub full: u64,
    /// They waited for too long.
    pub expired: u64,
    /// They were damaged on the disk.
    pub corrupt: u64,
}

impl Losses {
    /// Nothing was dropped.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A batch that was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// As it was appended.
    pub payload: Vec<u8>,
    /// Unix milliseconds when it was made; never later than the run that found it began.
    pub created_ms: u64,
    spans: Range<u64>,
    /// Behind the record, in its segment.
    offset: u64,
}

impl Lent {
    /// How many spans it has.
    pub fn spans(&self) -> u64 {
        self.spans.end - self.spans.start
    }
}

/// The queue.
#[derive(Debug)]
pub struct DiskQueue<S> {
    storage: S,
    bounds: Bounds,
    /// Oldest first; each ends where the next begins.
    segments: VecDeque<Segment>,
    /// The last segment takes records.
    is_open: bool,
    /// Number of the first span that waits.
    head: u64,
    /// Where it is looked for in the first segment.
    offset: u64,
    /// Number of the next span to come.
    next: u64,
    lent: Option<Range<u64>>,
    position: Position,
    /// What an earlier run has left: the number behind it, and when that was found.
    inherited: (u64, u64),
    found: u64,
    failed_reads: u32,
    /// The last segment that was synchronised, by its first span, and when.
    synced: (u64, u64),
    failed_syncs: u64,
    losses: Losses,
    foreign: usize,
}

impl<S: Storage> DiskQueue<S> {
    /// Takes up what is there.
    ///
    /// # Errors
    /// If the files cannot be listed or read.
    pub fn open(mut storage: S, bounds: Bounds, now_ms: u64) -> io::Result<Self> {
        let mut segments = Vec::new();
        let mut foreign = 0;
        for name in storage.names()? {
            let known = [position::NAME, storage::LOCK].contains(&name.as_str());
            match Segment::from_name(&name) {
                Some(segment) => match storage.size(&name) {
                    // The run before ended between making and writing it.
                    Ok(0) => storage.remove(&name)?,
                    Ok(bytes) => segments.push(Segment { bytes, ..segment }),
                    Err(_) => foreign += 1,
                },
                None => foreign += usize::from(!known),
            }
        }
        segments.sort_unstable();
        let (position, delivered) = Position::read(&mut storage);
        let first = segments.first().map(|segment| segment.first);
        let mut next = first.unwrap_or_default();
        if let Some(last) = segments.last() {
            let (end, is_torn) = last.end(&mut storage)?;
            next = end.saturating_add(is_torn.into());
        }
        let next = next.max(delivered.unwrap_or_default());
        let head = delivered.or(first).unwrap_or_default();
        let mut queue = Self {
            storage,
            bounds,
            segments: segments.into(),
            is_open: false,
            head,
            found: next - head,
            offset: 0,
            next,
            lent: None,
            position,
            inherited: (next, now_ms),
            failed_reads: 0,
            synced: (0, now_ms),
            failed_syncs: 0,
            losses: Losses::default(),
            foreign,
        };
        if delivered.is_none() {
            // Both slots are there before the disk is full: what is there can be written over.
            for _ in 0..2 {
                let _ = queue.position.write(&mut queue.storage, queue.head);
            }
        }
        queue.make_room(0);
        Ok(queue)
    }

    /// Spans that wait, with those that are given out.
    pub fn waiting(&self) -> u64 {
        self.next - self.head
    }

    /// Spans that earlier runs have left, with those that gave way, or were found damaged, since.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Files that are nothing of this version; they are left alone.
    pub fn foreign(&self) -> usize {
        self.foreign
    }

    /// What was dropped since the last call.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// How often since the last call it was not certain that the disk has what was written.
    pub fn take_failed_syncs(&mut self) -> u64 {
        std::mem::take(&mut self.failed_syncs)
    }

    /// The files.
    #[cfg(test)]
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The files, to break them.
    #[cfg(test)]
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Leaves nothing behind when nothing waits.
    pub fn close(&mut self) {
        while self.waiting() == 0 && !self.segments.is_empty() {
            self.remove_first();
        }
    }

    /// Adds a batch. What has waited for too long, or has no room any more, is dropped for it, the oldest first.
    /// `salt` is drawn at random.
    ///
    /// # Errors
    /// If it cannot be written; it is not in the queue then.
    pub fn append(&mut self, payload: &[u8], spans: u32, now_ms: u64, salt: u64) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = Header {
            first: self.next,
            created_ms: now_ms,
            spans,
            length,
            checksum: crc32fast::hash(payload),
        };
        if length > MAX_PAYLOAD || header.bytes() > self.bounds.bytes {
            self.losses.full += u64::from(spans);
            return Ok(());
        }
        // What cannot be read is found by who asks for it.
        let _ = self.expire(now_ms);
        self.make_room(header.bytes());
        self.write(&header, payload, salt)?;
        self.next = header.end();
        if self.head < header.first && now_ms.saturating_sub(self.synced.1) >= SYNC_EVERY_MS {
            self.sync(now_ms);
        }
        Ok(())
    }

    /// The oldest batch, until it is settled. Damage before it is counted and passed over, and what has waited for
    /// too long is dropped.
    ///
    /// # Errors
    /// If it cannot be read now; after some attempts what cannot be read is taken for damaged.
    pub fn head(&mut self, now_ms: u64) -> io::Result<Option<Lent>> {
        while let Some((offset, header)) = self.find()? {
            if self.is_expired(&header, now_ms) {
                self.losses.expired += u64::from(header.spans);
                self.pass(&header, offset);
                continue;
            }
            let payload = match self.segments.front() {
                Some(segment) => segment.payload(&mut self.storage, offset, &header),
                None => Ok(None),
            };
            if let Some(payload) = self.readable(payload)?.flatten() {
                let spans = header.first..header.end();
                self.lent = Some(spans.clone());
                return Ok(Some(Lent {
                    payload,
                    created_ms: self.created_ms(&header),
                    spans,
                    offset: offset + header.bytes(),
                }));
            }
            self.losses.corrupt += u64::from(header.spans);
            self.pass(&header, offset);
        }
        Ok(None)
    }

    /// A batch has had its fate, whichever: it need not be kept any more.
    ///
    /// # Errors
    /// If that cannot be written: the next run would give it out again.
    pub fn settle(&mut self, lent: &Lent) -> io::Result<()> {
        self.lent = None;
        if self.head != lent.spans.start {
            return Ok(());
        }
        self.head = lent.spans.end;
        self.offset = lent.offset;
        let written = self.position.write(&mut self.storage, self.head);
        self.remove_delivered();
        if self.bytes() >= DRAINED_BYTES {
            self.close();
        }
        written
    }

    /// The first record that waits, in the first segment then.
    fn find(&mut self) -> io::Result<Option<(u64, Header)>> {
        while let Some(segment) = self.segments.front() {
            let end = self.segments.get(1).map_or(self.next, |next| next.first);
            let found = segment.find(&mut self.storage, self.offset);
            match self.readable(found)?.flatten() {
                Some((offset, header)) if header.end() <= self.head => self.offset = offset + header.bytes(),
                Some((offset, header)) if header.first >= self.head && header.end() <= end => {
                    self.losses.corrupt += self.move_head(header.first);
                    return Ok(Some((offset, header)));
                }
                // Numbers that lie elsewhere: whatever it is, it was not written here.
                Some((offset, _)) => self.offset = offset + 1,
                None => {
                    self.losses.corrupt += self.move_head(end);
                    if !self.next_segment() {
                        return Ok(None);
                    }
                }
            }
        }
        self.losses.corrupt += self.move_head(self.next);
        Ok(None)
    }

    /// `None` for what could not be read several times: it is given up.
    fn readable<T>(&mut self, read: io::Result<T>) -> io::Result<Option<T>> {
        match read {
            Ok(read) => {
                self.failed_reads = 0;
                Ok(Some(read))
            }
            Err(_) if self.failed_reads >= READ_ATTEMPTS => {
                self.failed_reads = 0;
                Ok(None)
            }
            Err(error) => {
                self.failed_reads += 1;
                Err(error)
            }
        }
    }

    /// Says that nothing before this number waits any more; how many spans that were.
    fn move_head(&mut self, to: u64) -> u64 {
        let passed = to.saturating_sub(self.head);
        if passed > 0 {
            self.head = to;
            // If it cannot be written the next run finds the same, and counts it again.
            let _ = self.position.write(&mut self.storage, to);
        }
        passed
    }

    /// Leaves a record behind that nobody will ask for again.
    fn pass(&mut self, header: &Header, offset: u64) {
        self.move_head(header.end());
        self.offset = offset + header.bytes();
    }

    /// Leaves the first segment behind; `false` if it is the last and takes more.
    fn next_segment(&mut self) -> bool {
        if self.segments.len() == 1 && self.is_open {
            return false;
        }
        self.remove_first();
        true
    }

    fn remove_delivered(&mut self) {
        while self.segments.get(1).is_some_and(|next| next.first <= self.head) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            // What stays is found, and passed over, by the next run.
            let _ = self.storage.remove(&segment.name());
        }
        self.offset = 0;
        self.is_open &= !self.segments.is_empty();
    }

    fn is_expired(&self, header: &Header, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.created_ms(header)) > self.bounds.age_ms
    }

    /// What an earlier run has dated later than now is as old as its finding.
    fn created_ms(&self, header: &Header) -> u64 {
        let (end, found_ms) = self.inherited;
        match header.first < end {
            true => header.created_ms.min(found_ms),
            false => header.created_ms,
        }
    }

    /// Drops what is too old, unless it is given out: then its holder will see.
    fn expire(&mut self, now_ms: u64) -> io::Result<()> {
        while self.lent.is_none()
            && let Some((offset, header)) = self.find()?
            && self.is_expired(&header, now_ms)
        {
            self.losses.expired += u64::from(header.spans);
            self.pass(&header, offset);
        }
        Ok(())
    }

    /// Drops the oldest segments until so many bytes may come.
    fn make_room(&mut self, bytes: u64) {
        while self.bytes() + bytes > self.bounds.bytes && !self.segments.is_empty() {
            let end = self.segments.get(1).map_or(self.next, |next| next.first);
            let lent = self
                .lent
                .as_ref()
                .filter(|lent| lent.start == self.head && lent.end <= end);
            let lent = lent.map_or(0, |lent| lent.end - lent.start);
            self.losses.full += self.move_head(end).saturating_sub(lent);
            self.remove_first();
        }
    }

    fn write(&mut self, header: &Header, payload: &[u8], salt: u64) -> io::Result<()> {
        let limit = self.bounds.segment_bytes();
        let fits = |segment: &&mut Segment| segment.bytes + header.bytes() <= limit;
        let (mut segment, is_new) = match self.segments.back_mut().filter(fits) {
            Some(segment) if self.is_open => (segment.clone(), false),
            _ => {
                let first = header.first;
                (
                    Segment {
                        first,
                        salt,
                        bytes: 0,
                    },
                    true,
                )
            }
        };
        let mut record = Vec::with_capacity(usize::try_from(header.bytes()).unwrap_or_default());
        record.extend_from_slice(&header.encode(segment.salt));
        record.extend_from_slice(payload);
        let name = segment.name();
        if let Err(error) = self.storage.append(&name, &record) {
            self.take_back(segment, is_new, header);
            return Err(error);
        }
        segment.bytes += header.bytes();
        match self.segments.back_mut() {
            Some(last) if !is_new => *last = segment,
            _ => self.segments.push_back(segment),
        }
        self.is_open = true;
        self.remove_delivered();
        Ok(())
    }

    /// A record may have been written in part. If that cannot be undone, its numbers are used up and nothing is written
    /// behind it: it will be found damaged, though its batch may come again.
    fn take_back(&mut self, segment: Segment, is_new: bool, header: &Header) {
        let name = segment.name();
        let undone = match is_new {
            true => self.storage.remove(&name),
            false => self.storage.truncate(&name, segment.bytes),
        };
        let (Err(_), Ok(bytes)) = (undone, self.storage.size(&name)) else {
            return;
        };
        if !is_new {
            self.segments.pop_back();
        }
        self.segments.push_back(Segment { bytes, ..segment });
        self.is_open = false;
        self.next = header.end();
    }

    fn sync(&mut self, now_ms: u64) {
        let (since, _) = self.synced;
        for segment in self.segments.iter().filter(|segment| segment.first >= since) {
            if self.storage.sync(&segment.name()).is_err() {
                self.failed_syncs += 1;
            }
        }
        let last = self.segments.back().map_or(since, |segment| segment.first);
        self.synced = (last, now_ms);
    }
}
