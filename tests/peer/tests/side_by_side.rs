//! Both TPMs answer, keep what is in NV over the loss of power, and forget it when they are manufactured.

use client::codes::{BAD_AUTH, INITIALIZE, OWNER, session};
use client::command::{response_code, with_passwords};
use client::{cc, command, tpm2b};
use core::net::Ipv4Addr;
use peer::differential::Beside;
use peer::{Libtpms, Mssim, Peer, Quoin};
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

fn ask(peer: &mut dyn Peer, request: &[u8]) -> u32 {
    let mut response = Vec::new();
    peer.execute(request, 0, &mut response);
    response_code(&response)
}

fn startup() -> Vec<u8> {
    command(cc::STARTUP, &[], &[], &[0, 0])
}

/// TPM2_HierarchyChangeAuth of the owner from the empty authValue to "x".
fn change_auth() -> Vec<u8> {
    with_passwords(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b""], &tpm2b(b"x"))
}

fn lives(peer: &mut dyn Peer) {
    peer.manufacture();
    assert_eq!(ask(peer, &change_auth()), INITIALIZE, "before TPM2_Startup");
    assert_eq!(ask(peer, &startup()), 0);
    assert_eq!(ask(peer, &change_auth()), 0);
    assert_eq!(ask(peer, &change_auth()), session(1, BAD_AUTH), "the authValue is another now");
    peer.power_cycle();
    assert_eq!(ask(peer, &startup()), 0);
    assert_eq!(ask(peer, &change_auth()), session(1, BAD_AUTH), "and remains so");
    peer.manufacture();
    assert_eq!(ask(peer, &startup()), 0);
    assert_eq!(ask(peer, &change_auth()), 0, "of a new TPM it is empty");
}

#[test]
fn both_tpms_live() {
    lives(&mut Quoin::new(true));
    let mut libtpms = Libtpms::new().unwrap();
    assert!(Libtpms::new().is_err(), "there is one in a process");
    lives(&mut libtpms);
}

/// A platform command, or a command of mssim: its number, and what comes with it.
fn served(stream: &mut TcpStream, tpm: &Mutex<Quoin>, event: &mut Vec<Vec<u8>>) -> Result<bool> {
    let number = |stream: &mut TcpStream| {
        let mut four = [0; 4];
        stream.read_exact(&mut four).map(|()| u32::from_be_bytes(four))
    };
    let octets = |stream: &mut TcpStream| {
        let mut all = vec![0; number(stream)? as usize];
        stream.read_exact(&mut all).map(|()| all)
    };
    let code = number(stream)?;
    let mut tpm = tpm.lock().unwrap();
    match code {
        1 => tpm.power_cycle(),
        3 => tpm.set_physical_presence(true),
        4 => tpm.set_physical_presence(false),
        5 => event.clear(),
        6 => event.push(octets(stream)?),
        7 => tpm.hash(&event.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        8 => {
            let mut locality = [0];
            stream.read_exact(&mut locality)?;
            let (request, mut response) = (octets(stream)?, Vec::new());
            tpm.execute(&request, locality[0], &mut response);
            stream.write_all(&u32::try_from(response.len()).unwrap().to_be_bytes())?;
            stream.write_all(&response)?;
        }
        21 => return Ok(false),
        _ => {}
    }
    drop(tpm);
    stream.write_all(&[0; 4])?;
    Ok(true)
}

/// A simulator in a loop: the command port. It manufactures a TPM whenever it is stopped.
fn simulator() -> u16 {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let (commands, platform, port) = (20000..30000)
        .step_by(2)
        .find_map(|port| Some((bind(port).ok()?, bind(port + 1).ok()?, port)))
        .expect("two free ports");
    thread::spawn(move || {
        loop {
            let tpm = Mutex::new(Quoin::new(true));
            thread::scope(|scope| {
                for listener in [&commands, &platform] {
                    let tpm = &tpm;
                    scope.spawn(move || {
                        let (mut stream, _) = listener.accept().unwrap();
                        let mut event = Vec::new();
                        while served(&mut stream, tpm, &mut event).unwrap_or(false) {}
                    });
                }
            });
        }
    });
    port
}

#[test]
fn a_simulator_lives() {
    lives(&mut Mssim::new("127.0.0.1".to_owned(), simulator()));
}

#[test]
fn a_simulator_measures_what_the_platform_does() {
    let read = command(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 2]);
    let answer = |peer: &mut dyn Peer| {
        peer.manufacture();
        peer.hash(&[b"boot ", b"block"]);
        assert_eq!(ask(peer, &startup()), 0);
        peer.hash(&[b"launch"]);
        let mut response = Vec::new();
        peer.execute(&read, 0, &mut response);
        response
    };
    let here = answer(&mut Quoin::new(true));
    assert_eq!(here.len(), 96, "two PCR");
    assert_eq!(answer(&mut Mssim::new("127.0.0.1".to_owned(), simulator())), here);
}

#[test]
fn a_simulator_that_has_ended_answers_with_nothing() {
    let mut response = vec![1];
    Mssim::new("127.0.0.1".to_owned(), 1).execute(&startup(), 0, &mut response);
    assert!(response.is_empty());
}

#[test]
fn a_peer_is_named() {
    let named = |from: &str| from.parse::<Beside>().map(|beside| beside.of_worker(1).to_string()).ok();
    assert_eq!(named("libtpms").as_deref(), Some("libtpms"));
    assert_eq!(named("tcp:127.0.0.1:2321").as_deref(), Some("tcp:127.0.0.1:2323"), "each worker has its own");
    for wrong in ["", "tcp:", "tcp:2321", "tcp:host:", "tcp:host:65536", "udp:host:1"] {
        assert_eq!(named(wrong), None, "{wrong}");
    }
}
