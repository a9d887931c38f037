//! Every byte of a segment damaged, every length of it cut off.

use super::*;

const BATCHES: [u32; 6] = [3, 1, 5, 2, 7, 4];
const FILLING: usize = 40;

fn written() -> (Memory, u64) {
    let mut queue = open(&Memory::default(), WIDE);
    let next = fill(&mut queue, 0, &BATCHES, FILLING);
    (queue.storage().clone(), next)
}

/// Everything that comes out was put in, in order; whatever does not is counted.
fn assert_honest(storage: &Memory, spans: u64, most_lost: u64, what: &str) -> Losses {
    let mut queue = open(storage, WIDE);
    let (all, losses) = drain(&mut queue);
    let mut first = 0;
    let whole: Vec<_> = BATCHES
        .iter()
        .map(|spans| {
            let payload = payload(first, *spans, FILLING);
            first += u64::from(*spans);
            payload
        })
        .collect();
    let mut left = whole.iter();
    for lent in &all {
        assert!(left.any(|payload| *payload == lent.payload), "{what}: {lent:?}");
    }
    let delivered: u64 = all.iter().map(Lent::spans).sum();
    assert!(losses.corrupt <= most_lost, "{what}: {losses:?}");
    assert!(delivered + most_lost >= spans, "{what}: {delivered} of {spans}");
    losses
}

#[test]
fn a_damaged_byte_costs_the_record_it_is_in_and_that_is_counted() {
    let (storage, spans) = written();
    let name = storage.segments()[0].clone();
    let size = storage.files[&name].len();
    let record = size / BATCHES.len();
    for byte in 0..size {
        let mut damaged = storage.clone();
        damaged.flip(&name, byte);
        let losses = assert_honest(&damaged, spans, 7, &format!("byte {byte}"));
        let is_of_last_head = byte >= size - record - 2 && losses.corrupt == 1;
        let counted = losses.corrupt == u64::from(BATCHES[batch_of(byte)]);
        assert!(counted || is_of_last_head, "byte {byte}: {losses:?}");
    }
}

/// Which batch a byte of the segment belongs to.
fn batch_of(byte: usize) -> usize {
    let mut end = 0;
    let mut first = 0;
    BATCHES
        .iter()
        .position(|spans| {
            end += 40 + payload(first, *spans, FILLING).len();
            first += u64::from(*spans);
            byte < end
        })
        .unwrap()
}

#[test]
fn a_segment_that_is_cut_off_anywhere_gives_what_is_whole() {
    let (storage, spans) = written();
    let name = storage.segments()[0].clone();
    let size = storage.files[&name].len();
    for length in 0..size {
        let mut cut = storage.clone();
        cut.files.get_mut(&name).unwrap().truncate(length);
        let lost: u64 = BATCHES[batch_of(length)..].iter().copied().map(u64::from).sum();
        assert_honest(&cut, spans, lost, &format!("length {length}"));
        // What comes afterwards is not harmed by what is torn.
        let mut queue = open(&cut, WIDE);
        queue.append(b"later", 2, 0, 99).unwrap();
        let (all, _) = drain(&mut queue);
        assert_eq!(all.last().unwrap().payload, b"later", "length {length}");
    }
}

#[test]
fn two_runs_of_damage_cost_what_they_touch_and_the_next_segment_tells_how_much() {
    let (storage, spans) = written();
    let name = storage.segments()[0].clone();
    let mut queue = open(&storage, WIDE);
    queue.append(b"later", 2, 0, 99).unwrap();
    let storage = queue.storage().clone();
    let size = storage.files[&name].len();
    for begin in (0..size).step_by(7) {
        for length in [1, 50, 200, size] {
            let mut damaged = storage.clone();
            let end = (begin + length).min(size);
            damaged.files.get_mut(&name).unwrap()[begin..end].fill(0);
            let (all, losses) = drain(&mut open(&damaged, WIDE));
            let delivered: u64 = all.iter().map(Lent::spans).sum();
            assert_eq!(delivered + losses.corrupt, spans + 2, "{begin} to {end}");
            assert_eq!(all.last().unwrap().payload, b"later");
        }
    }
}

#[test]
fn a_record_inside_of_a_payload_is_no_record() {
    // The name of a span is written by who calls the traced program: it may look like anything but the salt.
    let forged = super::super::record::Header {
        first: 0,
        created_ms: 0,
        spans: 1,
        length: 4,
        checksum: crc32fast::hash(b"evil"),
    };
    let mut evil = forged.encode(0x5a16).to_vec();
    evil.extend_from_slice(b"evil");
    let mut queue = open(&Memory::default(), WIDE);
    queue.append(&evil, 3, 0, 0x5a17).unwrap();
    queue.append(b"good", 1, 0, 0x5a18).unwrap();
    let mut storage = queue.storage().clone();
    let name = storage.segments()[0].clone();
    storage.flip(&name, 9);
    let (all, losses) = drain(&mut open(&storage, WIDE));
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].payload.as_slice(), losses.corrupt), (&b"good"[..], 3));
}

#[test]
fn a_disk_that_does_not_answer_for_a_while_costs_nothing_and_one_that_never_does_is_given_up() {
    let (storage, spans) = written();
    for (failures, lost) in [(5, 0), (6, 22)] {
        let mut queue = open(&storage, WIDE);
        queue.storage_mut().failing_reads = failures;
        let mut delivered = 0;
        for _ in 0..100 {
            if let Ok(Some(lent)) = queue.head(0) {
                delivered += lent.spans();
                queue.settle(&lent).unwrap();
            }
        }
        assert_eq!((delivered, queue.take_losses().corrupt), (spans - lost, lost));
    }
}
