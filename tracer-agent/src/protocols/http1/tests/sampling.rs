//! Requests that their callers do not sample: found in the kernel, left uncaptured, and still there for what they cause.

use std::env;

use tracer_common::{framer::Waiting, record::data_flags, testing::Stream};

use super::super::head::{Head, read};
use super::Settings;
use crate::{
    protocols::exchange::{ContextFormat, Sampled},
    testing::{
        End,
        Way::{Received, Sent},
    },
};

/// Heads that are compared; another number by this variable.
const HEADS: &str = "TRACER_TEST_HEADS";
const USUAL_HEADS: u64 = 20_000;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn digits(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(b"0123456789abcdef"[self.below(16)]))
            .collect()
    }

    /// The value of a `traceparent`: mostly valid, or nearly.
    fn value(&mut self) -> Vec<u8> {
        let version = self.of(&["00", "00", "00", "01", "cc", "ff", "0f", "f0"]);
        let trace = if self.one_in(12) {
            "0".repeat(32)
        } else {
            self.digits(32)
        };
        let parent = if self.one_in(12) {
            "0".repeat(16)
        } else {
            self.digits(16)
        };
        let flags = self.digits(2);
        let more = self.of(&["", "", "", "", "-", "-x y", ".", "0"]);
        let mut value = format!("{version}-{trace}-{parent}-{flags}{more}").into_bytes();
        if self.one_in(6) {
            let at = self.below(value.len());
            match self.below(4) {
                0 => value[at] = value[at].to_ascii_uppercase(),
                1 => drop(value.remove(at)),
                2 => value.insert(
                    at,
                    self.of(&[&b' ', &b'\t', &0, &b'-', &b'a', &0x0c, &b'\r', &0xc3])
                        .to_owned(),
                ),
                _ => value[at] = self.next().to_le_bytes()[0],
            }
        }
        value
    }

    /// A `traceparent` line, or one that is nearly one, with its end.
    fn line(&mut self) -> Vec<u8> {
        let name = self.of(&[
            "traceparent",
            "Traceparent",
            "TRACEPARENT",
            "tRaCePaReNt",
            "traceparent",
            "x-traceparent",
            "traceparen",
            "traceparents",
        ]);
        let colon = self.of(&[":", ":", ":", ":", " :", ""]);
        let mut line = [name.as_bytes(), colon.as_bytes()].concat();
        line.extend_from_slice(
            self.of(&[" ", " ", "", "\t", "  \t ", "\r\n ", "\n\t", "                "])
                .as_bytes(),
        );
        line.extend(self.value());
        line.extend_from_slice(self.of(&["", "", "", " ", " \t", "\r\n \t", "\r"]).as_bytes());
        line.extend_from_slice(self.of(&["\r\n", "\r\n", "\n"]).as_bytes());
        line
    }

    fn head(&mut self) -> Vec<u8> {
        let mut head = self
            .of(&[
                "GET / HTTP/1.1\r\n",
                "POST /a/b?c=d HTTP/1.1\r\n",
                "HEAD /x HTTP/1.0\n",
            ])
            .as_bytes()
            .to_vec();
        for _ in 0..self.below(6) {
            if self.one_in(2) {
                head.extend(self.line());
            } else {
                let filler = "v".repeat(self.below(300));
                let other = format!("X-Other: {filler} traceparent: 00-\r\n");
                head.extend_from_slice(other.as_bytes());
            }
        }
        head.extend_from_slice(self.of(&["\r\n", "\r\n", "\n"]).as_bytes());
        head
    }
}

/// What the agent reads in a head; `None` if it cannot, or the head is not for it.
fn says_unsampled(head: &[u8], settings: &Settings) -> Option<bool> {
    match read(head, false, settings)? {
        Head::Request(request) => Some(
            request
                .context
                .parent
                .is_some_and(|parent| parent.format == ContextFormat::W3c && parent.sampled == Sampled::No),
        ),
        Head::Response(_) => None,
    }
}

