//! What a span costs on its way out: `cargo test --release -p tracer-agent --lib export::tests::cost --
//! --ignored --nocapture`.

use std::{hint::black_box, time::Duration};

use prost::Message as _;

use super::{checkout, host};
use crate::{
    export::{
        batch::{BatchSettings, Queue},
        disk::{Bounds, DiskQueue, Folder},
        json,
        otlp::{encode, mapping},
    },
    spans::Span,
};

/// The share of the 3 µs an exchange may cost in user space, record to OTLP bytes.
const SHARE: Duration = Duration::from_nanos(1_500);

#[test]
#[ignore = "measures: only a release build tells anything"]
fn a_span_is_queued_and_encoded_within_its_share_of_the_budget() {
    let shop = checkout();
    let one_shop: Vec<_> = (0..50).flat_map(|_| shop.clone()).collect();
    let many_shops: Vec<_> = (0..50).flat_map(|_| checkout()).collect();
    for (processes, batch) in [(5, one_shop), (250, many_shops)] {
        let [direct, messages, json] = [
            |spans: Vec<Span>| encode::request(&spans, &host()),
            |spans| mapping::request(spans, &host()).encode_to_vec(),
            |spans| json::encode(&mapping::request(spans, &host())),
        ]
        .map(|encode| cost(&batch, encode));
        println!(
            "{processes} processes: OTLP {direct:?} a span ({messages:?} by way of the messages), JSON {json:?}"
        );
        // A process with two spans a batch pays for its resource with each: told, but not what is usual.
        assert!(direct <= SHARE || processes > 5, "{direct:?}");
    }
}

/// What a span costs from the queue to its bytes, until nothing is left of it but those.
fn cost(batch: &[Span], encode: fn(Vec<Span>) -> Vec<u8>) -> Duration {
    const ROUNDS: u32 = 200;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let queue = Queue::new(BatchSettings {
        max_queue: batch.len(),
        max_batch: batch.len(),
        delay: None,
    });
    let mut spent = Duration::ZERO;
    for _ in 0..ROUNDS {
        let batch = batch.to_vec();
        let begun = cpu_time();
        assert_eq!(queue.offer(batch), 0);
        let taken = runtime.block_on(queue.next_batch()).unwrap();
        black_box(encode(taken));
        spent += cpu_time() - begun;
    }
    spent / (ROUNDS * u32::try_from(batch.len()).unwrap())
}

/// What this thread has used of a processor; unlike the time on the wall, others do not change it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// What the queue on disk adds to a span, in a directory of `TMPDIR`, with a backend that takes each batch at once.
#[test]
#[ignore = "measures: only a release build tells anything"]
fn a_span_is_written_down_and_read_back_for_a_fraction_of_what_it_costs() {
    const ROUNDS: u32 = 500;
    let spans: Vec<_> = (0..102).flat_map(|_| checkout()).collect();
    let payload = encode::request(&spans, &host());
    let count = u32::try_from(spans.len()).unwrap();
    let root = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        bytes: 512 << 20,
        age_ms: u64::MAX,
    };
    let open = || {
        let folder = Folder::open(root.path(), "backend").unwrap();
        DiskQueue::open(folder, bounds, 0).unwrap()
    };
    let mut queue = open();
    let begun = cpu_time();
    for salt in 0..u64::from(ROUNDS) {
        queue.append(&payload, count, 0, salt).unwrap();
        let lent = queue.head(0).unwrap().unwrap();
        queue.settle(&lent).unwrap();
    }
    let spent = (cpu_time() - begun) / (ROUNDS * count);
    println!("{spent:?} a span of {} bytes", payload.len() / spans.len());
    let mut salt = 1_000;
    while queue.take_losses().is_none() {
        salt += 1;
        queue.append(&payload, count, 0, salt).unwrap();
    }
    let waiting = queue.waiting();
    drop(queue);
    let begun = std::time::Instant::now();
    let mut queue = open();
    assert_eq!(queue.waiting(), waiting);
    assert!(queue.head(0).unwrap().is_some());
    println!(
        "{waiting} spans, {} MiB, are resumed in {:?}",
        queue.bytes() >> 20,
        begun.elapsed()
    );
    assert!(spent < Duration::from_nanos(500), "{spent:?}");
}
