//! What survives.

use crate::server::{Server, Tpm, head, program, quorum, run, said};
use core::time::Duration;

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
