//! A TPM that moves between two firmwares, by the programs that an operator has: a relay at each host, and the carrier.

mod machines;

use core::time::Duration;
use machines::{Firmware, Host, Running, destination, program, source};
use migration::message::Kind;
use migration::{Refusal, Terms};
use moves::scene::{self, Owner};
use relay::{frame, service};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

/// Two hosts: one whose port is a Unix socket's, and one whose port is TCP's.
struct Place {
    hosts: [Host; 2],
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("port");
        let old = Host::start(folder.path(), "old", port.to_str().unwrap());
        let new = Host::start(folder.path(), "new", "127.0.0.1:0");
        Self { hosts: [old, new], folder }
    }

    /// Firmwares at both, of which the destination loses this.
    fn firmwares(&self, terms: [Terms; 2], loses: [Option<Kind>; 2]) -> [Firmware; 2] {
        let [old, new] = terms.map(|terms| &*Box::leak(Box::new(terms)));
        let firmwares = [source(&self.hosts[0], old, loses[0]), destination(&self.hosts[1], new, loses[1])];
        // Until the relays have them.
        thread::sleep(Duration::from_millis(200));
        firmwares
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The arguments of a carrier between them, and these.
    fn carry<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let [old, new] = &self.hosts;
        [&["carry", "--source", &old.port, "--destination", &new.port][..], more].concat()
    }

    fn receipt<'a>(&'a self, file: &'a str) -> [&'a str; 5] {
        ["carry", "--destination", &self.hosts[1].port, "--receipt", file]
    }
}