/// Passes a head in calls that end at these places; whether the kernel side takes it for unsampled, `None` if it is
/// nothing to it.
fn marked(head: &[u8], ends: &[usize], buffers: &[usize]) -> Option<bool> {
    let mut stream = Stream::new(false);
    let mut waiting = Waiting::default();
    let mut from = 0;
    for end in ends.iter().copied().chain([head.len()]) {
        let end = end.clamp(from, head.len());
        if end > from {
            stream.call(&head[from..end], buffers, &mut waiting);
        }
        from = end;
    }
    let last = stream
        .records
        .iter()
        .find(|(record, _)| record.flags & data_flags::HEAD_END != 0);
    let (record, captured) = last?;
    let unsampled = record.flags & data_flags::UNSAMPLED_REQUEST != 0;
    assert!(!unsampled || captured.is_empty());
    Some(unsampled)
}

#[test]
fn the_kernel_side_and_the_agent_agree_on_who_is_sampled() {
    let heads = env::var(HEADS).map_or(USUAL_HEADS, |heads| heads.parse().unwrap());
    let settings = Settings::default();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut unsampled = 0;
    for number in 0..heads {
        let head = dice.head();
        let Some(expected) = says_unsampled(&head, &settings) else {
            continue;
        };
        unsampled += u64::from(expected);
        let mut ends: Vec<_> = (0..dice.below(4)).map(|_| dice.below(head.len())).collect();
        ends.sort_unstable();
        let buffers: Vec<_> = (0..dice.below(4)).map(|_| dice.below(100)).collect();
        let found = marked(&head, &ends, &buffers);
        let told = || {
            format!(
                "head {number} {:?} cut at {ends:?}, buffers {buffers:?}",
                String::from_utf8_lossy(&head)
            )
        };
        assert_eq!(found, Some(expected), "{}", told());
        if number % 500 == 0 {
            for at in 0..head.len() {
                assert_eq!(
                    marked(&head, &[at], &[]),
                    Some(expected),
                    "cut at {at}: {}",
                    told()
                );
                assert_eq!(
                    marked(&head, &[], &[at]),
                    Some(expected),
                    "buffer to {at}: {}",
                    told()
                );
            }
            let every: Vec<_> = (0..head.len()).collect();
            assert_eq!(marked(&head, &every, &[]), Some(expected), "{}", told());
        }
    }
    assert!(
        unsampled > heads / 20,
        "only {unsampled} of {heads} are unsampled"
    );
}

#[test]
fn a_body_says_nothing_of_sampling() {
    let line = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";
    let whole = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{line}", line.len());
    assert_eq!(marked(whole.as_bytes(), &[], &[]), Some(false));
    let whole = format!("GET / HTTP/1.1\r\n{line}\r\n");
    assert_eq!(marked(whole.as_bytes(), &[], &[]), Some(true));
}

#[test]
fn an_unsampled_exchange_is_there_without_its_heads() {
    let end = |flags| data_flags::MESSAGE_END | flags;
    let script = End::accepted(2)
        .data(
            Received,
            &[],
            200,
            data_flags::HEAD
                | data_flags::HEAD_START
                | data_flags::HEAD_END
                | end(data_flags::UNSAMPLED_REQUEST),
        )
        .data(
            Sent,
            &[],
            100,
            data_flags::HEAD
                | data_flags::HEAD_START
                | data_flags::HEAD_END
                | end(data_flags::UNSAMPLED_RESPONSE),
        )
        .receive("GET /seen HTTP/1.1", 0)
        .send("HTTP/1.1 200 OK|Content-Length: 2", 2);
    let outcome = super::run(&script);
    let ended = outcome.ended();
    let of: Vec<_> = ended
        .iter()
        .map(|(exchange, ending)| (exchange.unseen, exchange.context.decision, ending.incomplete))
        .collect();
    assert_eq!(of, [(true, Some(Sampled::No), false), (false, None, false)]);
    assert_eq!(outcome.counters.requests_unparsable, 0);
    assert_eq!(outcome.counters.responses_unparsable, 0);
}
