//! Writes what the fuzzers begin with, a folder a target: `seeds FOLDER RECORDINGS`. What is right gets them to where it hurts.

use std::path::Path;
use std::{env, fs, io};

use fuzz::elf;
use fuzz::http2::{By, Choices, Conversation};
use tracer_agent::testing::hpack::{Encoder, Wish};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(folder), Some(recordings)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("seeds FOLDER RECORDINGS"));
    };
    let folder = Path::new(&folder);
    for (target, seeds) in [
        ("elf", elves()),
        ("grpc", (0..32).map(|number| choices(number, 400)).collect()),
        ("hpack", (0..16).map(blocks).collect()),
        ("http1", http1()),
        ("http2", (0..16).map(calls).collect()),
        ("pcap", captures(Path::new(&recordings))?),
        ("redaction", conversations()),
    ] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (place, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(place.to_string()), seed)?;
        }
    }
    Ok(())
}

/// Bytes that differ from each other, the same in every run.
fn choices(number: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    let rest = (0..len).map(next);
    [number].into_iter().chain(rest).collect()
}

fn elves() -> Vec<Vec<u8>> {
    let info = elf::build_info("go1.26.8", "v1.78.0");
    let old = elf::build_info("go1.18", "v1.36.0");
    let names = [
        "SSL_do_handshake",
        "SSL_read",
        "SSL_read_ex",
        "SSL_write",
        "SSL_write_ex",
        "SSL_free",
    ];
    let gnutls = [
        "gnutls_handshake",
        "gnutls_record_recv",
        "gnutls_record_send",
        "gnutls_deinit",
    ];
    let mut seeds = vec![
        with(0, &elf::go(&info, &elf::table())),
        with(1, &elf::table()),
        with(2, &info),
        with(2, &old),
    ];
    for (symbols, names) in [elf::symbols(&names), elf::symbols(&gnutls)] {
        let len = (symbols.len() as u16).to_le_bytes();
        seeds.push(with(0, &elf::library(&symbols, &names)));
        seeds.push(with(3, &[&len[..], &symbols, &names].concat()));
    }
    seeds
}

fn with(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first], rest].concat()
}

/// Header blocks, some of which are missed by some.
fn blocks(number: u8) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let chosen = choices(number, 600);
    let mut choices = Choices::new(&chosen);
    let mut seed = Vec::new();
    while !choices.is_over() {
        let wishes: Vec<_> = (0..choices.below(5))
            .map(|_| Wish {
                name: [&b":path"[..], b":status", b"cookie", b"x-a", b"grpc-status"][choices.below(5)]
                    .to_vec(),
                value: [&b""[..], b"/", b"200", b"a", b"a longer one"][choices.below(5)].to_vec(),
                way: usize::from(choices.byte()),
                coded_name: choices.below(2) == 1,
                coded_value: choices.below(2) == 1,
            })
            .collect();
        let sizes: &[usize] = [&[][..], &[], &[], &[0, 200], &[4_096]][choices.below(5)];
        let (block, _) = encoder.block(sizes, &wishes);
        seed.push(63 << 2 | choices.byte() & 3);
        seed.extend((block.len() as u16).to_le_bytes());
        seed.extend(block);
    }
    seed
}

/// What is said, as the calls that `fuzz::Calls` reads.
fn calls(number: u8) -> Vec<u8> {
    let chosen = choices(number, 300);
    let mut choices = Choices::new(&chosen);
    let mut conversation = Conversation::default();
    let is_server = number & 1 != 0;
    let mut seed = vec![number & 1];
    while !choices.is_over() {
        let (by, bytes) = conversation.says(&mut choices);
        call(&mut seed, (by == By::Client) != is_server, &bytes);
    }
    seed
}

fn call(seed: &mut Vec<u8>, sent: bool, bytes: &[u8]) {
    let [low, high] = (bytes.len().min(0xfff) as u16).to_le_bytes();
    seed.extend([if sent { 0x80 } else { 0 } | high, low]);
    seed.extend(&bytes[..bytes.len().min(0xfff)]);
}

fn http1() -> Vec<Vec<u8>> {
    let conversations: [&[(bool, &str)]; 4] = [
        &[
            (false, "GET /cart/7?user=a HTTP/1.1|Host: h:80|User-Agent: curl||"),
            (true, "HTTP/1.1 200 OK|Content-Length: 5||hello"),
            (
                false,
                "HEAD / HTTP/1.1|Host: h|traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01||",
            ),
            (true, "HTTP/1.1 304 Not Modified|Content-Length: 5||"),
        ],
        &[
            (
                false,
                "POST /a HTTP/1.1|Transfer-Encoding: chunked|Expect: 100-continue||",
            ),
            (true, "HTTP/1.1 100 Continue||"),
            (false, "5|hello|0||"),
            (
                true,
                "HTTP/1.1 200 OK|Transfer-Encoding: chunked||a;x=y|0123456789|0|Trailer: t||",
            ),
        ],
        &[
            (
                false,
                "GET /1 HTTP/1.1||GET /2 HTTP/1.1|Cookie: a=b| c||GET /3 HTTP/1.0||",
            ),
            (
                true,
                "HTTP/1.1 204 No Content||HTTP/1.1 200 OK|Content-Length: 2||okHTTP/1.1 500 Oops|Connection: close||rest",
            ),
        ],
        &[
            (false, "CONNECT h:443 HTTP/1.1||"),
            (true, "HTTP/1.1 200 OK||"),
            (false, "GET / HTTP/1.1|Upgrade: websocket||"),
        ],
    ];
    let seed = |said: &&[(bool, &str)]| {
        let mut seed = vec![1];
        for (sent, text) in *said {
            call(&mut seed, *sent, text.replace('|', "\r\n").as_bytes());
        }
        seed
    };
    conversations.iter().map(seed).collect()
}

fn conversations() -> Vec<Vec<u8>> {
    let of = |first: u8, seeds: Vec<Vec<u8>>| seeds.into_iter().map(move |seed| with(first | 4, &seed[1..]));
    let right = |first| of(first, (0..16).map(|number| choices(number, 300)).collect());
    let frames = (0..8).map(|place| calls(2 * place + 1)).collect();
    of(1, http1())
        .chain(of(2, frames))
        .chain(right(3))
        .chain(right(3 | 32))
        .collect()
}

fn captures(recordings: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(recordings)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            seeds.push(with(0, &fs::read(path)?));
        }
    }
    Ok(seeds)
}