/// Status, and what it has said and complained of.
fn ends(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program(arguments).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// It lives at the destination, within ten seconds, and there alone.
fn has_moved([old, new]: &[Firmware; 2]) {
    let until = Instant::now() + Duration::from_secs(10);
    while !new.seen.answers() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(new.seen.answers() && !old.seen.answers());
}

fn refuses(arguments: &[&str], who: &str, why: Refusal) {
    let (status, _, complaint) = ends(arguments);
    assert_eq!(status, Some(3), "{complaint}");
    assert!(complaint.contains(&format!("{who} refuses: {why} ({})", why.code())), "{complaint}");
}

fn fails(arguments: &[&str], why: &str) {
    let (status, _, complaint) = ends(arguments);
    assert!(status == Some(1) && complaint.contains(why), "{status:?}: {complaint}");
}

#[test]
fn a_tpm_moves_and_each_message_is_named_with_its_size_and_direction() {
    let place = Place::new();
    let firmwares = place.firmwares(scene::terms(), [None; 2]);
    assert!(firmwares[0].seen.answers());
    let (status, said, complaint) = ends(&place.carry(&[]));
    assert_eq!(status, Some(0), "{complaint}");
    // What the destination asks and says again depends on the time.
    let mut kinds: Vec<&str> = Vec::new();
    for kind in said.lines().filter_map(|line| line.split(' ').next()) {
        if kind == "chunk" || kind != "ask" && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let before = ["begin", "offer", "answer", "proof", "ready", "head", "chunk", "chunk", "chunk", "kept"];
    assert_eq!(kinds, [&before[..], &["gone", "live", "the"]].concat(), "{said}");
    assert!(
        said.starts_with("begin        4 octets to the source\noffer      104 octets to the destination\n"),
        "{said}"
    );
    assert!(said.ends_with("the TPM lives at the destination\n"));
    has_moved(&firmwares);
}

/// Neither lists the other: the owner's grant, or nothing moves.
#[test]
fn the_owners_grant_goes_with_it() {
    let place = Place::new();
    let owner = Owner::new("owner");
    let [old, new] = scene::terms();
    let terms = |terms| Terms { owner: Some(owner.public), successors: Vec::new(), predecessors: Vec::new(), ..terms };
    let firmwares = place.firmwares([terms(old), terms(new)], [None; 2]);
    refuses(&place.carry(&[]), "the source", Refusal::Successor);
    assert!(firmwares[0].seen.answers());
    let file = place.path("grant");
    fs::write(&file, owner.grant(|_| ()).octets()).unwrap();
    assert_eq!(ends(&place.carry(&["--grant", &file])).0, Some(0));
    has_moved(&firmwares);
}

#[test]
fn a_refusal_of_the_destinations_is_said_by_name() {
    let place = Place::new();
    let [old, new] = scene::terms();
    let new = Terms { predecessors: Vec::new(), itself: true, ..new };
    let firmwares = place.firmwares([old, new], [None; 2]);
    refuses(&place.carry(&[]), "the destination", Refusal::Predecessor);
    assert!(firmwares[0].seen.answers() && !firmwares[1].seen.answers());
}

/// A firmware loses what it is sent, so that the move stands there; then the carrier is killed, and another one comes.
#[test]
fn a_carrier_that_is_killed_is_started_again() {
    use Kind::{Answer, Chunk, Gone, Head, Kept, Offer, Proof, Ready};
    let at_source = [Answer, Ready, Kept].map(|kind| [Some(kind), None]);
    let at_destination = [Offer, Proof, Head, Chunk, Gone].map(|kind| [None, Some(kind)]);
    for loses in at_source.into_iter().chain(at_destination) {
        let place = Place::new();
        let firmwares = place.firmwares(scene::terms(), loses);
        let kind = loses[0].or(loses[1]).unwrap();
        let mut carrier = Running::start(&place.carry(&[]));
        carrier.line(quoin_relay::journey::name(kind));
        thread::sleep(Duration::from_millis(100));
        assert!(!firmwares[1].seen.answers(), "{kind:?}");
        drop(carrier);
        firmwares.iter().for_each(|firmware| firmware.seen.hear_all());
        let (status, said, complaint) = ends(&place.carry(&[]));
        assert_eq!(status, Some(0), "{kind:?}: {said}{complaint}");
        has_moved(&firmwares);
    }
}

/// The source's machine is gone when the receipt is brought.
#[test]
fn a_receipt_is_kept_and_brought_later() {
    let place = Place::new();
    let [old, new] = place.firmwares(scene::terms(), [None, Some(Kind::Gone)]);
    let file = place.path("receipt");
    let mut carrier = Running::start(&place.carry(&["--keep-receipt", &file]));
    carrier.line("gone");
    drop((carrier, old));
    // What was on its way arrives before it hears.
    thread::sleep(Duration::from_secs(1));
    new.seen.hear_all();
    assert!(!new.seen.answers());
    let kept = fs::read(&file).unwrap();
    assert_eq!(kept.len(), 36);

    let bad = place.path("bad");
    fs::write(&bad, [&kept[..35], &[kept[35] ^ 1]].concat()).unwrap();
    refuses(&place.receipt(&bad), "the destination", Refusal::Receipt);
    for octets in [&kept[..35], &[&kept[..], &[0]].concat(), b"the house's keys are under the third"] {
        fs::write(&bad, octets).unwrap();
        fails(&place.receipt(&bad), "is no receipt");
    }
    assert!(!new.seen.answers());
    assert_eq!(ends(&place.receipt(&file)).0, Some(0));
    assert!(new.seen.answers());
}

#[test]
fn nothing_is_begun_where_a_file_is_not_as_it_must_be() {
    let place = Place::new();
    let firmwares = place.firmwares(scene::terms(), [None; 2]);
    let file = place.path("file");
    fails(&place.carry(&["--grant", &file]), "file");
    fs::write(&file, [7; 233]).unwrap();
    fails(&place.carry(&["--grant", &file]), "is no grant");
    fails(&place.carry(&["--keep-receipt", &file]), "is there already");
    assert_eq!(fs::read(&file).unwrap(), [7; 233]);
    assert!(firmwares[0].seen.answers());
}

#[test]
fn a_receipt_that_cannot_be_kept_does_not_stop_the_move_and_is_said() {
    let place = Place::new();
    let firmwares = place.firmwares(scene::terms(), [None; 2]);
    let file = place.path("no-folder/receipt");
    fails(&place.carry(&["--keep-receipt", &file]), "the TPM lives at the destination, but its receipt is not kept");
    has_moved(&firmwares);
}

#[test]
fn a_side_that_is_not_there_or_goes_or_says_nothing_is_named() {
    let place = Place::new();
    fails(&["carry", "--source", &place.path("nobody"), "--destination", "127.0.0.1:1"], "the relay of the source");
    fails(&place.carry(&[]), "has closed the connection: no firmware is there any more");
    let [old, new] = place.firmwares(scene::terms(), [None, Some(Kind::Offer)]);
    fails(&place.carry(&["--patience", "1"]), "nothing has happened for 1 seconds");
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(new);
        });
        fails(&place.carry(&[]), "the relay of the destination has closed the connection");
    });
    assert!(old.seen.answers());
}

