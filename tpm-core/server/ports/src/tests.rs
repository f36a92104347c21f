//! Servers and their clients, over sockets.

use super::machine::tests::{Log, Seen, recorder};
use super::{Ports, Settings, Stop, serve, serve_with};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

/// Where a server is.
struct At<'a> {
    port: u16,
    path: &'a Path,
}

impl At<'_> {
    fn command(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    fn platform(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port + 1)).unwrap()
    }
}

/// A server at ports that are free, and at a Unix socket; what it was asked to do is given back.
fn served(client: impl FnOnce(&At<'_>)) -> Vec<Seen> {
    served_at(0, client)
}

fn served_at(port: u16, client: impl FnOnce(&At<'_>)) -> Vec<Seen> {
    let (folder, log, stop) = (tempfile::tempdir().unwrap(), Log::default(), Stop::default());
    let path = folder.path().join("tpm");
    let ports = Ports::reserve(port, Some(&path)).unwrap().listen().unwrap();
    let at = At { port: ports.port(), path: &path };
    thread::scope(|scope| {
        let backend = recorder(&log);
        let server = scope.spawn(|| serve(ports, backend, &stop));
        let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| client(&at)));
        stop.set();
        server.join().unwrap().unwrap();
        outcome.unwrap();
    });
    assert!(!path.exists());
    assert!(log.take_shut_downs() > 0, "with the server the platform ends in order");
    log.take()
}

fn say(stream: &mut (impl Read + Write), said: &[u8], heard: &[u8]) {
    stream.write_all(said).unwrap();
    let mut answer = vec![0; heard.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, heard);
}

