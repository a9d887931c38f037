//! The framer over connections in HTTP/2, cut into calls and buffers in every way.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test is wrong about is to end it"
)]

use proptest::prelude::*;
use tracer_common::{
    Loss,
    framer::{self, BLOCK_MAX, HEAD_MAX, Waiting},
    lane::State,
    record::{data_flags as flag, frame},
    testing::Stream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 16, 0];

/// A frame as it is on the wire.
#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, len: usize) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: vec![kind.wrapping_add(b'a'); len],
        }
    }

    fn header(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut header = length[1..].to_vec();
        header.extend([self.kind, self.flags]);
        header.extend(self.stream.to_be_bytes());
        header
    }

    fn bytes(&self) -> Vec<u8> {
        [self.header(), self.payload.clone()].concat()
    }

    fn is_kept(&self) -> bool {
        let kinds = [frame::HEADERS, frame::CONTINUATION, frame::PUSH_PROMISE];
        let is_reset = self.kind == frame::RST_STREAM && self.payload.len() == 4;
        self.stream != 0 && (kinds.contains(&self.kind) || is_reset)
    }

    /// As it is captured.
    fn captured(&self) -> Vec<u8> {
        let mut header = self.header();
        if !self.is_kept() {
            return header;
        }
        header[frame::KEPT_AT] |= frame::KEPT;
        header.extend(&self.payload);
        header
    }
}

fn captured(stream: &Stream) -> Vec<u8> {
    let mut offset = 0;
    for (record, captured) in &stream.records {
        assert_eq!(record.offset, offset, "records cover the stream without holes");
        assert!(captured.len() as u64 <= record.len);
        assert!(captured.len() <= HEAD_MAX as usize);
        offset += record.len;
    }
    // A preface that comes in several calls begins like a request of HTTP/1.
    let frames = stream
        .records
        .iter()
        .filter(|(record, _)| record.flags & flag::HTTP2 != 0);
    frames.flat_map(|(_, captured)| captured.clone()).collect()
}

/// Each piece by itself tells where its frames are, unless it goes on with a payload.
fn pieces_begin_with_frames(stream: &Stream, frames: &[Frame], before: u64) {
    let mut starts = vec![];
    let mut at = before;
    for frame in frames {
        starts.push(at);
        at += frame.bytes().len() as u64;
    }
    for (record, captured) in &stream.records {
        if record.flags & flag::HEAD_START != 0 && record.flags & flag::HTTP2 != 0 {
            assert!(starts.contains(&record.offset), "{record:?}");
            assert!(captured.len() >= frame::HEADER as usize);
        }
    }
}

fn client(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    frames.iter().for_each(|frame| bytes.extend(frame.bytes()));
    bytes
}

fn expected(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::captured).collect()
}

fn some_frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (
        0_u8..13,
        any::<u8>(),
        0_u32..5,
        prop_oneof![0_usize..20, 0_usize..3000],
    );
    let frame = frame.prop_map(|(kind, flags, stream, len)| Frame::new(kind, flags, stream, len));
    proptest::collection::vec(frame, 1..12)
}

#[test]
fn of_a_call_by_grpc_the_fields_are_captured_and_the_message_is_not() {
    let frames = [
        Frame::new(frame::SETTINGS, 0, 0, 12),
        Frame::new(frame::HEADERS, frame::END_HEADERS, 1, 80),
        Frame::new(frame::DATA, 1, 1, 500),
    ];
    let mut stream = Stream::new(true);
    stream.call(&client(&frames), &[], &mut Waiting::default());
    assert_eq!(captured(&stream), expected(&frames));
    // The preface, and all the rest.
    assert_eq!(stream.records.len(), 2);
    assert_eq!(stream.lane.state, State::FRAME);
}

#[test]
fn a_server_begins_with_its_settings_and_with_nothing_else() {
    let mut stream = Stream::new(true);
    stream.call(SETTINGS, &[], &mut Waiting::default());
    assert_eq!(stream.lane.state, State::FRAME);
    for other in [
        Frame::new(frame::DATA, 0, 1, 6),
        Frame::new(frame::SETTINGS, 0, 1, 6),
        Frame::new(frame::SETTINGS, 0, 0, 7),
        Frame::new(frame::HEADERS, frame::END_HEADERS, 1, 6),
    ] {
        let mut stream = Stream::new(true);
        stream.call(&other.bytes(), &[4], &mut Waiting::default());
        assert_eq!(stream.lane.state, State::OPAQUE, "{other:?}");
        assert!(stream.records.iter().all(|(_, captured)| captured.is_empty()));
    }
}

