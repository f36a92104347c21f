//! What is so with a database in a file only.

use crate::server::{Server, Tpm, head, program, quorum, refused, run, said};
use std::fs;
use std::process::Command;

/// The disk is full, which a limit of the file's size stands in for: nothing is promised that is not written, and what
/// was written stays.
#[test]
fn an_anchor_with_a_full_disk_refuses_and_forgets_nothing() {
    let mut servers = [Server::new(&[])];
    let (one, anchors) = quorum(1, &servers);
    let first = Tpm::new(0x21, &one);
    let mut client = first.boot(1, &one, first.head, &first.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    servers[0].stop();
    let size = servers[0].path().join("anchor.redb").metadata().unwrap().len();
    let mut limited = Command::new("sh");
    // In units of 512 octets; the signal is not wanted, the error is.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", size / 512);
    limited.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_quoin-anchor"));
    servers[0].start(limited, &[]);
    let (_, anchors) = quorum(1, &servers);
    let mut refused = 0;
    for number in 1..=200_u8 {
        let tpm = Tpm::new(number, &one);
        let mut client = tpm.boot(2, &one, tpm.head, &tpm.mark);
        match anchors.settle(&mut client).map_err(|why| why.to_string()) {
            Err(why) if why == "too few anchors serve this TPM: the anchor cannot write" => {
                refused += 1;
                if refused > 3 {
                    break;
                }
            }
            Ok(()) => {}
            Err(_) if number == 0x21 => {}
            Err(why) => panic!("{why}"),
        }
    }
    assert!(refused > 3, "200 TPMs had room");
    servers[0].stop();
    servers[0].start(program(), &[]);
    let (_, anchors) = quorum(1, &servers);
    let mut old = first.boot(9, &one, first.head, &first.mark);
    assert!(anchors.settle(&mut old).unwrap_err().to_string().contains("is old"));
    let tpm = Tpm::new(0xa0, &one);
    let mut client = tpm.boot(3, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 3))).unwrap();
}

/// Without its memory it would break its promises.
#[test]
fn a_key_without_its_database_serves_nobody() {
    let mut server = Server::new(&[]);
    server.stop();
    let database = server.path().join("anchor.redb");
    fs::rename(&database, server.path().join("kept")).unwrap();
    let serve = ["serve", &server.named(), "--listen", "127.0.0.1:0"];
    assert!(refused(&run(&serve)).contains("is gone: an anchor that has forgotten"));
    let other = Server::new(&[]);
    fs::copy(other.path().join("anchor.redb"), &database).unwrap();
    assert!(refused(&run(&serve)).contains("of an anchor with another key"));
}

#[test]
fn an_anchor_is_served_once() {
    let server = Server::new(&[]);
    let twice = refused(&run(&["serve", &server.named(), "--listen", "127.0.0.1:0"]));
    assert!(twice.contains("cannot open") && twice.contains("anchor.redb"), "{twice}");
}

#[test]
fn an_anchor_that_lost_its_disk_comes_back_with_what_the_others_know() {
    let mut servers = [(); 3].map(|()| Server::new(&[]));
    let (two_of_three, anchors) = quorum(2, &servers);
    let tpm = Tpm::new(0x72, &two_of_three);
    let mut client = tpm.boot(1, &two_of_three, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    servers[0].stop();
    fs::remove_file(servers[0].path().join("anchor.redb")).unwrap();
    let exports: Vec<String> = servers[1..]
        .iter()
        .map(|server| {
            let file = servers[0].path().join(hex::encode(&server.key[..4]));
            fs::write(&file, said(&run(&["export", &server.named()]))).unwrap();
            file.to_str().unwrap().to_owned()
        })
        .collect();
    let name = servers[0].named();
    let adopt =
        |files: &[&str]| run(&[&["adopt", &name, "--quorum", "2", "--reason", "disk lost"][..], files].concat());
    assert!(refused(&adopt(&[&exports[0]])).contains("of 1 other anchors, not of 2"));
    assert!(refused(&adopt(&[&exports[0], &exports[0]])).contains("of 1 other anchors, not of 2"));
    let changed = fs::read_to_string(&exports[1]).unwrap().replacen("\"entry\":\"03", "\"entry\":\"13", 1);
    fs::write(format!("{name}/changed"), changed).unwrap();
    assert!(refused(&adopt(&[&exports[0], &format!("{name}/changed")])).contains("is no export"));
    assert!(!servers[0].path().join("anchor.redb").exists());
    assert_eq!(said(&adopt(&[&exports[0], &exports[1]])), "1 TPMs are adopted\n");
    assert!(refused(&adopt(&[&exports[0], &exports[1]])).contains("nothing is lost"));
    servers[0].start(program(), &[]);
    let shown = said(&run(&["show", &name]));
    assert!(shown.contains("epoch 2") && shown.contains("adopted at epoch 2: disk lost"), "{shown}");
    // With the one that came back, and one other: the old copy is seen.
    servers[1].kill();
    let (_, anchors) = quorum(2, &servers);
    let mut old = tpm.boot(2, &two_of_three, tpm.head, &tpm.mark);
    assert!(anchors.settle(&mut old).unwrap_err().to_string().contains("is old"));
}
