use super::*;
use crate::service;
use proptest::collection::vec;
use proptest::prelude::*;
use std::string::ToString;
use std::vec;

/// All that comes of a stream which is read in pieces of this size.
fn all(frames: &mut Frames, octets: &[u8], at_once: usize) -> Vec<Result<Message, BadFrame>> {
    let mut ends = Vec::new();
    for mut piece in octets.chunks(at_once) {
        while !piece.is_empty() {
            let (used, end) = frames.take(piece);
            assert!(used > 0, "a caller would wait for ever");
            piece = &piece[used..];
            ends.extend(end);
        }
    }
    ends
}

fn read(octets: &[u8]) -> Vec<Result<Message, BadFrame>> {
    all(&mut Frames::default(), octets, 1000)
}

fn message(octets: &[u8]) -> Message {
    Message { service: service::ANCHORS, number: 0x0102, octets: octets.to_vec() }
}

fn framed(octets: &[u8]) -> Vec<u8> {
    frame(service::ANCHORS, 0x0102, octets).unwrap()
}

/// Octets with runs of zeros, of others, and of such as fill blocks.
fn some(octets: usize, seed: usize) -> Vec<u8> {
    (0..octets).map(|at| u8::try_from((at * at + seed) / 300 % 251).unwrap()).collect()
}

#[test]
fn a_frame_is_length_service_number_and_message_without_zeros_between_zeros() {
    let wanted = [0, 2, 7, 1, 1, 2, 2, 6, 2, 1, b'a', b'b', b'c', 2, b'd', 0];
    let [plain, stuffed] = [&b"abc"[..], b"abc\0d"].map(framed);
    assert_eq!(plain, [0, 2, 7, 1, 1, 2, 2, 6, 2, 1, b'a', b'b', b'c', 0]);
    assert_eq!(stuffed[..2], [0, 2]);
    assert_eq!(stuffed[2], 9, "the length is the message's, not the frame's");
    assert_eq!(stuffed[3..], wanted[3..]);
}

/// Blocks of 254 octets are the longest: a message that ends, or has a zero, before, at and behind such an end.
#[test]
fn messages_of_any_length_and_with_zeros_anywhere_come_back() {
    for octets in [0, 1, 2, 244, 245, 246, 247, 248, 252, 253, 254, 255, 256, 508, 509, 1000, MAX_MESSAGE] {
        for fill in [0, 1, 0xff] {
            let mut sent = vec![fill; octets];
            for zero in [None, octets.checked_sub(1), Some(octets / 2), Some(245), Some(246), Some(247)] {
                if let Some(octet) = zero.and_then(|at| sent.get_mut(at)) {
                    *octet = 0;
                }
                let frame = framed(&sent);
                assert!(!frame[1..frame.len() - 1].contains(&0), "a zero would end it");
                assert_eq!(read(&frame), [Ok(message(&sent))], "{octets} octets of {fill}, {zero:?}");
            }
        }
    }
}

#[test]
fn a_message_that_is_too_long_has_no_frame() {
    assert_eq!(frame(1, 2, &vec![7; MAX_MESSAGE + 1]), Err(BadFrame::TooLong(65_533)));
}

/// Wherever the sender was ended, or the receiver came: what is cut is lost, and said, and the next frame is whole.
#[test]
fn a_cut_at_any_octet_costs_that_frame_alone() {
    let sent = some(700, 1);
    let (cut, next) = (framed(&sent), framed(b"next"));
    let (whole, lost, nothing) = (vec![Ok(message(&sent))], vec![Err(BadFrame::Cut)], vec![]);
    let last = cut.len() - 1;
    for at in 0..=cut.len() {
        // The zero before the next frame ends this one, too.
        let heard = match at {
            0 | 1 => &nothing,
            _ if at >= last => &whole,
            _ => &lost,
        };
        let ends = read(&[&cut[..at], &next].concat());
        assert_eq!(ends, [&heard[..], &[Ok(message(b"next"))]].concat(), "its first {at}");
        let heard = match at {
            0 => &whole,
            _ if at >= last => &nothing,
            _ => &lost,
        };
        let ends = read(&[&cut[at..], &next].concat());
        assert_eq!(ends, [&heard[..], &[Ok(message(b"next"))]].concat(), "without its first {at}");
    }
}

