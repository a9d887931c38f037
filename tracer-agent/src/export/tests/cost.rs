//! What a span costs on its way out: `cargo test --release -p tracer-agent --lib export::tests::cost --
//! --ignored --nocapture`.

use std::{hint::black_box, time::Duration};

use prost::Message as _;

use super::{checkout, host};
use crate::{
    export::{
        batch::{BatchSettings, Queue},
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
