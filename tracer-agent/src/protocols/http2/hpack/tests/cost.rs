//! What a block costs: `cargo test --release -p tracer-agent --lib hpack::tests::cost -- --ignored --nocapture`.

use std::{hint::black_box, time::Duration};

use super::{
    Decoder,
    encoder::{integer, string},
};

/// A browser's request in Huffman code, with cookies up to 1 KiB.
const BROWSER: &[(&str, &str)] = &[
    (":method", "GET"),
    (":authority", "www.example.com"),
    (":scheme", "https"),
    (":path", "/products/list?category=books&page=3&sort=price"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("upgrade-insecure-requests", "1"),
    (
        "referer",
        "https://www.example.com/products/list?category=books&page=2",
    ),
];

#[test]
#[ignore = "measures: only a release build tells anything"]
fn blocks_cost_little() {
    // :method, :scheme, content-type, te, user-agent, :authority by index; :path by name; grpc-timeout as a literal.
    let mut first = vec![0x83, 0x86];
    for (name, value) in [
        (":authority", "shop.default.svc.cluster.local:50051"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "grpc-go/1.70.0"),
        ("grpc-timeout", "1S"),
    ] {
        literal(0x40, name, value, &mut first);
    }
    let mut grpc = vec![0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0x04];
    string(b"/shop.Catalogue/GetProduct", true, &mut grpc);
    integer(0, 4, 62, &mut grpc);
    string(b"998m", true, &mut grpc);
    let mut decoder = Decoder::new(false);
    decoder.block(&first, |_| ()).unwrap();
    let spent = cost(&mut decoder, &grpc, 8);
    println!("gRPC request, {} bytes, 8 fields: {spent:?}", grpc.len());
    assert!(spent < Duration::from_micros(1), "{spent:?}");

    let cookie = format!("session={}", "0123456789abcdefXYZ_".repeat(60));
    for (way, kind) in [("no field", 0), ("every field", 0x40)] {
        let mut block = Vec::new();
        for (name, value) in BROWSER {
            literal(kind, name, value, &mut block);
        }
        let left = 1_024 - block.len();
        literal(kind, "cookie", &cookie[..left * 5 / 4], &mut block);
        let spent = cost(&mut Decoder::new(false), &block, BROWSER.len() + 1);
        println!(
            "browser's request, {} bytes in Huffman code, {way} goes into the table: {spent:?}",
            block.len()
        );
        assert!(spent < Duration::from_micros(20), "{spent:?}");
    }
}

fn literal(kind: u8, name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(kind);
    string(name.as_bytes(), true, block);
    string(value.as_bytes(), true, block);
}

/// What a block costs, again and again.
fn cost(decoder: &mut Decoder, block: &[u8], expected: usize) -> Duration {
    const ROUNDS: u32 = 200_000;
    let begun = cpu_time();
    for _ in 0..ROUNDS {
        let mut fields = 0;
        let read = decoder.block(black_box(block), |field| {
            black_box(field);
            fields += 1;
        });
        assert_eq!((read, fields), (Ok(()), expected));
    }
    (cpu_time() - begun) / ROUNDS
}

/// What this thread has used of a processor; unlike the time on the wall, others do not change it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
