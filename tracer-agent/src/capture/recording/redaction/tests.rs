mod conversations;
mod frames;
mod leaks;

use proptest::prelude::*;
use tracer_common::record::{DataRecord, data_flags as flag, kind};

use super::{MAX_HEADS, Redactor};
use crate::{capture::record::Record, privacy::Privacy};

/// A data record as the kernel side writes it.
pub(in crate::capture::recording) fn data(
    connection: u64,
    offset: u64,
    flags: u32,
    captured: &[u8],
) -> Vec<u8> {
    let len = u32::try_from(captured.len()).unwrap();
    let size = u32::try_from(size_of::<DataRecord>()).unwrap() + len;
    let mut bytes = Vec::new();
    bytes.extend(kind::DATA.to_ne_bytes());
    bytes.extend(size.to_ne_bytes());
    for word in [connection, offset, u64::from(len), 1, 2, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in [10, 11, 99, flags, len, 0] {
        bytes.extend(u32::to_ne_bytes(word));
    }
    bytes.extend([0; 16]);
    bytes.extend(captured);
    bytes
}

fn captured(record: &[u8]) -> &[u8] {
    match Record::decode(record) {
        Ok(Record::Data(data)) => data.captured,
        other => panic!("{other:?}"),
    }
}

/// The head in pieces that end at `cuts`, masked and put together again.
fn masked(head: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut cuts: Vec<_> = cuts
        .iter()
        .map(|cut| cut % (head.len() + 1))
        .chain([0, head.len()])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut redactor = Redactor::new(Privacy::default());
    let mut out = Vec::new();
    for piece in cuts.windows(2) {
        let mut flags = flag::HEAD;
        flags |= if piece[0] == 0 { flag::HEAD_START } else { 0 };
        flags |= if piece[1] == head.len() { flag::HEAD_END } else { 0 };
        let mut record = data(1, 1000 + piece[0] as u64, flags, &head[piece[0]..piece[1]]);
        redactor.redact(&mut record);
        out.extend(captured(&record));
    }
    assert_eq!(redactor.masked_blind(), 0);
    assert!(redactor.heads.is_empty());
    out
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn a_head_keeps_what_the_core_reads_and_nothing_else() {
    for (head, expected) in [
        // the target
        (
            "GET /a/b?k=secret&l=&m=a=b;c&bare&n=%20 HTTP/1.1\r\n",
            "GET /a/b?k=xxxxxx&l=&m=xxxxx&xxxx&n=xxx HTTP/1.1\r\n",
        ),
        ("GET /a#secret HTTP/1.1\r\n", "GET /a#xxxxxx HTTP/1.1\r\n"),
        (
            "GET /u/me@h.example/7;v=1;bare/9f86d081884c7d659a2feaa0c55ad015?me@h.example=1 HTTP/1.1\r\n",
            "GET /u/xxxxxxxxxxxx/7;v=x;xxxx/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx?xxxxxxxxxxxx=x HTTP/1.1\r\n",
        ),
        (
            "GET http://u:p@h:80/a?k=v HTTP/1.1\r\n",
            "GET http://xxx@h:80/a?k=x HTTP/1.1\r\n",
        ),
        ("GET HTTPS://a@b@h HTTP/1.1\r\n", "GET HTTPS://xxx@h HTTP/1.1\r\n"),
        (
            "GET http://h.example?k=v HTTP/1.1\r\n",
            "GET http://h.example?k=x HTTP/1.1\r\n",
        ),
        ("GET http://@h/ HTTP/1.1\r\n", "GET http://@h/ HTTP/1.1\r\n"),
        ("GET ftp://u:p@h/ HTTP/1.1\r\n", "GET xxxxxxxxxxxx HTTP/1.1\r\n"),
        ("GET hunter2 HTTP/1.1\r\n", "GET hxxxxxx HTTP/1.1\r\n"),
        ("OPTIONS * HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n"),
        (
            "CONNECT h.example:443 HTTP/1.1\r\n",
            "CONNECT h.example:443 HTTP/1.1\r\n",
        ),
        ("CONNECT u:p@h:443 HTTP/1.1\r\n", "CONNECT xxx@h:443 HTTP/1.1\r\n"),
        ("CON u:p@h:443 HTTP/1.1\r\n", "CON xxxxxxxxx HTTP/1.1\r\n"),
        // the rest of the start line
        ("\r\nGET / HTTP/1.0\r\n", "\r\nGET / HTTP/1.0\r\n"),
        ("GET / secret HTTP/1.1\r\n", "GET / xxxxxx HTTP/1.1\r\n"),
        (
            "GET /3 HTTP/1POST /a?b=c  HTTP/1.0\r\n",
            "GET /3 HTTP/1xxxx xxxxxx  HTTP/1.0\r\n",
        ),
        (
            "GET / HTTP/1.1 secret\tHTTP/1.1\r\n",
            "GET / HTTP/1.1 xxxxxx\txxxxxxxx\r\n",
        ),
        (
            "A-METHOD-LONGER-THAN-ANY-THAT-IS-REGISTERED /a?b=c HTTP/1.1\r\n",
            "A-METHOD-LONGER-THAN-ANY-THAT-ISxxxxxxxxxxx /a?b=x HTTP/1.1\r\n",
        ),
        ("GE(T / HTTP/1.1\r\n", "GExx x xxxxxxxx\r\n"),
        ("GET / HTTP/1.1secret\r\n", "GET / HTTP/1.1xxxxxx\r\n"),
        ("HTTP/1.1 404 No secret\r\n", "HTTP/1.1 404 xx xxxxxx\r\n"),
        ("HTTP/1.1 20secret\r\n", "HTTP/1.1 20xxxxxx\r\n"),
        ("\x16\x03secret", "\0\0xxxxxx"),
        // headers
        (
            "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nCookie: xxxx x\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\nCONTENT-length:\t5\nauthorization:Basic YQ==\n\n",
            "GET / HTTP/1.1\nCONTENT-length:\t5\nauthorization:xxxxx xxxx\n\n",
        ),
        (
            "GET / HTTP/1.1\r\nX-Zone: s\r\nHostile: s\r\nHos: s\r\nsecret\r\n",
            "GET / HTTP/1.1\r\nX-xxxx: x\r\nHostxxx: x\r\nHos: x\r\nsecxxx\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost : h\r\n(a): b\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\0x\0: x\r\n",
        ),
        // folded lines
        (
            "GET / HTTP/1.1\r\nCookie: a\r\n b\r\nB3: a\r\n\tb\r\n",
            "GET / HTTP/1.1\r\nCookie: x\r\n x\r\nB3: a\r\n\tb\r\n",
        ),
        ("GET / HTTP/1.1\r\n folded\r\n", "GET / HTTP/1.1\r\n xxxxxx\r\n"),
        // invalid bytes stay invalid, and nothing of a body is known
        (
            "GET /?k=a\x01\x7f HTTP/1.1\r\nCookie: a\x02b\r\n",
            "GET /?k=x\0\0 HTTP/1.1\r\nCookie: x\0x\r\n",
        ),
        (
            "GET / HTTP/1.1\r\n\r\nbody: 1\r\n",
            "GET / HTTP/1.1\r\n\r\nxxxxx x\r\n",
        ),
    ] {
        assert_eq!(text(&masked(head.as_bytes(), &[])), text(expected.as_bytes()));
    }
}

#[test]
fn privacy_says_how_much_of_a_target_is_kept() {
    let head = b"GET http://u:p@h/u/me@h.example;v=1?k=v&b#f HTTP/1.1\r\nUser-Agent: curl\r\n\r\n";
    for (privacy, expected) in [
        (
            Privacy::Strict,
            "GET http://xxx@h/x/xxxxxxxxxxxx;xxx?xxx&xxx HTTP/1.1\r\nUser-Agent: xxxx\r\n\r\n",
        ),
        (
            Privacy::Open,
            "GET http://xxx@h/u/me@h.example;v=1?k=v&b#x HTTP/1.1\r\nUser-Agent: curl\r\n\r\n",
        ),
    ] {
        let flags = flag::HEAD | flag::HEAD_START | flag::HEAD_END;
        let mut record = data(1, 0, flags, head);
        Redactor::new(privacy).redact(&mut record);
        assert_eq!(text(captured(&record)), text(expected.as_bytes()));
    }
}

#[test]
fn a_piece_that_does_not_continue_a_remembered_head_is_masked_whole() {
    let start = data(1, 0, flag::HEAD | flag::HEAD_START, b"GET / HTTP/1.1\r\n");
    let rest = |connection, offset, flags| data(connection, offset, flags, b"Host: h\r\n\r\n");
    let cases = [
        ("it continues", rest(1, 16, flag::HEAD), "Host: h\r\n\r\n"),
        ("a hole before it", rest(1, 17, flag::HEAD), "xxxxx x\r\n\r\n"),
        ("another connection", rest(2, 16, flag::HEAD), "xxxxx x\r\n\r\n"),
        (
            "another direction",
            rest(1, 16, flag::HEAD | flag::SENT),
            "xxxxx x\r\n\r\n",
        ),
        (
            "unknown bytes",
            rest(1, 16, flag::HEAD | flag::UNKNOWN),
            "xxxxx x\r\n\r\n",
        ),
        ("not a head", rest(1, 16, 0), "xxxxx x\r\n\r\n"),
    ];
    for (case, mut record, expected) in cases {
        let mut redactor = Redactor::new(Privacy::default());
        redactor.redact(&mut start.clone());
        redactor.redact(&mut record);
        assert_eq!(text(captured(&record)), text(expected.as_bytes()), "{case}");
        assert_eq!(
            redactor.masked_blind(),
            u64::from(expected.starts_with('x')),
            "{case}"
        );
    }
}

#[test]
fn a_head_is_forgotten_at_its_end_at_a_truncation_and_at_the_close() {
    for flags in [flag::HEAD_END, flag::TRUNCATED, flag::OPAQUE] {
        let mut redactor = Redactor::new(Privacy::default());
        redactor.redact(&mut data(1, 0, flag::HEAD | flag::HEAD_START | flags, b"GET /"));
        assert!(redactor.heads.is_empty());
    }
    let mut redactor = Redactor::new(Privacy::default());
    for direction in [0, flag::SENT] {
        redactor.redact(&mut data(
            1,
            0,
            flag::HEAD | flag::HEAD_START | direction,
            b"GET /",
        ));
    }
    assert_eq!(redactor.heads.len(), 2);
    let mut close: Vec<u8> = [kind::CLOSE, 64].into_iter().flat_map(u32::to_ne_bytes).collect();
    close.extend([1u64, 5, 0, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes));
    let before = close.clone();
    redactor.redact(&mut close);
    assert_eq!(close, before);
    assert!(redactor.heads.is_empty());
}

#[test]
fn the_number_of_remembered_heads_is_bounded() {
    let mut redactor = Redactor::new(Privacy::default());
    for connection in 0..MAX_HEADS as u64 + 10 {
        redactor.redact(&mut data(connection, 0, flag::HEAD | flag::HEAD_START, b"GET /"));
    }
    assert_eq!(redactor.heads.len(), MAX_HEADS);
}

#[test]
fn bytes_after_a_record_and_bytes_that_are_no_record_are_masked() {
    let mut record = data(1, 0, flag::HEAD | flag::HEAD_START, b"GET /");
    record.extend(b"secret");
    Redactor::new(Privacy::default()).redact(&mut record);
    assert!(record.ends_with(b"GET /xxxxxx"));

    let mut unknown = [&77u32.to_ne_bytes()[..], &16u32.to_ne_bytes(), b"a secret"].concat();
    Redactor::new(Privacy::default()).redact(&mut unknown);
    assert!(unknown.ends_with(b"xxxxxxxx"));
}

/// A head with a secret wherever one can be, and the places where a split may mask more.
const CANARY_HEAD: &str = "POST http://hunter2:hunter2@shop.example:8080/cart/7?user=hunter2&hunter2&t=hunter2#hunter2 HTTP/1.1\r\n\
    Host: shop.example\r\nAuthorization: Basic hunter2\r\nCookie: sid=hunter2; hunter2\r\n folded hunter2\r\n\
    X-Own: hunter2\r\nhunter2: hunter2\r\nhunter2\r\nContent-Length: 12\r\nTraceparent: 00-1-2-3\r\n\
    Referer: http://h/?a=hunter2\r\n\r\nhunter2";

fn may_be_masked_by_a_split(place: usize) -> bool {
    let target = CANARY_HEAD.find("hunter2").unwrap()..CANARY_HEAD.find('#').unwrap();
    target.contains(&place)
}

proptest! {
    #[test]
    fn however_a_head_is_split_no_secret_stays_and_the_same_bytes_are_masked(cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let head = CANARY_HEAD.as_bytes();
        let whole = masked(head, &[]);
        let split = masked(head, &cuts);
        prop_assert_eq!(whole.len(), head.len());
        for secret in ["hunter2", "unter", "ter2"] {
            prop_assert!(!text(&split).contains(secret), "{}", text(&split));
        }
        for (place, (split, whole)) in split.iter().zip(&whole).enumerate() {
            let masked_more = *split == b'x' && may_be_masked_by_a_split(place);
            prop_assert!(split == whole || masked_more, "byte {place}: {split} {whole}");
        }
    }

    #[test]
    fn every_single_split_of_an_origin_form_head_gives_the_same_bytes(cut: usize, more in prop::collection::vec(any::<usize>(), 0..30)) {
        // Of the path, what a split cuts in two is masked.
        let is_behind_path = |cut: &usize| !(4..=4 + "/cart/7".len()).contains(cut);
        let head = b"GET /cart/7 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nAuthorization: s\r\nX-B3-Sampled: 1\r\n fold\r\n\r\n";
        let whole = masked(head, &[]);
        let within = |cut: usize| Some(cut % (head.len() + 1)).filter(is_behind_path);
        let (cut, more): (Vec<_>, Vec<_>) = (within(cut).into_iter().collect(), more.into_iter().filter_map(within).collect());
        prop_assert_eq!(masked(head, &cut), whole.clone());
        prop_assert_eq!(masked(head, &more), whole);
    }

    #[test]
    fn a_masked_head_parses_as_the_head_did(
        target in "/[a-z]{0,5}(\\?[a-z=&]{0,12})?",
        headers in prop::collection::vec(("(host|cookie|b3|x-own|content-length|a\\(b|a b)", "[ -~\\x01\\t]{0,10}"), 0..6),
    ) {
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        for (name, value) in &headers {
            head.push_str(&format!("{name}:{value}\r\n"));
        }
        head.push_str("\r\n");
        let masked = masked(head.as_bytes(), &[]);
        let (mut before, mut after) = ([httparse::EMPTY_HEADER; 8], [httparse::EMPTY_HEADER; 8]);
        let (mut live, mut replayed) = (httparse::Request::new(&mut before), httparse::Request::new(&mut after));
        prop_assert_eq!(live.parse(head.as_bytes()), replayed.parse(&masked));
        prop_assert_eq!(live.path.map(str::len), replayed.path.map(str::len));
        for (live, replayed) in live.headers.iter().zip(replayed.headers.iter()) {
            prop_assert_eq!(live.value.len(), replayed.value.len());
            if ["host", "b3", "content-length"].contains(&live.name) {
                prop_assert_eq!(live, replayed);
            }
        }
    }

    #[test]
    fn any_bytes_keep_their_length_and_stay_a_record_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0u32..6) {
        if let Some(kind) = bytes.first_chunk_mut() {
            *kind = first.to_ne_bytes();
        }
        if let Some(size) = bytes.get_mut(4..8) {
            size.copy_from_slice(&40u32.to_ne_bytes());
        }
        let mut redacted = bytes.clone();
        Redactor::new(Privacy::default()).redact(&mut redacted);
        prop_assert_eq!(redacted.len(), bytes.len());
        prop_assert_eq!(Record::decode(&bytes).is_ok(), Record::decode(&redacted).is_ok());
    }

    #[test]
    fn any_head_bytes_never_panic_and_keep_line_ends(head in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n :/?=&@#httpHTTP/1.CONNECT".to_vec())], 1..200), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let masked = masked(&head, &cuts);
        for (before, after) in head.iter().zip(&masked) {
            prop_assert!(before == after || (!matches!(before, b'\r' | b'\n') && matches!(after, b'x' | 0)));
        }
    }
}
