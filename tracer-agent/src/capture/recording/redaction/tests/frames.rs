//! Frames of HTTP/2, masked, and what comes of them then.

use proptest::{collection::vec, prelude::*};
use tracer_common::record::{data_flags as flag, frame as kind};

use super::{
    captured,
    conversations::{said, talk},
    data,
    leaks::{assert_nothing_leaks, holds},
};
use crate::{
    capture::{
        record::{Direction, Record},
        recording::redaction::{Redactor, rule::Rule},
    },
    ids::ConnectionId,
    privacy::Privacy,
    protocols::{
        ExchangeEvent,
        http2::{
            hpack::tests::encoder::{Encoder, Wish},
            tests::wire::{END_STREAM, Outcome, Talk, field, fields, frame, headers},
        },
    },
};

/// Later than anything that is said.
const FAR: u64 = 1 << 50;

fn redacted(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut redactor = Redactor::new(Privacy::default());
    let mut records = records.to_vec();
    records.iter_mut().for_each(|record| redactor.redact(record));
    assert_eq!(redactor.masked_blind(), 0);
    records
}

/// What came of records, with what is masked of a value shown alike.
fn shown(records: &[Vec<u8>]) -> Vec<String> {
    let cover = |text: &str, rule: Rule| {
        let mut kept = Vec::new();
        rule.judge(text.as_bytes(), Privacy::Default, &mut kept);
        let bytes = text.bytes().zip(&kept);
        let bytes: Vec<u8> = bytes
            .map(|(byte, is_kept)| if *is_kept { byte } else { b'x' })
            .collect();
        bytes.escape_ascii().to_string()
    };
    let mut shown = Vec::new();
    for mut event in Outcome::of(records, FAR).into_events() {
        if let ExchangeEvent::Begun(begun) = &mut event {
            begun.request.target = cover(&begun.request.target, Rule::Target).into();
            begun.request.host = begun
                .request
                .host
                .take()
                .map(|host| cover(&host, Rule::Authority).into());
        }
        shown.push(format!("{event:?}"));
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_masked_conversation_gives_the_same_exchanges_and_holds_no_secret(numbers in vec(any::<u16>(), 6..120)) {
        let live = talk(&said(&numbers), &[]).records();
        let masked = redacted(&live);
        prop_assert_eq!(shown(&live), shown(&masked));
        assert_nothing_leaks(&masked);
    }

    #[test]
    fn however_it_is_cut_no_secret_stays_and_the_blocks_can_be_read(
        numbers in vec(any::<u16>(), 6..60),
        cuts in vec(1_usize..60, 0..60),
    ) {
        let live = talk(&said(&numbers), &cuts).records();
        let masked = redacted(&live);
        assert_nothing_leaks(&masked);
        for (live, masked) in live.iter().zip(&masked) {
            prop_assert_eq!(live.len(), masked.len());
        }
    }

    #[test]
    fn what_follows_a_loss_is_the_same_too(numbers in vec(any::<u16>(), 40..120), lost in any::<prop::sample::Index>()) {
        let mut live = talk(&said(&numbers), &[]).records();
        // Not the opening, and not the close.
        live.remove(1 + lost.index(live.len() - 2));
        let masked = {
            let mut redactor = Redactor::new(Privacy::default());
            let mut records = live.clone();
            records.iter_mut().for_each(|record| redactor.redact(record));
            records
        };
        prop_assert_eq!(shown(&live), shown(&masked));
    }

    #[test]
    fn any_payload_is_masked_without_harm(
        blocks in vec((vec(any::<u8>(), 0..80), any::<u8>(), 0_u8..12), 1..12),
        cuts in vec(1_usize..60, 0..20),
    ) {
        let talk = blocks.iter().fold(Talk::server().cut(&cuts), |talk, (block, flags, kind)| {
            talk.request(frame(*kind, *flags, 1, block))
        });
        let live = talk.records();
        let mut redactor = Redactor::new(Privacy::default());
        for record in &live {
            let mut masked = record.clone();
            redactor.redact(&mut masked);
            prop_assert_eq!(masked.len(), record.len());
            prop_assert!(Record::decode(&masked).is_ok());
        }
    }
}

#[test]
fn wherever_it_is_cut_in_two_no_secret_stays() {
    let numbers: Vec<u16> = (0..30).map(|place: u16| place.wrapping_mul(7_919)).collect();
    let said = said(&numbers);
    let longest = said.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
    for cut in 1..longest {
        assert_nothing_leaks(&redacted(&talk(&said, &[cut]).records()));
    }
    assert_nothing_leaks(&redacted(&talk(&said, &vec![1; longest]).records()));
}

#[test]
fn a_cut_masks_no_more_than_the_string_that_it_is_in() {
    let request = headers(1, END_STREAM, &fields("GET /a?k=v|cookie: c|user-agent: curl"));
    let of = |cut: usize| {
        let live = Talk::server().cut(&[cut]).request(request.clone()).records();
        let outcome = Outcome::of(&redacted(&live), FAR);
        format!(
            "{:?}",
            outcome
                .begun()
                .iter()
                .map(|begun| &begun.request)
                .collect::<Vec<_>>()
        )
    };
    let whole = of(request.len());
    let differs: Vec<usize> = (1..request.len()).filter(|cut| of(*cut) != whole).collect();
    let in_strings = request.len() - 9;
    assert!(differs.len() < in_strings, "{differs:?}");
    // In the cookie, and in a value that is kept whole.
    let place = |text: &str| {
        request
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap()
    };
    for harmless in [place("cookie") + 3, place("curl") + 2] {
        assert!(!differs.contains(&harmless), "{harmless}");
    }
}

/// A piece is captured up to 8 KiB, and whatever is there is cut in two.
#[test]
fn requests_keep_their_paths_where_many_fill_several_records_but_those_that_are_cut() {
    for coded in [true, false] {
        let mut encoder = Encoder::new();
        let mut request = |number: u32| {
            let path = format!("/shop/item-{number}/~{{details}}");
            let said = [
                (":path", path.as_str()),
                (":method", "GET"),
                ("cookie", "sid=hunter2"),
            ];
            let wishes = said.map(|(name, value)| Wish {
                name: name.as_bytes().to_vec(),
                value: value.as_bytes().to_vec(),
                // A path goes into no table.
                way: 2,
                coded_name: coded,
                coded_value: coded,
            });
            headers(number * 2 + 1, END_STREAM, &encoder.block(&[], &wishes).0)
        };
        let first = request(0);
        let all = (1..600).fold(first.clone(), |all, number| [all, request(number)].concat());
        let paths = |records: &[Vec<u8>]| -> Vec<_> {
            let outcome = Outcome::of(records, FAR);
            let begun = outcome.begun().into_iter();
            begun
                .map(|begun| (begun.request.method.clone(), begun.request.target.clone()))
                .collect()
        };
        for cut in 1..first.len() {
            let live = Talk::server().cut(&[cut]).request(all.clone()).records();
            assert!(live.len() > 5, "{}", live.len());
            let masked = redacted(&live);
            assert_eq!(paths(&live).len(), 600);
            // Of a path that two records share, what is in the first to its end.
            let (live_paths, masked_paths) = (paths(&live), paths(&masked));
            assert_eq!(masked_paths.len(), 600);
            let cut_paths = live_paths
                .iter()
                .zip(&masked_paths)
                .filter(|(live, masked)| live != masked);
            assert!(cut_paths.count() < live.len(), "{cut}");
        }
    }
}

#[test]
fn frames_of_which_the_beginning_is_not_known_are_masked_blind() {
    let block = headers(1, 0, &field(true, "x-own", "hunter2"));
    let mut kept = block.clone();
    kept[5] |= kind::KEPT;
    let mut redactor = Redactor::new(Privacy::default());
    let mut rest = data(1, 500, flag::HTTP2, &kept[12..]);
    redactor.redact(&mut rest);
    assert_eq!(redactor.masked_blind(), 1);
    assert!(!holds(captured(&rest), b"hunter2") && !holds(captured(&rest), b"own"));
    // It goes on with a frame, and is known from there.
    let mut whole = data(1, 600, flag::HTTP2 | flag::HEAD_START, &kept);
    redactor.redact(&mut whole);
    assert_eq!(redactor.masked_blind(), 1);
    assert_eq!(&captured(&whole)[..9], &kept[..9]);
    assert!(
        redactor
            .frames
            .remove((ConnectionId(1), Direction::Received))
            .is_some()
    );
}

#[test]
fn a_direction_is_forgotten_at_its_close_and_when_it_is_not_http2_any_more() {
    let records = Talk::server()
        .request(headers(1, END_STREAM, &fields("GET /")))
        .records();
    let mut redactor = Redactor::new(Privacy::default());
    for record in &records {
        redactor.redact(&mut record.clone());
    }
    for direction in [Direction::Received, Direction::Sent] {
        assert!(redactor.frames.remove((ConnectionId(1), direction)).is_none());
    }
    let ping = [0, 0, 0, kind::PING, 0, 0, 0, 0, 0];
    redactor.redact(&mut data(
        1,
        0,
        flag::HTTP2 | flag::HEAD_START | flag::OPAQUE,
        &ping,
    ));
    assert!(
        redactor
            .frames
            .remove((ConnectionId(1), Direction::Received))
            .is_none()
    );
}
