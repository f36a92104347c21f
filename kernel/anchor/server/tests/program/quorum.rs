//! TPMs that ask several anchors.

use crate::server::{Server, Tpm, head, quorum};
use anchor::client::{State, Verdict};

fn three() -> [Server; 3] {
    [(); 3].map(|()| Server::new(&[]))
}

#[test]
fn an_old_copy_does_not_start_and_the_newest_does_with_one_anchor_away() {
    let mut servers = three();
    let (two_of_three, anchors) = quorum(2, &servers);
    let tpm = Tpm::new(0x51, &two_of_three);
    let mut first = tpm.boot(1, &two_of_three, tpm.head, &tpm.mark);
    let mut old = None;
    let write = |mark| {
        old = Some((head(2, 1), mark));
        Ok(head(2, 1))
    };
    anchors.start(&mut first, write).unwrap();
    let newest = (head(3, 1), first.mark());
    anchors.register(&mut first, head(3, 1)).unwrap();
    servers[0].kill();
    let (old, mark) = old.unwrap();
    let mut copy = tpm.boot(2, &two_of_three, old, &mark);
    let why = anchors.settle(&mut copy).unwrap_err().to_string();
    assert_eq!(why, "the state is old: the anchors know epoch 3");
    let mut second = tpm.boot(3, &two_of_three, newest.0, &newest.1);
    anchors.start(&mut second, |_| Ok(head(4, 3))).unwrap();
    // And the first, which still runs, has lost it.
    let why = anchors.register(&mut first, head(4, 1)).unwrap_err().to_string();
    assert_eq!(why, "another copy has started: the anchors know epoch 4");
    assert_eq!(first.state(), State::Over(Verdict::Superseded(head(4, 3))));
}

#[test]
fn with_two_anchors_away_nobody_starts() {
    let mut servers = three();
    let (two_of_three, _) = quorum(2, &servers);
    servers[0].kill();
    servers[2].kill();
    let (_, anchors) = quorum(2, &servers);
    let tpm = Tpm::new(0x52, &two_of_three);
    let mut client = tpm.boot(1, &two_of_three, tpm.head, &tpm.mark);
    let patient = anchors.settle(&mut client).unwrap_err().to_string();
    assert_eq!(patient, "too few anchors answer: 1");
}
