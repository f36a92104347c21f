//! Strangers.

use crate::server::{Server, Tpm, quorum, run, said};
use anchor::wire::Request;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;
use zerocopy::IntoBytes;

/// Sends octets and waits for the end of the connection.
fn answer(server: &Server, octets: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(octets).unwrap();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// A request that was signed, of a TPM that nobody knows.
fn request(number: u8) -> Request {
    let keys = Server::new(&[]).key;
    let one = anchor::Quorum::of(1, &[keys]).unwrap();
    let tpm = Tpm::new(number, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    *client.prepare([1; 32]).unwrap()
}

#[test]
fn what_is_no_request_gets_no_answer_and_harms_nobody() {
    let server = Server::new(&[]);
    let request = request(0x61);
    let mut unsigned = request;
    unsigned.signature[5] ^= 1;
    assert!(answer(&server, b"GET / HTTP/1.1\r\n\r\n").is_empty());
    assert!(answer(&server, &[0; 386]).is_empty());
    assert!(answer(&server, unsigned.as_bytes()).is_empty());
    assert!(answer(&server, &request.as_bytes()[..385]).is_empty());
    assert_eq!(answer(&server, &[request.as_bytes(), request.as_bytes()].concat()).len(), 2 * 603);
    let log = server.logged();
    for why in ["amid a request", "no request", "nobody has signed"] {
        assert!(log.contains(why), "{why}: {log}");
    }
    let shown = said(&run(&["show", &server.named()]));
    assert!(shown.starts_with("1 TPMs\n"), "{shown}");
}

#[test]
fn a_connection_that_asks_nothing_is_closed_and_so_is_one_too_many() {
    let server = Server::new(&["--connections", "2", "--idle", "2"]);
    let mut idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let mut ends = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    };
    idle[0].write_all(b"Q").unwrap();
    let mut third = TcpStream::connect(&server.address).unwrap();
    assert!(ends(&mut third));
    assert!(server.logged().contains("2 connections are there already"), "{}", server.logged());
    assert!(idle.iter_mut().all(&mut ends));
    assert!(server.logged().contains("not whole after 2 s"), "{}", server.logged());
    assert_eq!(answer(&server, request(0x62).as_bytes()).len(), 603);
}

#[test]
fn an_anchor_that_is_full_or_closed_refuses_new_tpms_and_serves_those_that_it_knows() {
    let mut servers = [Server::new(&["--most", "1"])];
    let (one, anchors) = quorum(1, &servers);
    let [known, new] = [0x63, 0x64].map(|number| Tpm::new(number, &one));
    let ask = |tpm: &Tpm, boot| {
        let mut client = tpm.boot(boot, &one, tpm.head, &tpm.mark);
        anchors.settle(&mut client).map_err(|why| why.to_string())
    };
    assert_eq!(ask(&known, 1), Ok(()));
    assert_eq!(ask(&new, 1), Err("too few anchors serve this TPM: the anchor has no room for another TPM".into()));
    assert_eq!(ask(&known, 2), Ok(()));
    servers[0].stop();
    servers[0].start(crate::server::program(), &["--closed"]);
    let (_, anchors) = quorum(1, &servers);
    let ask = |tpm: &Tpm, boot| {
        let mut client = tpm.boot(boot, &one, tpm.head, &tpm.mark);
        anchors.settle(&mut client).map_err(|why| why.to_string())
    };
    assert_eq!(ask(&new, 2), Err("too few anchors serve this TPM: the anchor admits no new TPM".into()));
    said(&run(&["enrol", &servers[0].named(), &new.subject(), "--reason", "ours"]));
    assert_eq!((ask(&new, 3), ask(&known, 3)), (Ok(()), Ok(())));
}
