//! One relay for all who use it: each has a service, and is given that service's messages alone.

use alloc::collections::VecDeque;

use spin::Mutex;

use crate::{Message, Relay};

/// Messages that wait for who has not asked, and the octets of all of them, at most. What comes beyond is lost, as any
/// message may be: a host that sends what nobody asks for is not to take the firmware's memory.
const WAITING: usize = 32;
const WAITING_OCTETS: usize = 0x2_0000;
/// Messages that are looked at before it is said that there is none now.
const PATIENCE: usize = 64;

/// A relay, and what has come of it for others than who asked.
pub struct Office<R> {
    sorted: Mutex<Sorted<R>>,
}

struct Sorted<R> {
    relay: R,
    waiting: VecDeque<Message>,
}

impl<R: Relay> Office<R> {
    /// Of this relay.
    pub const fn new(relay: R) -> Office<R> {
        Office { sorted: Mutex::new(Sorted { relay, waiting: VecDeque::new() }) }
    }

    /// The way of one service. One user for each service: two would have each other's messages.
    pub const fn counter(&self, service: u16) -> Counter<'_, R> {
        Counter { office: self, service }
    }
}

impl<R: Relay> Sorted<R> {
    fn receive(&mut self, service: u16) -> Result<Option<Message>, R::Error> {
        if let Some(at) = self.waiting.iter().position(|message| message.service == service) {
            return Ok(self.waiting.remove(at));
        }
        for _ in 0..PATIENCE {
            match self.relay.receive()? {
                Some(message) if message.service != service => self.put_aside(message),
                message => return Ok(message),
            }
        }
        Ok(None)
    }

    fn put_aside(&mut self, message: Message) {
        let octets: usize = self.waiting.iter().map(|message| message.octets.len()).sum();
        if self.waiting.len() < WAITING && octets + message.octets.len() <= WAITING_OCTETS {
            self.waiting.push_back(message);
        }
    }
}

/// The way of one service.
pub struct Counter<'o, R> {
    office: &'o Office<R>,
    service: u16,
}

impl<R: Relay> Relay for Counter<'_, R> {
    type Error = R::Error;

    /// To this service, whatever is named.
    fn send(&mut self, _: u16, number: u16, message: &[u8]) -> Result<(), R::Error> {
        self.office.sorted.lock().relay.send(self.service, number, message)
    }

    fn receive(&mut self) -> Result<Option<Message>, R::Error> {
        self.office.sorted.lock().receive(self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{ANCHORS, CERTIFICATES, MIGRATION};
    use core::convert::Infallible;
    use std::vec::Vec;

    /// What comes, and what was sent.
    #[derive(Default)]
    struct Host {
        comes: VecDeque<Message>,
        sent: Vec<(u16, u16, Vec<u8>)>,
    }

    impl Relay for Host {
        type Error = Infallible;

        fn send(&mut self, service: u16, number: u16, message: &[u8]) -> Result<(), Infallible> {
            self.sent.push((service, number, message.to_vec()));
            Ok(())
        }

        fn receive(&mut self) -> Result<Option<Message>, Infallible> {
            Ok(self.comes.pop_front())
        }
    }

    fn message(service: u16, octets: &[u8]) -> Message {
        Message { service, number: 3, octets: octets.to_vec() }
    }

    fn office(messages: impl IntoIterator<Item = Message>) -> Office<Host> {
        Office::new(Host { comes: messages.into_iter().collect(), ..Host::default() })
    }

    fn next(office: &Office<Host>, service: u16) -> Option<Message> {
        let Ok(message) = office.counter(service).receive();
        message
    }

    #[test]
    fn each_service_has_its_messages_in_their_order() {
        let sent = [(ANCHORS, b"a"), (MIGRATION, b"b"), (ANCHORS, b"c"), (CERTIFICATES, b"d"), (MIGRATION, b"e")];
        let office = office(sent.map(|(service, octets)| message(service, octets)));
        for (service, octets) in
            [(MIGRATION, b"b"), (ANCHORS, b"a"), (ANCHORS, b"c"), (MIGRATION, b"e"), (CERTIFICATES, b"d")]
        {
            assert_eq!(next(&office, service), Some(message(service, octets)));
        }
        for service in [CERTIFICATES, ANCHORS, MIGRATION] {
            assert_eq!(next(&office, service), None);
        }
    }

    #[test]
    fn what_is_sent_is_of_the_service() {
        let office = office([]);
        let Ok(()) = office.counter(ANCHORS).send(ANCHORS, 2, b"a question");
        assert_eq!(office.sorted.lock().relay.sent, [(ANCHORS, 2, b"a question".to_vec())]);
    }

    #[test]
    fn a_flood_of_another_service_takes_no_more_than_its_room_and_its_time() {
        let flood = (0..WAITING + PATIENCE + 8).map(|_| message(MIGRATION, b"flood"));
        let office = office(flood.chain([message(ANCHORS, b"an answer")]));
        assert_eq!(next(&office, ANCHORS), None, "it is not waited for the flood's end");
        assert_eq!(next(&office, ANCHORS), Some(message(ANCHORS, b"an answer")));
        assert_eq!(office.sorted.lock().waiting.len(), WAITING);
    }

    #[test]
    fn long_messages_that_nobody_takes_are_lost() {
        let long = [0; WAITING_OCTETS / 2];
        let office = office([(); 3].map(|()| message(MIGRATION, &long)).into_iter().chain([message(MIGRATION, b"")]));
        assert_eq!(next(&office, ANCHORS), None);
        assert_eq!(office.sorted.lock().waiting.len(), 3, "two long ones, and the one without octets");
    }
}
