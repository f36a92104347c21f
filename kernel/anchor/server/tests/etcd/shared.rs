//! What only etcd brings.

use crate::cluster::Etcd;
use crate::server::{Server, Tpm, head, program, quorum, refused, run};
use std::fs;
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::copy(from.join("key.pem"), to.join("key.pem")).unwrap();
}

/// As the firmware is told when an anchor's disk is full: no answer is made up, and none is taken from memory.
#[test]
fn while_etcd_is_away_nothing_is_promised_and_when_it_is_back_all_is_known() {
    let mut etcd = Etcd::new(false);
    let mut servers = [Server::with_database(vec!["--etcd".into(), etcd.url()])];
    servers[0].start(program(), &[]);
    let (one, anchors) = quorum(1, &servers);
    let tpm = Tpm::new(0x81, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    let cannot = "too few anchors serve this TPM: the anchor cannot write";
    etcd.kill();
    assert_eq!(anchors.register(&mut client, head(3, 1)).unwrap_err().to_string(), cannot);
    // Also what would only be read: the same boot asks once more.
    let mut old = tpm.boot(2, &one, tpm.head, &tpm.mark);
    assert_eq!(anchors.settle(&mut old).unwrap_err().to_string(), cannot);
    assert!(servers[0].logged().contains("the database: etcd at http://127.0.0.1"), "{}", servers[0].logged());
    etcd.start();
    etcd.signal("-STOP");
    let mut old = tpm.boot(3, &one, tpm.head, &tpm.mark);
    assert_eq!(anchors.settle(&mut old).unwrap_err().to_string(), cannot);
    etcd.signal("-CONT");
    let mut old = tpm.boot(4, &one, tpm.head, &tpm.mark);
    assert!(anchors.settle(&mut old).unwrap_err().to_string().contains("is old"));
    etcd.kill();
    servers[0].stop();
    assert!(refused(&serve(&servers[0], &etcd, &[])).contains("etcd at http://127.0.0.1"));
}

fn serve(server: &Server, etcd: &Etcd, options: &[&str]) -> std::process::Output {
    let mut command = program();
    command.args(["serve", &server.named(), "--listen", "127.0.0.1:0", "--etcd", &etcd.url()]);
    command.args(options).output().unwrap()
}

#[test]
fn etcd_is_known_by_its_authority_and_knows_who_asks_by_a_certificate() {
    let etcd = Etcd::new(true);
    let file = |name: &str| etcd.file(name).to_str().unwrap().to_owned();
    let options = |ca: &str, cert: &str, key: &str| {
        ["--etcd-ca", ca, "--etcd-cert", cert, "--etcd-key", key]
            .map(|text| if text.starts_with('-') { text.to_owned() } else { file(text) })
    };
    let right = options("ca.pem", "c.pem", "c.key");
    let database = [&["--etcd".to_owned(), etcd.url()][..], &right].concat();
    let mut servers = [Server::with_database(database)];
    servers[0].start(program(), &[]);
    let (one, anchors) = quorum(1, &servers);
    let tpm = Tpm::new(0x82, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    servers[0].stop();
    let refusal = |options: &[String]| {
        refused(&serve(&servers[0], &etcd, &options.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    assert!(refusal(&options("x.pem", "c.pem", "c.key")).contains("invalid peer certificate"));
    let unknown = refusal(&right[..2]);
    assert!(unknown.contains("etcd at https://"), "{unknown}");
    let mixed = refusal(&options("ca.pem", "c.pem", "e.key"));
    assert!(mixed.contains("is not for the certificate in"), "{mixed}");
    assert!(refusal(&[]).contains("https wants --etcd-ca"));
}

/// The folder has the key alone: nothing old comes with it.
#[test]
fn an_old_folder_that_is_put_back_puts_back_nothing() {
    let mut servers = [Server::new(&[])];
    let old = tempfile::tempdir().unwrap();
    copy(&servers[0].path(), old.path());
    let (one, anchors) = quorum(1, &servers);
    let tpm = Tpm::new(0x83, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    servers[0].stop();
    fs::remove_dir_all(servers[0].path()).unwrap();
    copy(old.path(), &servers[0].path());
    servers[0].start(program(), &[]);
    let (_, anchors) = quorum(1, &servers);
    let mut copy = tpm.boot(2, &one, tpm.head, &tpm.mark);
    assert!(anchors.settle(&mut copy).unwrap_err().to_string().contains("is old"));
}

/// Two copies of a TPM, each of which asks another process of the anchor, all the time.
#[test]
fn of_two_processes_of_one_anchor_each_knows_what_the_other_has_promised() {
    let first = Server::new(&[]);
    let mut second = Server::new(&[]);
    second.stop();
    copy(&first.path(), &second.path());
    second.start(program(), &[]);
    second.key = first.key;
    let (one, by_first) = quorum(1, core::slice::from_ref(&first));
    let (_, by_second) = quorum(1, core::slice::from_ref(&second));
    let tpm = Tpm::new(0x84, &one);
    // One state goes on, now by the one and now by the other.
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    by_first.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    for epoch in 3..20 {
        let anchors = if epoch % 2 == 0 { &by_first } else { &by_second };
        anchors.register(&mut client, head(epoch, 1)).unwrap();
    }
    // From the same record two start at once: whatever their order, no two of them go on.
    let (record, mark) = (head(19, 1), client.mark());
    let live = std::thread::scope(|scope| {
        let threads = [(2_u8, by_first), (3, by_second)].map(|(boot, anchors)| {
            let (tpm, one, mark) = (&tpm, &one, &mark);
            scope.spawn(move || {
                let mut twin = tpm.boot(boot, one, record, mark);
                anchors.start(&mut twin, |_| Ok(head(20, boot))).is_ok()
                    && (21..60).all(|epoch| anchors.register(&mut twin, head(epoch, boot)).is_ok())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(live.iter().filter(|&&lives| lives).count() <= 1, "{live:?}");
}

#[test]
fn whoever_forgets_where_the_database_is_is_told() {
    let mut server = Server::new(&[]);
    server.stop();
    let serve = ["serve", &server.named(), "--listen", "127.0.0.1:0"];
    let without = Command::new(env!("CARGO_BIN_EXE_quoin-anchor")).args(serve).output().unwrap();
    assert!(refused(&without).contains("Is it in etcd? Then --etcd is missing"));
    let elsewhere = run(&[&serve[..], &["--etcd-prefix", "elsewhere"]].concat());
    assert!(refused(&elsewhere).contains("etcd has nothing at elsewhere/"));
}
