//! What the stage costs a span: `cargo test --release -p tracer-agent --lib sampling::tail::tests::cost -- --ignored --nocapture`.

use std::{hint::black_box, time::Duration};

use super::*;

const TRACES: u64 = 2_000;
const SPANS: u64 = 5;
const ROUNDS: u64 = 100;

/// Traces of five spans that end one a millisecond, each under the request that ends last; one in a hundred has an error.
fn traces(round: u64) -> Vec<Span> {
    let numbers = round * TRACES..(round + 1) * TRACES;
    let of = |number: u64| {
        let trace = trace(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8);
        let (end, request) = (SECOND + number * MILLISECOND, number * SPANS + 1);
        let calls = (1..SPANS).map(move |call| {
            let call = under(request, span(trace, request + call, end - 900_000, end - 500_000));
            if number.is_multiple_of(100) {
                failed(call)
            } else {
                call
            }
        });
        calls.chain([span(trace, request, end - 1_000_000, end)])
    };
    numbers.flat_map(of).collect()
}

/// What this thread has used of a processor; unlike the time on the wall, others do not change it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// What a span costs, and the most that was held, of a million.
fn cost(settings: Option<Settings>) -> (Duration, usize, usize) {
    let mut tail = settings.map(Tail::new);
    let (mut spent, mut out, mut held, mut kept) = (Duration::ZERO, Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        let spans = traces(round);
        let begun = cpu_time();
        for span in spans {
            let (is_local, end) = (span.parent.is_some(), BootNanos(span.end_unix_ns));
            match &mut tail {
                Some(tail) => tail.push(span, is_local, end, &mut out),
                None => out.push(span),
            }
        }
        spent += cpu_time() - begun;
        held = held.max(tail.as_ref().map_or(0, |tail| tail.held.spans()));
        kept += out.len();
        black_box(&out);
        out.clear();
    }
    let spans = u32::try_from(TRACES * SPANS * ROUNDS).unwrap();
    (spent / spans, held, kept)
}

#[test]
#[ignore = "measures: only a release build tells anything"]
fn a_span_is_decided_within_a_microsecond() {
    println!("a span takes {} bytes without its texts", size_of::<Span>());
    for text in [
        None,
        Some("errors"),
        Some("errors,ratio=0.05"),
        Some("errors,slow=500ms,slow=p99,ratio=0.05,rate=100"),
        Some("ratio=1"),
    ] {
        let (cost, held, kept) = cost(text.map(|text| text.parse().unwrap()));
        println!(
            "{}: {cost:?} a span, {held} held, {kept} kept",
            text.unwrap_or("off")
        );
        assert!(cost < Duration::from_micros(1), "{text:?}: {cost:?}");
    }
}
