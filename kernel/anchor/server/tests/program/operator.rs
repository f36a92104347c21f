//! The operator's commands.

use crate::server::{Server, Tpm, head, mode, program, quorum, refused, run, said};
use std::fs;

#[test]
fn a_key_is_made_once_and_nobody_else_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let name = path.to_str().unwrap();
    let key = said(&run(&["key", name]));
    assert_eq!(key.trim().len(), 98);
    assert_eq!(said(&run(&["key", name])), key);
    assert_eq!((mode(&path), mode(&path.join("key.pem"))), (0o700, 0o600));
    assert!(refused(&run(&["show", folder.path().to_str().unwrap()])).contains("`quoin-anchor key` makes a folder"));
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

/// Both ways: a server that runs, and one that does not.
#[test]
fn an_operator_sees_what_is_known_and_the_reasons_are_kept() {
    let mut servers = [Server::new(&[])];
    let (one, anchors) = quorum(1, &servers);
    let tpm = Tpm::new(0x71, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    let (name, subject) = (servers[0].named(), tpm.subject());
    said(&run(&["hold", &name, &subject, "--reason", "stolen"]));
    let why = anchors.register(&mut client, head(3, 1)).unwrap_err().to_string();
    assert_eq!(why, "too few anchors serve this TPM: the anchor's operator has stopped this TPM");
    servers[0].stop();
    said(&run(&["release", &name, &subject, "--reason", "found"]));
    said(&run(&["forget", &name, &subject, "--reason", "disk lost"]));
    let shown = said(&run(&["show", &name]));
    for what in ["epoch none", "forgotten", "held at epoch 2: stolen", "released at epoch 2: found", "disk lost"] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&said(&run(&["show", &name, "--json"]))).unwrap();
    assert_eq!(json["tpms"][0]["subject"], subject);
    assert_eq!(json["notes"][2]["reason"], "disk lost");
    // The record of before starts again.
    servers[0].start(program(), &[]);
    let (_, anchors) = quorum(1, &servers);
    let mut restored = tpm.boot(2, &one, tpm.head, &tpm.mark);
    anchors.start(&mut restored, |_| Ok(head(2, 2))).unwrap();
}

#[test]
fn what_an_operator_cannot_do_is_refused_with_the_reason() {
    let server = Server::new(&[]);
    let (name, nobody) = (server.named(), "00".repeat(32));
    let forget = |subject: &str, reason: &str| run(&["forget", &name, subject, "--reason", reason]);
    assert!(refused(&forget(&nobody, "x")).contains("no TPM 0000"));
    assert!(refused(&forget(&nobody, " ")).contains("--reason says nothing"));
    assert!(refused(&forget(&nobody, &"x".repeat(501))).contains("more than 500 octets"));
    assert_eq!(forget("12", "x").status.code(), Some(2));
    said(&run(&["enrol", &name, &nobody, "--reason", "x"]));
    assert!(refused(&run(&["enrol", &name, &nobody, "--reason", "x"])).contains("known already"));
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
