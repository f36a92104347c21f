//! What survives.

use crate::server::{Server, Tpm, head, program, quorum, run, said};
use core::time::Duration;
use std::process::Command;

#[test]
fn what_was_answered_is_known_after_a_restart() {
    let mut servers = [Server::new(&[])];
    let (one, anchors) = quorum(1, &servers);
    let tpm = Tpm::new(0x53, &one);
    let mut client = tpm.boot(1, &one, tpm.head, &tpm.mark);
    anchors.start(&mut client, |_| Ok(head(2, 1))).unwrap();
    servers[0].stop();
    servers[0].start(program(), &[]);
    let shown = said(&run(&["show", &servers[0].named()]));
    assert!(shown.starts_with("1 TPMs\n") && shown.contains("epoch 2"), "{shown}");
}

/// Ten times: whatever was acknowledged is there, and the TPM goes on.
#[test]
fn kill_9_amid_writes_loses_nothing_that_was_answered() {
    let mut servers = [Server::new(&[])];
    let (one, _) = quorum(1, &servers);
    let tpm = Tpm::new(0x54, &one);
    let (mut record, mut mark) = (tpm.head, tpm.mark);
    for boot in 1..=10_u8 {
        let (_, anchors) = quorum(1, &servers);
        let mut client = tpm.boot(boot, &one, record, &mark);
        anchors.start(&mut client, |_| Ok(head(record.epoch.get() + 1, boot))).unwrap();
        let process = std::thread::scope(|scope| {
            let server = &mut servers[0];
            let killer = scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(7 * u64::from(boot)));
                server.kill();
            });
            // Commits until the anchor is gone; the last one may be known or not.
            let mut last = client.registered().unwrap();
            loop {
                (record, mark) = (head(last.epoch.get() + 1, boot), client.mark());
                if anchors.register(&mut client, record).is_err() {
                    break;
                }
                last = record;
            }
            killer.join()
        });
        process.unwrap();
        servers[0].start(program(), &[]);
        // What was acknowledged before is old.
        let (_, anchors) = quorum(1, &servers);
        let mut old = tpm.boot(100 + boot, &one, tpm.head, &tpm.mark);
        assert!(anchors.settle(&mut old).unwrap_err().to_string().contains("is old"));
    }
}

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
