//! The operator's commands.

use crate::server::{Server, Tpm, head, mode, program, quorum, refused, run, said};

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
    assert_eq!(why, "the anchor's operator has stopped this TPM");
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
