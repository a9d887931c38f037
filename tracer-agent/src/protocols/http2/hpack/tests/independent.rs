//! Against an encoder that others wrote: h2's, behind its client.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    env,
    future::Future as _,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::{self, Connection, SendRequest};
use hyper::{
    HeaderMap, Request, Uri,
    header::{HeaderName, HeaderValue},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Decoder;

/// Header blocks that are compared; another number by this variable.
const BLOCKS: &str = "TRACER_TEST_HPACK";
const USUAL_BLOCKS: u64 = 4_000;
/// Of each connection, about.
const CONNECTION_BLOCKS: u64 = 300;

const PREFACE: usize = 24;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A field that was given to the encoder, and whether it was said to be a secret.
type Sent = (Vec<u8>, Vec<u8>, bool);

#[test]
fn what_h2_encodes_is_decoded_and_never_wrong_for_who_missed_some() {
    let wanted = env::var(BLOCKS).map_or(USUAL_BLOCKS, |count| count.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut tally = Tally::default();
    while tally.blocks < wanted {
        connection(&mut dice, &mut tally);
    }
    println!("{tally:?}");
    // Who misses every tenth block still knows most, and who comes late knows it in the end.
    assert!(tally.late_known * 10 > tally.late * 9, "{tally:?}");
    assert!(tally.missing_known * 10 > tally.missing * 8, "{tally:?}");
}

#[derive(Debug, Default)]
struct Tally {
    blocks: u64,
    /// Parts of fields, names and values, that who came late was given, and how many were known.
    late: u64,
    late_known: u64,
    /// The same of who misses every tenth block.
    missing: u64,
    missing_known: u64,
}

fn connection(dice: &mut Dice, tally: &mut Tally) {
    let mut client = Client::new();
    let pool = Pool::new(dice);
    let joins = dice.below(200);
    let (mut whole, mut late, mut missing) = (Decoder::new(false), Decoder::new(true), Decoder::new(false));
    let mut place = 0;
    for _ in 0..CONNECTION_BLOCKS / 10 {
        if dice.one_in(8) {
            let sizes = [0, 1, 60, 200, 1_000, 4_095, 4_096, 100_000];
            client.announce_table(sizes[dice.below(sizes.len())]);
        }
        for (block, sent) in client.exchange(dice, &pool) {
            tally.blocks += 1;
            place += 1;
            assert_eq!(decoded(&mut whole, &block, &sent), sent.len() * 2, "{block:02x?}");
            if place > joins {
                tally.late += sent.len() as u64 * 2;
                tally.late_known += decoded(&mut late, &block, &sent) as u64;
            }
            if dice.one_in(10) {
                missing.lose();
            } else {
                tally.missing += sent.len() as u64 * 2;
                tally.missing_known += decoded(&mut missing, &block, &sent) as u64;
            }
        }
    }
}

/// How many names and values were decoded, of which none may be wrong.
fn decoded(decoder: &mut Decoder, block: &[u8], sent: &[Sent]) -> usize {
    let mut left = sent.iter();
    let mut known = 0;
    let result = decoder.block(block, |field| {
        let (name, value, secret) = left.next().unwrap();
        assert!(field.name.is_none_or(|found| found == name), "{field:?} {name:?}");
        assert!(
            field.value.is_none_or(|found| found == value),
            "{field:?} {value:?}"
        );
        assert!(*secret || !field.never_indexed, "{field:?}");
        known += usize::from(field.name.is_some()) + usize::from(field.value.is_some());
    });
    assert_eq!((result, left.count()), (Ok(()), 0), "{block:02x?}");
    known
}

/// h2's client, of which every byte is taken, and nothing answered but settings.
struct Client {
    wire: Wire,
    requests: SendRequest<Bytes>,
    connection: Connection<Wire>,
    /// What was given to each stream's encoder, in order.
    sent: HashMap<u32, VecDeque<Vec<Sent>>>,
}

impl Client {
    fn new() -> Self {
        let wire = Wire::default();
        let builder = client::Builder::new();
        let handshake = pin!(builder.handshake(wire.clone()));
        let Poll::Ready(Ok((requests, connection))) = handshake.poll(&mut cx()) else {
            panic!("no connection");
        };
        let mut new = Self {
            wire,
            requests,
            connection,
            sent: HashMap::new(),
        };
        // Empty settings.
        new.wire.tell(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        new.run();
        new.wire.take().drain(..PREFACE);
        new
    }

    /// Sends the setting that makes the client say a size of the table in its next block.
    fn announce_table(&mut self, max: u32) {
        let mut settings = vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1];
        settings.extend(max.to_be_bytes());
        self.wire.tell(&settings);
        self.run();
    }

    fn run(&mut self) {
        let state = Pin::new(&mut self.connection).poll(&mut cx());
        assert!(state.is_pending(), "{state:?}");
    }

    /// Makes some requests at once; their header blocks as they were sent, and what was given for each.
    fn exchange(&mut self, dice: &mut Dice, pool: &Pool) -> Vec<(Vec<u8>, Vec<Sent>)> {
        let mut open = Vec::new();
        for _ in 0..=dice.below(18) {
            let request = pool.request(dice);
            let trailers = dice.one_in(6).then(|| pool.headers(dice));
            let mut given = VecDeque::from([sent(&request)]);
            let ready = self.requests.poll_ready(&mut cx());
            assert!(matches!(ready, Poll::Ready(Ok(()))), "{ready:?}");
            let (response, mut body) = self.requests.send_request(request, trailers.is_none()).unwrap();
            if let Some(trailers) = trailers {
                given.push_back(fields(&trailers));
                body.send_trailers(trailers).unwrap();
            }
            self.sent.insert(response.stream_id().as_u32(), given);
            open.push((response, body));
        }
        self.run();
        drop(open);
        self.run();
        let bytes = self.wire.take();
        self.blocks(&bytes)
    }

    fn blocks(&mut self, mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<Sent>)> {
        let mut blocks = Vec::new();
        let mut block = Vec::new();
        while let Some((&[high, middle, low, kind, flags, a, b, c, d], rest)) = bytes.split_first_chunk() {
            let len = u32::from_be_bytes([0, high, middle, low]);
            let (payload, rest) = rest.split_at(len.try_into().unwrap());
            bytes = rest;
            if matches!(kind, HEADERS | CONTINUATION) {
                block.extend(payload);
                if flags & END_HEADERS != 0 {
                    let stream = self.sent.get_mut(&u32::from_be_bytes([a, b, c, d])).unwrap();
                    blocks.push((std::mem::take(&mut block), stream.pop_front().unwrap()));
                }
            }
        }
        blocks
    }
}

/// The fields of a request in the order in which h2 sends them.
fn sent(request: &Request<()>) -> Vec<Sent> {
    let uri = request.uri();
    let mut all = vec![
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str().unwrap()),
        (":authority", uri.authority().unwrap().as_str()),
        (":path", uri.path_and_query().unwrap().as_str()),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.into(), false))
    .collect::<Vec<Sent>>();
    all.extend(fields(request.headers()));
    all
}

