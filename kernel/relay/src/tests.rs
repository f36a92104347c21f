use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::string::ToString;

/// Gives octets in pieces of a size, and takes what is written.
struct Pipe {
    octets: VecDeque<u8>,
    at_once: usize,
}

impl Stream for Pipe {
    type Error = BadFrame;

    fn write(&mut self, octets: &[u8]) -> Result<(), BadFrame> {
        self.octets.extend(octets);
        Ok(())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, BadFrame> {
        let count = self.octets.len().min(out.len()).min(self.at_once);
        out.iter_mut().zip(self.octets.drain(..count)).for_each(|(to, from)| *to = from);
        Ok(count)
    }
}

fn pipe(octets: &[u8], at_once: usize) -> Framed<Pipe> {
    Framed::new(Pipe { octets: octets.iter().copied().collect(), at_once })
}

#[test]
fn a_frame_is_length_service_number_and_message() {
    let frame = frame(service::ANCHORS, 0x0102, b"abc").unwrap();
    assert_eq!(frame, [7, 0, 0, 0, 2, 0, 2, 1, b'a', b'b', b'c']);
}

#[test]
fn the_longest_message_goes_over_and_a_longer_one_is_refused() {
    let longest = std::vec![7; MAX_MESSAGE];
    let mut relay = pipe(&[], usize::MAX);
    relay.send(1, 2, &longest).unwrap();
    assert_eq!(relay.receive(), Ok(Some(Message { service: 1, number: 2, octets: longest })));
    let longer = std::vec![7; MAX_MESSAGE + 1];
    assert_eq!(relay.send(1, 2, &longer), Err(RelayError::Frame(BadFrame::TooLong(65_533))));
    assert!(relay.stream().octets.is_empty(), "nothing of it was written");
}

#[test]
fn an_empty_message_is_one() {
    let mut relay = pipe(&[4, 0, 0, 0, 3, 0, 0, 0], usize::MAX);
    assert_eq!(relay.receive(), Ok(Some(Message { service: 3, number: 0, octets: std::vec![] })));
    assert_eq!(relay.receive(), Ok(None));
}

/// Behind a length that no frame has, nobody knows where the next one begins.
#[test]
fn a_length_out_of_shape_ends_the_relay() {
    for length in [0_u32, 3, 0x1_0001, u32::MAX] {
        let mut octets = frame(1, 0, b"before").unwrap();
        octets.extend(length.to_le_bytes());
        octets.extend(frame(1, 0, b"behind").unwrap());
        let mut relay = pipe(&octets, usize::MAX);
        assert_eq!(relay.receive().unwrap().unwrap().octets, b"before");
        for _ in 0..2 {
            assert_eq!(relay.receive(), Err(RelayError::Frame(BadFrame::Length(length))));
        }
    }
    let error = RelayError::<BadFrame>::Frame(BadFrame::Length(3)).to_string();
    assert_eq!(error, "the relay: no frame has the length 0x3");
}

proptest! {
    /// However the stream is cut into pieces, the messages are those that were sent, in order, each once.
    #[test]
    fn messages_come_whole_and_in_order(
        sent in proptest::collection::vec((any::<u16>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..1500)), 0..8),
        at_once in 1_usize..700,
    ) {
        let mut relay = pipe(&[], at_once);
        for (service, number, message) in &sent {
            relay.send(*service, *number, message).unwrap();
        }
        for (service, number, octets) in sent {
            prop_assert_eq!(relay.receive(), Ok(Some(Message { service, number, octets })));
        }
        prop_assert_eq!(relay.receive(), Ok(None));
    }

    /// Whatever the host writes, there is a message, nothing, or an error, and what is kept is no more than a frame.
    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..3000), at_once in 1_usize..700) {
        let mut relay = pipe(&octets, at_once);
        while let Ok(Some(message)) = relay.receive() {
            prop_assert!(message.octets.len() <= MAX_MESSAGE);
        }
        prop_assert!(relay.frames.partial.len() <= LENGTH + MAX_LENGTH);
    }
}