#[test]
fn a_malformed_frame_ends_its_own_connection() {
    let seen = served(|at| {
        let mut other = at.command();
        for (mut stream, bad) in
            [(at.command(), b"GET / HTTP/1.1\r\n".as_slice()), (at.platform(), b"\xFF\xFF\xFF\xFF")]
        {
            stream.write_all(bad).unwrap();
            let mut rest = Vec::new();
            // An end, or a reset where bytes were left unread.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty());
            say(&mut other, COMMAND, b"ok");
        }
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn many_clients_after_one_another_wait_for_none() {
    served(|at| {
        let started = Instant::now();
        for _ in 0..200 {
            let mut stream = at.command();
            say(&mut stream, COMMAND, b"ok");
        }
        // A server that looks every 100 ms for clients takes 20 s.
        assert!(started.elapsed().as_secs() < 10);
    });
}

#[test]
fn a_port_can_be_taken_again_at_once() {
    let mut port = 0;
    for _ in 0..3 {
        served_at(port, |at| {
            say(&mut at.command(), COMMAND, b"ok");
            port = at.port;
        });
    }
}

#[test]
fn a_client_that_is_silent_or_stops_midway_keeps_nobody_waiting() {
    let seen = served(|at| {
        let idle: Vec<_> = (0..50).map(|_| (at.command(), at.platform())).collect();
        let halves = [
            (at.command(), &COMMAND[..4]),
            (at.command(), &COMMAND[..11]),
            (at.command(), b"\0\0\0\x08\0\0\0\0\x0C\x80"),
            (at.platform(), b"\0\0"),
            (at.platform(), b"\0\0\0\x05"),
        ];
        let begun = halves.map(|(mut stream, half)| {
            stream.write_all(half).unwrap();
            stream
        });
        let mut unix = UnixStream::connect(at.path).unwrap();
        for _ in 0..3 {
            say(&mut at.command(), COMMAND, b"ok");
            say(&mut unix, COMMAND, b"ok");
        }
        drop(begun);
        say(&mut at.command(), COMMAND, b"ok");
        drop(idle);
    });
    assert_eq!(seen, vec![Seen::Execute(0, COMMAND.to_vec()); 7]);
}

#[test]
fn a_client_that_leaves_before_its_answer_ends_its_own_connection() {
    let seen = served(|at| {
        for _ in 0..20 {
            let mut stream = at.command();
            stream.write_all(COMMAND).unwrap();
            drop(stream);
        }
        say(&mut at.command(), COMMAND, b"ok");
    });
    // Whether the server has heard a client that has gone is the system's affair.
    assert!((1..=21).contains(&seen.len()));
}

#[test]
fn the_simulators_power_is_lost_and_comes_back_for_clients_that_stay() {
    let seen = served(|at| {
        let mut command = at.command();
        let mut platform = at.platform();
        let message = [b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat();
        say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
        // NV off and on, power off twice, on twice, in an order of no client.
        for number in [12, 2, 11, 2] {
            say(&mut platform, &[0, 0, 0, number], &[0; 4]);
        }
        say(&mut command, &message, &[0; 8]);
        for number in [1, 11, 1, 4, 10] {
            say(&mut platform, &[0, 0, 0, number], &[0; 4]);
        }
        say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
        // The end of one session is not that of another.
        platform.write_all(&[0, 0, 0, 20]).unwrap();
        assert_eq!(platform.read(&mut [0]).unwrap(), 0);
        say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
    });
    let executed = Seen::Execute(0, COMMAND.to_vec());
    assert_eq!(seen, [executed.clone(), Seen::Reset, Seen::PhysicalPresence(false), executed.clone(), executed]);
}

#[test]
fn tcti_mssim_opens_both_connections() {
    let seen = served(|at| {
        let mut command = at.command();
        let mut platform = at.platform();
        say(&mut platform, b"\0\0\0\x01", &[0; 4]);
        say(&mut platform, b"\0\0\0\x0B", &[0; 4]);
        say(&mut command, &[b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat(), b"\0\0\0\x02ok\0\0\0\0");
    });
    assert_eq!(seen, [Seen::Execute(0, COMMAND.to_vec())]);
}

/// CMD_SET_DATAFD.
fn hand_over(control: &mut UnixStream) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let descriptors = [theirs.as_fd()];
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&*control, &[IoSlice::new(b"\0\0\0\x10")], &mut ancillary, SendFlags::empty()).unwrap();
    say(control, b"", &[0; 4]);
    ours
}

#[test]
fn qemu_sends_its_data_channel_over_the_control_channel() {
    let seen = served(|at| {
        let mut control = UnixStream::connect(format!("{}.ctrl", at.path.display())).unwrap();
        let mut ours = hand_over(&mut control);
        say(&mut control, b"\0\0\0\x02\0\0\0\0", &[0; 4]);
        say(&mut control, b"\0\0\0\x05\x03", &[0; 4]);
        say(&mut ours, COMMAND, b"ok");
    });
    assert_eq!(seen, [Seen::Reset, Seen::Execute(3, COMMAND.to_vec())]);
}

/// Section 3, row 1: a guest's CRB.
#[test]
fn what_a_guest_writes_into_its_buffer_is_no_message_to_the_server() {
    let seen = served(|at| {
        let mut control = UnixStream::connect(format!("{}.ctrl", at.path.display())).unwrap();
        let mut guest = hand_over(&mut control);
        say(&mut control, b"\0\0\0\x02\0\0\0\0", &[0; 4]);
        for forged in [
            &b"\0\0\0\x05"[..],
            b"\0\0\0\x06\0\0\0\x04evil",
            b"\0\0\0\x07",
            b"\0\0\0\x08\x04\0\0\0\x0C\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08",
            b"\0\0\0\x15",
        ] {
            say(&mut guest, forged, b"ok");
        }
        say(&mut guest, COMMAND, b"ok");
    });
    assert!(seen[1..].iter().all(|seen| matches!(seen, Seen::Execute(0, _))), "{seen:?}");
    assert_eq!(seen.len(), 7);
}

#[test]
fn an_init_that_comes_in_pieces_is_one() {
    let seen = served(|at| {
        let mut control = at.platform();
        control.write_all(b"\0\0\0\x02").unwrap();
        thread::sleep(core::time::Duration::from_millis(100));
        say(&mut control, b"\0\0\0\0", &[0; 4]);
        let mut command = at.command();
        say(&mut command, COMMAND, b"ok");
        // swtpm_ioctl --tcp 127.0.0.1:PORT -c, while someone is at the command port.
        let mut ioctl = at.platform();
        say(&mut ioctl, b"\0\0\0\x01", &[0, 0, 0, 0, 0, 1, 0x7f, 0xbf]);
    });
    assert_eq!(seen, [Seen::Reset, Seen::Execute(0, COMMAND.to_vec())]);
}

/// Section 3, row 9: `cargo xtask run` went on for ever when QEMU had died.
#[test]
fn the_server_ends_when_what_it_serves_has() {
    let ports = Ports::reserve(0, None).unwrap().listen().unwrap();
    let port = ports.port();
    let mut looks = 0;
    let watch = move || {
        looks += 1;
        if looks > 2 { anyhow::bail!("the machine has ended") } else { Ok(()) }
    };
    let settings = Settings { watch: Some(Box::new(watch)), ..Settings::default() };
    let outcome = serve_with(ports, recorder(&Log::default()), settings, &Stop::default());
    assert_eq!(outcome.unwrap_err().to_string(), "the machine has ended");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
