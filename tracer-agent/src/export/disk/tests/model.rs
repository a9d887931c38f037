//! The queue beside a model that has no files: whatever is done to both, and however often the process ends, every span
//! has one fate.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        spans: u32,
        filling: usize,
    },
    /// The head is given out and settled.
    Deliver,
    /// The head is given out, and its delivery goes on.
    Lend,
    /// The batch that is out has its fate.
    Settle,
    Pass {
        ms: u64,
    },
    /// The process ends without a word; so much of a last record is written.
    Kill {
        torn: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..50_u32, 0..3_000_usize).prop_map(|(spans, filling)| Step::Append { spans, filling }),
        3 => Just(Step::Deliver),
        1 => Just(Step::Lend),
        1 => Just(Step::Settle),
        1 => (1..400_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..120_usize).prop_map(|torn| Step::Kill { torn }),
    ]
}

/// What the queue must hold: batches in order, with their times.
#[derive(Debug, Default)]
struct Model {
    waiting: VecDeque<(u32, u64, Vec<u8>)>,
    /// Spans that the torn records of ends cost.
    torn: u64,
}

impl Model {
    /// Takes away what the queue says it has dropped, from the oldest on; what is out is not among it.
    fn drop_oldest(&mut self, mut spans: u64, lent: Option<&Lent>) {
        let mut kept = VecDeque::new();
        while spans > 0 {
            let batch = self.waiting.pop_front().expect("what was dropped was there");
            if lent.is_some_and(|lent| lent.payload == batch.2) {
                kept.push_back(batch);
                continue;
            }
            spans = spans
                .checked_sub(batch.0.into())
                .expect("whole batches are dropped");
        }
        // It is on the disk no more, but not lost: its holder tells.
        drop(kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_span_is_delivered_in_order_or_counted(
        steps in vec(any_step(), 1..120),
        bytes in 70_000..300_000_u64,
    ) {
        let bounds = Bounds { bytes, age_ms: 1_000 };
        let mut queue = open(&Memory::default(), bounds);
        let mut model = Model::default();
        let (mut now, mut numbered, mut lent): (u64, u64, Option<Lent>) = (0, 0, None);
        for (salt, step) in (1..).zip(steps) {
            match step {
                Step::Append { spans, filling } => {
                    let payload = payload(numbered, spans, filling);
                    queue.append(&payload, spans, now, salt).unwrap();
                    model.waiting.push_back((spans, now, payload));
                    numbered += u64::from(spans);
                }
                Step::Deliver if lent.is_none() => {
                    let head = queue.head(now).unwrap();
                    settle_losses(&mut queue, &mut model, None);
                    let expected = model.waiting.pop_front().map(|(_, _, payload)| payload);
                    prop_assert_eq!(head.as_ref().map(|head| &head.payload), expected.as_ref());
                    if let Some(head) = head {
                        queue.settle(&head).unwrap();
                    }
                }
                Step::Lend if lent.is_none() => lent = queue.head(now).unwrap(),
                Step::Settle => {
                    if let Some(lent) = lent.take() {
                        settle_losses(&mut queue, &mut model, Some(&lent));
                        queue.settle(&lent).unwrap();
                        if model.waiting.front().is_some_and(|(_, _, payload)| *payload == lent.payload) {
                            model.waiting.pop_front();
                        }
                    }
                }
                Step::Pass { ms } => now += ms,
                Step::Kill { torn } => {
                    settle_losses(&mut queue, &mut model, lent.as_ref());
                    lent = None;
                    let mut storage = queue.storage().clone();
                    storage.room = Some(torn);
                    storage.is_stuck = true;
                    // As the kernel leaves a write that a signal breaks off.
                    let mut dying = DiskQueue::open(storage, bounds, now).unwrap();
                    let whole = dying.append(&payload(numbered, 1, 30), 1, now, salt).is_ok();
                    let mut storage = dying.storage().clone();
                    (storage.room, storage.is_stuck) = (None, false);
                    settle_losses(&mut dying, &mut model, None);
                    if whole {
                        model.waiting.push_back((1, now, payload(numbered, 1, 30)));
                        numbered += 1;
                    }
                    queue = DiskQueue::open(storage, bounds, now).unwrap();
                    let waiting: u64 = model.waiting.iter().map(|(spans, ..)| u64::from(*spans)).sum();
                    // A record that is torn may be counted: it was never in the model.
                    model.torn = queue.waiting() - waiting;
                    prop_assert!(model.torn <= 40, "{} beside {waiting}", queue.waiting());
                    if model.torn > 0 {
                        // Let it be found now, so that the counts are exact again.
                        model.waiting.push_back((u32::try_from(model.torn).unwrap(), now, Vec::new()));
                    }
                }
                Step::Deliver | Step::Lend => {}
            }
            settle_losses(&mut queue, &mut model, lent.as_ref());
            prop_assert!(queue.bytes() <= bounds.bytes);
        }
    }
}

/// Takes what the queue dropped out of the model.
fn settle_losses(queue: &mut DiskQueue<Memory>, model: &mut Model, lent: Option<&Lent>) {
    let losses = queue.take_losses();
    model.drop_oldest(losses.full + losses.expired + losses.corrupt, lent);
}