#[test]
fn in_the_middle_of_a_stream_frames_are_joined_where_a_call_begins_with_one() {
    for (frame, is_one) in [
        (Frame::new(frame::PING, 0, 0, 8), true),
        (Frame::new(frame::WINDOW_UPDATE, 0, 7, 4), true),
        (Frame::new(frame::HEADERS, frame::END_HEADERS | 1, 7, 40), true),
        (Frame::new(frame::HEADERS, 0, 7, 40), false),
        (Frame::new(frame::DATA, 0, 7, 40), false),
        (Frame::new(frame::PING, 0, 3, 8), false),
    ] {
        let mut stream = Stream::new(false);
        stream.lane.state = State::SEEK;
        stream.call(&frame.bytes(), &[], &mut Waiting::default());
        let expected = if is_one { State::FRAME } else { State::SEEK };
        assert_eq!(stream.lane.state, expected, "{frame:?}");
        assert_eq!(framer::starts_frame(&frame.bytes()), is_one);
    }
}

#[test]
fn a_block_is_captured_up_to_its_bound_and_what_is_beyond_is_counted_once() {
    let part = 16_384;
    let fits = BLOCK_MAX as usize / part;
    let mut frames = vec![Frame::new(frame::HEADERS, 0, 1, part)];
    frames.extend((1..fits + 3).map(|_| Frame::new(frame::CONTINUATION, 0, 1, part)));
    frames.push(Frame::new(frame::HEADERS, frame::END_HEADERS, 3, 30));
    let mut stream = Stream::new(false);
    stream.call(&client(&frames), &[], &mut Waiting::default());
    let mut expected = expected(&frames[..fits]);
    for beyond in &frames[fits..frames.len() - 1] {
        expected.extend(beyond.header());
    }
    expected.extend(frames[frames.len() - 1].captured());
    assert_eq!(captured(&stream), expected);
    assert_eq!(stream.lost, [Loss::HeadTruncated]);
}

#[test]
fn bytes_that_pass_unseen_are_those_of_a_payload_or_end_what_is_known() {
    let data = Frame::new(frame::DATA, 0, 1, 5000);
    let mut stream = Stream::new(true);
    let begun = [client(&[]), data.header()].concat();
    stream.call(&begun, &[], &mut Waiting::default());
    stream.unseen(5000);
    assert_eq!(stream.lane.state, State::FRAME);
    assert!(stream.lost.is_empty());
    stream.unseen(1);
    assert_eq!(stream.lane.state, State::SEEK);
    assert_eq!(stream.lost, [Loss::Unseen]);
}

proptest! {
    #[test]
    fn any_cut_into_calls_and_buffers_captures_the_same(
        frames in some_frames(),
        calls in proptest::collection::vec((1_usize..400, 1_usize..60), 0..60),
    ) {
        let bytes = client(&frames);
        let mut stream = Stream::new(true);
        let mut waiting = Waiting::default();
        let mut at = 0;
        for (len, buffer) in calls {
            let end = (at + len).min(bytes.len());
            stream.call(&bytes[at..end], &[buffer, buffer / 2], &mut waiting);
            at = end;
        }
        stream.call(&bytes[at..], &[], &mut waiting);
        prop_assert_eq!(captured(&stream), expected(&frames));
        pieces_begin_with_frames(&stream, &frames, PREFACE.len() as u64);
        let end: u64 = stream.records.iter().map(|(record, _)| record.len).sum();
        prop_assert_eq!(end, bytes.len() as u64);
    }

    #[test]
    fn the_server_s_side_is_cut_as_it_likes_too(
        frames in some_frames(),
        cuts in proptest::collection::vec(1_usize..12, 0..200),
    ) {
        let mut bytes = SETTINGS.to_vec();
        frames.iter().for_each(|frame| bytes.extend(frame.bytes()));
        let mut stream = Stream::new(true);
        let mut waiting = Waiting::default();
        let mut at = 0;
        for len in cuts {
            let end = (at + len).min(bytes.len());
            stream.call(&bytes[at..end], &[], &mut waiting);
            at = end;
        }
        stream.call(&bytes[at..], &[], &mut waiting);
        let mut all = SETTINGS[..9].to_vec();
        all.extend(expected(&frames));
        prop_assert_eq!(captured(&stream), all);
    }

    #[test]
    fn hostile_frames_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..4000), cut in 1_usize..600) {
        let mut stream = Stream::new(false);
        let mut waiting = Waiting::default();
        stream.call(PREFACE, &[], &mut waiting);
        for call in bytes.chunks(cut) {
            stream.call(call, &[cut / 2], &mut waiting);
        }
        let mut offset = 0;
        for (record, _) in &stream.records {
            prop_assert_eq!(record.offset, offset);
            offset += record.len;
        }
    }
}
