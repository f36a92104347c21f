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
fn the_longest_message_goes_over_and_a_longer_one_is_refused() {
    let longest = std::vec![7; MAX_MESSAGE];
    let mut relay = pipe(&[], usize::MAX);
    relay.send(1, 2, &longest).unwrap();
    assert_eq!(relay.receive(), Ok(Some(Message { service: 1, number: 2, octets: longest })));
    let longer = std::vec![7; MAX_MESSAGE + 1];
    assert_eq!(relay.send(1, 2, &longer), Err(RelayError::Frame(BadFrame::TooLong(65_533))));
    assert!(relay.stream().octets.is_empty(), "nothing of it was written");
}

/// What a relay leaves at the host that was ended amid a frame, and one of a host that means ill.
#[test]
fn behind_what_is_no_frame_the_next_one_comes() {
    let whole = frame(1, 0, b"whole").unwrap();
    for before in [&whole[..7], &whole[3..], &[0xff; 3000], &[0; 3000], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut relay = pipe(&[before, &whole].concat(), 100);
        assert_eq!(relay.receive().unwrap().unwrap().octets, b"whole", "{before:?}");
        assert_eq!(relay.receive(), Ok(None));
    }
}

/// A host that never ceases to say what is no frame.
struct Flood(u8);

impl Stream for Flood {
    type Error = BadFrame;

    fn write(&mut self, _: &[u8]) -> Result<(), BadFrame> {
        Ok(())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, BadFrame> {
        out.iter_mut().enumerate().for_each(|(at, octet)| *octet = self.0 * u8::try_from(at % 2).unwrap());
        Ok(out.len())
    }
}

#[test]
fn a_flood_of_what_is_no_frame_is_not_waited_for() {
    for octet in [0, 1, 5] {
        let mut relay = Framed::new(Flood(octet));
        assert_eq!(relay.receive(), Ok(None), "{octet}");
    }
}

#[test]
fn the_errors_say_what_is_wrong() {
    let said =
        [RelayError::Frame(BadFrame::TooLong(65_533)), RelayError::Stream(BadFrame::Cut)].map(|why| why.to_string());
    let wanted = [
        "the relay: a message of 65533 octets is too long",
        "the relay's stream: octets have come that are no whole frame",
    ];
    assert_eq!(said, wanted);
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
}
