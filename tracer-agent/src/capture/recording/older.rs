//! Records of older formats, made as they are written now: fields that were added since are zero, which says that nothing is known.

use tracer_common::record::{DataRecord, OpenRecord, kind};

/// Bytes that every field takes which was added so far: a multiple of eight, as all of a record in front of captured bytes.
const ADDED: usize = 8;
/// Since format 2 records of data end with the maker of their task, since 3 with the turn; records of ends with the turn since 3. Format 4
/// adds records of streams, format 6 records of coroutines, format 7 says which threads have had something sent,
/// format 8 which tasks of tokio; they change none.
const DATA: [(u32, usize); 2] = [
    (2, size_of::<DataRecord>() - 2 * ADDED),
    (3, size_of::<DataRecord>() - ADDED),
];
const OPEN: [(u32, usize); 1] = [(3, size_of::<OpenRecord>() - ADDED)];

/// Brings a record of a recording of this format up to date. What is too short to be one stays as it is.
pub(super) fn bring_up_to_date(record: &mut Vec<u8>, version: u32) {
    let added: &[_] = match number_at(record, 0) {
        Some(kind::DATA) => &DATA,
        Some(kind::OPEN) => &OPEN,
        _ => &[],
    };
    for (_, place) in added.iter().filter(|(since, _)| version < *since) {
        let Some(size) = number_at(record, 4).filter(|_| record.len() >= *place) else {
            return;
        };
        record.splice(*place..*place, [0; ADDED]);
        let added = u32::try_from(ADDED).unwrap_or_default();
        let size = size.saturating_add(added).to_le_bytes();
        record
            .iter_mut()
            .skip(4)
            .zip(size)
            .for_each(|(byte, new)| *byte = new);
    }
}

fn number_at(record: &[u8], place: usize) -> Option<u32> {
    let bytes = record.get(place..place + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capture::record::Record, testing::End};

    /// A record as it was written before what stands at these places was added.
    fn without(record: &[u8], places: &[usize]) -> Vec<u8> {
        let mut older = record.to_vec();
        for place in places.iter().rev() {
            older.drain(*place..*place + ADDED);
        }
        let size = u32::try_from(older.len()).unwrap().to_le_bytes();
        older[4..8].copy_from_slice(&size);
        older
    }

    #[test]
    fn records_of_older_formats_say_what_they_said() {
        let end = End::connected(1)
            .send("GET / HTTP/1.1|Host: a", 0)
            .over_unix(7, true, b"/run/a.sock");
        let end = end.open(0);
        for (version, data, open) in [(1, &[80, 88][..], &[104][..]), (2, &[88], &[104])] {
            for today in end.encoded() {
                let added = if number_at(today, 0) == Some(kind::DATA) {
                    data
                } else {
                    open
                };
                let mut record = without(today, added);
                assert!(record.len() < today.len());
                bring_up_to_date(&mut record, version);
                assert_eq!(&record, today);
                assert!(Record::decode(&record).is_ok());
            }
        }
    }

    #[test]
    fn what_is_cut_or_of_another_kind_stays_as_it_is() {
        let records = [
            vec![],
            vec![1, 0],
            kind::DATA.to_le_bytes().to_vec(),
            kind::CLOSE.to_le_bytes().repeat(20),
        ];
        for record in records {
            let mut same = record.clone();
            bring_up_to_date(&mut same, 1);
            assert_eq!(same, record);
        }
        let mut cut = End::connected(1).send("GET / HTTP/1.1", 0).encoded()[1][..40].to_vec();
        bring_up_to_date(&mut cut, 1);
        assert_eq!(cut.len(), 40);
    }
}
