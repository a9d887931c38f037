//! Disks that are full, and heal.

use super::*;
use crate::export::disk::Folder;

#[test]
fn a_write_that_fails_leaves_the_queue_as_it_was_and_the_next_may_succeed() {
    for is_stuck in [false, true] {
        for room in 0..400 {
            let mut queue = open(&Memory::default(), WIDE);
            fill(&mut queue, 0, &[3, 1], 40);
            let storage = queue.storage_mut();
            (storage.room, storage.is_stuck) = (Some(room), is_stuck);
            let mut next = 4;
            while queue.append(&payload(next, 5, 40), 5, 0, 77 + next).is_ok() {
                next += 5;
            }
            let storage = queue.storage_mut();
            (storage.room, storage.is_stuck) = (None, false);
            next = fill(&mut queue, next, &[5, 2], 40);
            // As it is, and as the next run finds it.
            let mut again = open(queue.storage(), WIDE);
            for queue in [&mut queue, &mut again] {
                let (all, losses) = drain(queue);
                let delivered: u64 = all.iter().map(Lent::spans).sum();
                assert_eq!(delivered, next, "room {room}, {is_stuck}");
                assert!(losses.corrupt == 0 || is_stuck, "room {room}: {losses:?}");
            }
        }
    }
}

/// Needs the rights to mount; without them the test over memory above is all there is.
#[test]
fn a_full_file_system_is_an_error_and_heals_when_there_is_room() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let root = tempfile::tempdir().unwrap();
    let options = c"size=256k";
    if mount("tmpfs", root.path(), "tmpfs", MountFlags::empty(), options).is_err() {
        return;
    }
    let folder = Folder::open(root.path(), "backend").unwrap();
    let mut queue = DiskQueue::open(folder, WIDE, 0).unwrap();
    let mut written = 0;
    let error = loop {
        match queue.append(&payload(written, 5, 10_000), 5, 0, 1 + written) {
            Ok(()) => written += 5,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(written > 50, "{written}");
    let lent = queue.head(0).unwrap().unwrap();
    assert_eq!(lent.payload, payload(0, 5, 10_000));
    queue.settle(&lent).unwrap();
    let (all, losses) = drain(&mut queue);
    assert_eq!(all.iter().map(Lent::spans).sum::<u64>() + 5, written);
    assert!(losses.is_none());
    queue.close();
    queue.append(&payload(written, 5, 10_000), 5, 0, 9).unwrap();
    assert_eq!(drain(&mut queue).0.len(), 1);
    drop(queue);
    unmount(root.path(), UnmountFlags::empty()).unwrap();
}