/// The one that is there goes on.
#[test]
fn a_second_carrier_is_turned_away() {
    let place = Place::new();
    let firmwares = place.firmwares(scene::terms(), [None, Some(Kind::Offer)]);
    let mut first = Running::start(&place.carry(&[]));
    first.line("offer");
    fails(&place.carry(&[]), "it had another carrier");
    assert!(first.0.try_wait().unwrap().is_none());
    assert!(firmwares[0].seen.answers());
}

/// A firmware's messages that nobody carries are lost, and not kept for who comes later.
#[test]
fn nothing_waits_for_a_carrier() {
    let place = Place::new();
    let host = &place.hosts[1];
    let mut console = UnixStream::connect(&host.console).unwrap();
    console.write_all(&frame(service::MIGRATION, 0, b"early").unwrap()).unwrap();
    thread::sleep(Duration::from_millis(200));
    let mut carrier = TcpStream::connect(&host.port).unwrap();
    thread::sleep(Duration::from_millis(200));
    let late = frame(service::MIGRATION, 0, b"late").unwrap();
    let mut heard = vec![0; late.len()];
    carrier.set_nonblocking(true).unwrap();
    // Until the relay has let it in.
    while carrier.peek(&mut heard).is_err() {
        console.write_all(&late).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    carrier.set_nonblocking(false).unwrap();
    carrier.read_exact(&mut heard).unwrap();
    assert_eq!(heard, late);
}

/// Neither as anchors nor otherwise, and nothing that is no frame.
#[test]
fn a_carrier_that_speaks_to_another_service_is_sent_away() {
    let place = Place::new();
    let host = &place.hosts[1];
    let mut console = UnixStream::connect(&host.console).unwrap();
    console.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    thread::sleep(Duration::from_millis(200));
    for bad in [frame(service::ANCHORS, 0, b"?").unwrap(), frame(service::MIGRATION, 1, b"?").unwrap(), vec![0xff; 4]] {
        let mut carrier = TcpStream::connect(&host.port).unwrap();
        carrier.write_all(&bad).unwrap();
        assert!(matches!(carrier.read(&mut [0]), Ok(0) | Err(_)), "{bad:x?}");
        assert!(console.read(&mut [0]).is_err(), "{bad:x?}");
    }
    let good = frame(service::MIGRATION, 0, b"good").unwrap();
    let mut carrier = TcpStream::connect(&host.port).unwrap();
    carrier.write_all(&good).unwrap();
    let mut heard = vec![0; good.len()];
    console.read_exact(&mut heard).unwrap();
    assert_eq!(heard, good);
}

/// Whatever a relay says that is none: the carrier ends, and names it.
#[test]
fn a_relay_that_lies_ends_the_carrier() {
    let message = |octets: &[u8]| frame(service::MIGRATION, 0, octets).unwrap();
    let begin = |kind: u8| message(&[1, kind, 0, 0]);
    for (said, why) in [
        (vec![0xff; 4], "octets have come that are no whole frame"),
        (frame(service::ANCHORS, 0, b"?").unwrap(), "a message of service 2"),
        (message(b"?"), "says what is no message of a migration"),
        (message(&[2, 1, 0, 0]), "another version"),
        (begin(Kind::Live as u8), "the source says `live`, which is not for it to say"),
        (begin(Kind::Begin as u8), "the source says `begin`"),
        (message(&[1, Kind::Refused as u8, 0, 0, 0xff, 0xff, 0, 0]), "by an unknown code, 65535"),
        (begin(Kind::Refused as u8), "out of shape"),
        (
            message(&[&[1, Kind::Chunk as u8, 0, 0][..], &[0; 65_528]].concat()).repeat(130),
            "say more than 8388608 octets",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let relays = thread::spawn(move || {
            let (mut source, mut destination) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
            let mut begin = frame(service::MIGRATION, 0, &[1, Kind::Begin as u8, 0, 0]).unwrap();
            source.read_exact(&mut begin).unwrap();
            let heard = thread::spawn(move || destination.read_to_end(&mut Vec::new()));
            let _ = source.write_all(&said);
            let _ = source.read_to_end(&mut Vec::new());
            heard.join().unwrap()
        });
        fails(&["carry", "--source", &address, "--destination", &address], why);
        let _ = relays.join().unwrap();
    }
}