fn fields(headers: &HeaderMap) -> Vec<Sent> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().into(),
                value.as_bytes().into(),
                value.is_sensitive(),
            )
        })
        .collect()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What the program of a connection sends: some names and values again and again, some only once.
struct Pool {
    names: Vec<HeaderName>,
    values: Vec<HeaderValue>,
    paths: Vec<String>,
}

impl Pool {
    fn new(dice: &mut Dice) -> Self {
        let mut names: Vec<_> = [
            "accept",
            "content-type",
            "cookie",
            "date",
            "grpc-timeout",
            "tracestate",
            "traceparent",
            "user-agent",
        ]
        .map(HeaderName::from_static)
        .to_vec();
        for _ in 0..dice.below(20) {
            // None that h2 keeps for itself (`te`).
            let mut name = b"x".to_vec();
            name.resize_with(1 + dice.below(30), || {
                b"abcdefghijklmnopqrstuvwxyz0123456789-_."[dice.below(39)]
            });
            names.push(HeaderName::from_bytes(&name).unwrap());
        }
        Self {
            names,
            values: (0..=dice.below(30)).map(|_| dice.value()).collect(),
            paths: (0..=dice.below(6))
                .map(|number| format!("/{}/{number}", "p".repeat(dice.below(40))))
                .collect(),
        }
    }

    fn request(&self, dice: &mut Dice) -> Request<()> {
        let scheme = ["http", "https"][dice.below(2)];
        let host = ["shop", "shop:8080", "www.example.com"][dice.below(3)];
        let uri = format!("{scheme}://{host}{}", self.paths[dice.below(self.paths.len())]);
        let mut request = Request::new(());
        *request.method_mut() = ["GET", "POST", "DELETE"][dice.below(3)].parse().unwrap();
        *request.uri_mut() = Uri::try_from(uri).unwrap();
        *request.headers_mut() = self.headers(dice);
        request
    }

    fn headers(&self, dice: &mut Dice) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for _ in 0..dice.below(14) {
            let name = self.names[dice.below(self.names.len())].clone();
            let mut value = if dice.one_in(4) {
                dice.value()
            } else {
                self.values[dice.below(self.values.len())].clone()
            };
            value.set_sensitive(dice.one_in(20));
            headers.append(name, value);
        }
        headers
    }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Text, or any bytes that h2 takes in a value; now and then larger than the table or a frame.
    fn value(&mut self) -> HeaderValue {
        let len = match self.below(400) {
            0 => self.below(20_000),
            1..20 => self.below(1_000),
            _ => self.below(40),
        };
        let text = self.one_in(2);
        let value: Vec<u8> = (0..len)
            .map(|_| match u8::try_from(self.below(224)).unwrap() + 32 {
                byte if text => b'a' + byte % 26,
                0x7f => b'\t',
                byte => byte,
            })
            .collect();
        HeaderValue::from_bytes(&value).unwrap()
    }
}

/// Both directions of a connection, in memory.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Directions>>);

#[derive(Default)]
struct Directions {
    to_client: VecDeque<u8>,
    from_client: Vec<u8>,
}

impl Wire {
    fn tell(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_client.extend(bytes);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().from_client)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let waiting = &mut self.0.borrow_mut().to_client;
        let len = waiting.len().min(into.remaining());
        if len == 0 {
            return Poll::Pending;
        }
        into.put_slice(&waiting.drain(..len).collect::<Vec<u8>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().from_client.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
