//! However a conversation is cut into segments and whatever becomes of their order, the exchanges are the same; what
//! is lost never makes a wrong one.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    served, spans, whole,
    wire::{Conversation, START, STEP, Sent},
};

/// One exchange of each kind of framing; `n` is in its path and its status.
fn exchange(kind: u8, n: usize, len: usize) -> (Vec<u8>, Vec<u8>, &'static str, i64) {
    let status = 200 + i64::try_from(n).unwrap();
    let head =
        |method: &str, more: &str| format!("{method} /{n} HTTP/1.1\r\nhost: x\r\n{more}\r\n").into_bytes();
    let line = |more: &str| format!("HTTP/1.1 {status} Fine\r\n{more}\r\n").into_bytes();
    let body = vec![b'x'; len];
    let with_length =
        |method: &str| [head(method, &format!("content-length: {len}\r\n")), body.clone()].concat();
    let long = [line(&format!("Content-Length: {len}\r\n")), body.clone()].concat();
    match kind % 4 {
        0 => (head("GET", ""), long, "GET", status),
        1 => (head("HEAD", ""), line("content-length: 77\r\n"), "HEAD", status),
        2 => {
            let chunk = format!("{len:x}\r\n").into_bytes();
            let end: &[u8] = if len == 0 { b"\r\n" } else { b"\r\n0\r\n\r\n" };
            let chunked = [
                line("transfer-encoding: chunked\r\n"),
                chunk,
                body.clone(),
                end.to_vec(),
            ]
            .concat();
            (with_length("PUT"), chunked, "PUT", status)
        }
        _ => (with_length("POST"), line("content-length: 0\r\n"), "POST", status),
    }
}

fn conversation(kinds: &[(u8, usize)], sizes: &[usize], isn: [u32; 2]) -> Conversation {
    let [client, server] = isn;
    let mut sizes = sizes.iter().cycle();
    let mut conversation = Conversation::begun_at(client, server);
    for (n, (kind, len)) in kinds.iter().enumerate() {
        let (request, response, ..) = exchange(*kind, n, *len);
        for (is_request, mut rest) in [(true, request.as_slice()), (false, response.as_slice())] {
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                conversation = if is_request {
                    conversation.request(piece)
                } else {
                    conversation.response(piece)
                };
                rest = after;
            }
        }
    }
    conversation
}

fn expected(kinds: &[(u8, usize)]) -> Vec<(String, String, Option<i64>, bool)> {
    let told = kinds.iter().enumerate().map(|(n, (kind, len))| {
        let (_, _, method, status) = exchange(*kind, n, *len);
        whole(method, &format!("/{n}"), status)
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

/// What passes again, from some bytes earlier on.
fn again(segments: &[Sent], which: &[(Index, usize)]) -> Vec<Sent> {
    let repeat = |(which, back): &(Index, usize)| {
        let sent = which.get(segments).clone();
        let before = segments.iter().find(|other| {
            other.is_of_client == sent.is_of_client
                && !other.payload.is_empty()
                && other
                    .seq
                    .wrapping_add(u32::try_from(other.payload.len()).unwrap())
                    == sent.seq
        });
        let Some(before) = before else { return sent };
        let back = (*back).min(before.payload.len());
        let tail = &before.payload[before.payload.len() - back..];
        Sent {
            seq: sent.seq.wrapping_sub(u32::try_from(back).unwrap()),
            payload: [tail, &sent.payload].concat(),
            ..sent
        }
    };
    which.iter().map(repeat).collect()
}

fn kinds() -> impl Strategy<Value = Vec<(u8, usize)>> {
    vec((any::<u8>(), 0..60_usize), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_with_repeats_and_overlaps_gives_the_same_exchanges(
        kinds in kinds(),
        sizes in vec(1..200_usize, 1..8),
        isn in any::<[u32; 2]>(),
        near_wrap in any::<bool>(),
        repeats in vec((any::<Index>(), 0..50_usize), 0..12),
        order in vec(any::<u32>(), 0..400),
    ) {
        let isn = if near_wrap { [u32::MAX - 40, u32::MAX - 3] } else { isn };
        let all = conversation(&kinds, &sizes, isn).segments;
        let (handshake, said) = all.split_at(3);
        let mut said = [said, &again(said, &repeats)].concat();
        let mut keys = order.iter().copied().chain(std::iter::repeat(0));
        said.sort_by_cached_key(|_| keys.next());
        for (place, sent) in said.iter_mut().enumerate() {
            // All within the second that bytes may be late.
            sent.at = START + 10 * STEP + u64::try_from(place).unwrap() * STEP / 4;
        }
        let (spans, counters) = spans(&[handshake, &said].concat());
        prop_assert_eq!(served(&spans), expected(&kinds));
        prop_assert_eq!((counters.holes, counters.early_over_bound), (0, 0));
        prop_assert_eq!(spans.len(), 2 * kinds.len());
    }

    #[test]
    fn what_is_lost_never_makes_a_wrong_exchange(
        kinds in kinds(),
        sizes in vec(1..200_usize, 1..8),
        losses in vec(any::<Index>(), 1..6),
        from in 0..6_usize,
        pause in prop::sample::select(vec![STEP, 300 * STEP, 2_000 * STEP]),
    ) {
        let mut segments = conversation(&kinds, &sizes, [7, u32::MAX - 100]).finished().segments;
        segments.drain(..from.min(segments.len()));
        for (place, sent) in segments.iter_mut().enumerate() {
            sent.at = START + u64::try_from(place).unwrap() * pause;
        }
        for lost in losses {
            if segments.len() > 1 {
                segments.remove(lost.index(segments.len()));
            }
        }
        let (spans, _) = spans(&segments);
        let truth = expected(&kinds);
        for (method, path, status, is_incomplete) in served(&spans) {
            let of_path = truth.iter().find(|(_, known, ..)| *known == path);
            let Some((known, _, answer, _)) = of_path else {
                return Err(TestCaseError::fail(format!("no such request: {path}")));
            };
            prop_assert_eq!(&method, known);
            prop_assert!(status.is_none() || status == *answer, "{} {:?}", path, status);
            prop_assert!(status.is_some() || is_incomplete, "{} has no response and says nothing", path);
        }
    }

    #[test]
    fn segments_that_nobody_would_send_do_no_harm(
        segments in vec((any::<bool>(), 0..0x40_u8, any::<u16>(), any::<u16>(), 0..3_u8, 0..40_usize, any::<u8>()), 0..60),
    ) {
        let segments: Vec<_> = segments.into_iter().enumerate().map(|(place, (is_of_client, flags, seq, ack, far, len, port))| Sent {
            at: START + u64::try_from(place).unwrap() * u64::from(seq) * 50_000,
            is_of_client,
            hosts: [1, 2],
            ports: [40_000 + u16::from(port % 2), 80],
            seq: u32::from(seq) << (8 * far),
            ack: u32::from(ack) << (8 * far),
            flags,
            payload: b"GET / HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"[..len.min(37)].to_vec(),
        }).collect();
        spans(&segments);
    }
}
