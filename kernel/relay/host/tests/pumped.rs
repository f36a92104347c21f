//! A firmware at one end of a socket, programs at the other.

use core::time::Duration;
use quoin_anchor::ask::Address;
use quoin_relay::anchors::Anchors;
use quoin_relay::frames::Peer;
use quoin_relay::pump::{Back, Programs, pump};
use relay::{Frames, Message, frame, service};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

/// The firmware's end of a console, and the relay's behind it.
fn console(programs: impl FnOnce(&Back) -> Programs + Send + 'static) -> (UnixStream, thread::JoinHandle<bool>) {
    let (firmware, host) = UnixStream::pair().unwrap();
    firmware.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let relay = thread::spawn(move || pump(host.try_clone().unwrap(), host, programs).is_ok());
    (firmware, relay)
}

fn next(stream: &mut UnixStream) -> Message {
    let (mut frames, mut octet) = (Frames::default(), [0]);
    loop {
        stream.read_exact(&mut octet).unwrap();
        if let (_, Some(frame)) = frames.take(&octet) {
            return frame.unwrap();
        }
    }
}

/// An anchor's stream of fixed sizes: 386 octets, and 603 for an answer.
fn anchor(octet: u8) -> (Address, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 386];
        while stream.read_exact(&mut request).is_ok() {
            assert!(request.iter().all(|sent| *sent == octet));
            stream.write_all(&[!octet; 603]).unwrap();
        }
    });
    (address, served)
}

#[test]
fn a_message_goes_to_the_anchor_of_its_number_and_the_reply_comes_back() {
    let (first, second) = (anchor(7), anchor(8));
    let addresses = [first.0, second.0];
    let (mut firmware, relay) = console(move |back| {
        let anchors = Anchors::new(&addresses, Duration::from_secs(60), back);
        Programs::from([(service::ANCHORS, Box::new(anchors) as _)])
    });
    for (number, octet) in [(0, 7), (1, 8), (0, 7)] {
        // What nobody has goes nowhere.
        firmware.write_all(&frame(9, 0, b"?").unwrap()).unwrap();
        firmware.write_all(&frame(service::ANCHORS, 5, b"?").unwrap()).unwrap();
        firmware.write_all(&frame(service::ANCHORS, number, &[octet; 386]).unwrap()).unwrap();
        let message = next(&mut firmware);
        assert_eq!((message.service, message.number), (service::ANCHORS, number));
        assert_eq!(message.octets, [!octet; 603]);
    }
    drop(firmware);
    assert!(relay.join().unwrap());
    first.1.join().unwrap();
    second.1.join().unwrap();
}

/// One that is not there holds up nobody, and the firmware is told.
#[test]
fn an_anchor_that_is_away_is_no_end() {
    let there = anchor(7);
    let away = Address::Tcp({
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    });
    let addresses = [away, there.0];
    let (mut firmware, _relay) = console(move |back| {
        let anchors = Anchors::new(&addresses, Duration::from_secs(60), back);
        Programs::from([(service::ANCHORS, Box::new(anchors) as _)])
    });
    for number in [0, 1] {
        firmware.write_all(&frame(service::ANCHORS, number, &[7; 386]).unwrap()).unwrap();
    }
    let mut answers = [next(&mut firmware), next(&mut firmware)].map(|message| (message.number, message.octets.len()));
    answers.sort_unstable();
    assert_eq!(answers, [(0, 0), (1, 603)]);
}

#[test]
fn a_program_that_speaks_frames_gets_them_and_may_speak_and_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    let listener = UnixListener::bind(&path).unwrap();
    let (mut firmware, _relay) =
        console(move |back| Programs::from([(service::CERTIFICATES, Box::new(Peer::new(path, back)) as _)]));
    for round in 0..2 {
        let mut program = None;
        // What is written to one that has just gone may be lost.
        for _ in 0..100 {
            firmware.write_all(&frame(service::CERTIFICATES, 3, b"begin").unwrap()).unwrap();
            listener.set_nonblocking(true).unwrap();
            thread::sleep(Duration::from_millis(20));
            if let Ok((stream, _)) = listener.accept() {
                program = Some(stream);
                break;
            }
        }
        let mut program = program.expect("it is connected");
        program.set_nonblocking(false).unwrap();
        assert_eq!(next(&mut program).octets, b"begin", "round {round}");
        program.write_all(&frame(service::CERTIFICATES, 3, b"ready").unwrap()).unwrap();
        assert_eq!(next(&mut firmware).octets, b"ready");
    }
}

/// A relay that comes amid a frame: what it finds of that is lost, and said, and nothing else.
#[test]
fn behind_a_frame_that_was_cut_the_next_one_is_passed() {
    let there = anchor(7);
    let addresses = [there.0];
    let (mut firmware, _relay) = console(move |back| {
        let anchors = Anchors::new(&addresses, Duration::from_secs(60), back);
        Programs::from([(service::ANCHORS, Box::new(anchors) as _)])
    });
    let whole = frame(service::ANCHORS, 0, &[7; 386]).unwrap();
    for cut in [&whole[..100], &whole[100..], &[0xff; 4], &[0; 5000]] {
        firmware.write_all(&[cut, &whole].concat()).unwrap();
        assert_eq!(next(&mut firmware).octets, [!7; 603]);
    }
}
