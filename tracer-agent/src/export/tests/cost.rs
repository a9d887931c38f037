//! What a span costs on its way out: `cargo test --release -p tracer-agent --lib export::tests::cost --
//! --ignored --nocapture`.

use std::time::Duration;

use prost::Message as _;

use super::{checkout, host};
use crate::export::{
    batch::{BatchSettings, Queue},
    json,
    otlp::mapping,
};

/// The share of the 3 µs an exchange may cost in user space, record to OTLP bytes.
const SHARE: Duration = Duration::from_nanos(1_500);

#[test]
#[ignore = "measures: only a release build tells anything"]
fn a_span_is_queued_mapped_and_encoded_within_its_share_of_the_budget() {
    const ROUNDS: u32 = 400;
    let batch: Vec<_> = (0..50).flat_map(|_| checkout()).collect();
    let spans = ROUNDS * u32::try_from(batch.len()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let queue = Queue::new(BatchSettings {
        max_queue: 500,
        max_batch: 500,
        delay: None,
    });
    let (mut proto, mut json, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..ROUNDS {
        let batch = batch.clone();
        let begun = cpu_time();
        assert_eq!(queue.offer(batch), 0);
        let taken = runtime.block_on(queue.next_batch()).unwrap();
        let request = mapping::request(taken, &host());
        bytes = request.encode_to_vec().len();
        proto += cpu_time() - begun;
        let begun = cpu_time();
        json::encode(&request);
        json += cpu_time() - begun;
    }
    println!(
        "OTLP: {:?} a span, {} bytes; JSON: {:?} more",
        proto / spans,
        bytes / 500,
        json / spans
    );
    assert!(proto / spans <= SHARE, "{:?}", proto / spans);
}

/// What this thread has used of a processor; unlike the time on the wall, others do not change it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