/// QEMU's virtconsole drops what a socket does not take.
#[test]
fn octets_that_are_missing_amid_a_frame_are_seen() {
    let (whole, next) = (framed(&some(700, 2)), framed(b"next"));
    let last = whole.len() - 1;
    for from in 1..last {
        for behind in [1, 7, 254, 255, last - 2].map(|missing| whole.get(from + missing..)).into_iter().flatten() {
            if behind.len() > 1 {
                let ends = read(&[&whole[..from], behind, &next].concat());
                assert_eq!(ends, [Err(BadFrame::Cut), Ok(message(b"next"))], "from {from}, but for {behind:?}");
            }
        }
    }
}

#[test]
fn a_length_that_is_not_the_frames_is_none() {
    for length in [0_u32, 3, 4, 6, 8, 0x1_0001, u32::MAX] {
        let plain = [&length.to_le_bytes()[..], &[1, 0, 0, 0], b"abc"].concat();
        assert_eq!(read(&stuffed(&plain)), [Err(BadFrame::Cut)], "{length}");
    }
    for short in 1..8 {
        assert_eq!(read(&stuffed(&[4, 0, 0, 0, 1, 0, 2, 0][..short])), [Err(BadFrame::Cut)], "{short} octets");
    }
    assert_eq!(BadFrame::Cut.to_string(), "octets have come that are no whole frame");
}

/// What no frame can be is not kept until its end, which may never come.
#[test]
fn what_is_too_long_for_a_frame_is_lost_before_its_end() {
    for block in [&[1][..], &[2, 7], &[0xff; 255]] {
        let mut frames = Frames::default();
        let octets = [&[0][..], &block.repeat(0x4_0000 / block.len())].concat();
        assert_eq!(all(&mut frames, &octets, 1000), [Err(BadFrame::Cut)], "{block:?}");
        assert_eq!(frames.plain.capacity(), 0);
        assert_eq!(all(&mut frames, &framed(b"next"), 1000), [Ok(message(b"next"))]);
    }
}

/// Who speaks another protocol is known by the first octet.
#[test]
fn a_stream_that_begins_without_a_zero_is_none_of_frames() {
    assert_eq!(Frames::default().take(b"G"), (1, Some(Err(BadFrame::Cut))));
    assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n"), [Err(BadFrame::Cut)], "it is said once");
}

proptest! {
    /// Frames between octets of any kind, cut into pieces of any size: each comes that was whole, in its order.
    #[test]
    fn between_any_octets_all_frames_come(
        parts in vec((vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..600), vec(any::<u8>(), 0..600)), 1..6),
        at_once in 1_usize..700,
    ) {
        let octets: Vec<u8> = parts.iter().flat_map(|(noise, sent)| [&noise[..], &framed(sent)].concat()).collect();
        let ends = all(&mut Frames::default(), &octets, at_once);
        let heard: Vec<Message> = ends.into_iter().flatten().collect();
        let sent: Vec<Message> = parts.iter().map(|(_, sent)| message(sent)).collect();
        prop_assert_eq!(heard, sent);
    }

    /// Whatever comes, no more is kept than a frame, and no message is longer than one.
    #[test]
    fn any_octets_are_survived(octets in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..3000), at_once in 1_usize..700) {
        let mut frames = Frames::default();
        for message in all(&mut frames, &octets, at_once).into_iter().flatten() {
            prop_assert!(message.octets.len() <= MAX_MESSAGE);
        }
        prop_assert!(frames.plain.len() <= LENGTH + MAX_LENGTH);
    }
}
