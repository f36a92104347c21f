//! A TPM's side: how it starts, and each way in which it does not.

use super::{Anchors, TPM, boot, head, key};
use crate::client::{Boot, Client, Ignored, State, Verdict};
use crate::keys::{Keys, P384};
use crate::mark::Mark;
use crate::quorum::Quorum;
use crate::wire::{Head, Malformed, Reason, Reply, status};
use zerocopy::IntoBytes;

/// A TPM whose record is at epoch 1, and that no anchor knows.
fn new(quorum: &Quorum) -> (Head, Mark) {
    (head(1, 0xee), Mark::new(quorum))
}

#[test]
fn a_new_tpm_starts_and_the_next_boot_goes_on_from_its_record() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (first, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    assert_eq!((first.state(), first.registered()), (State::Holding, Some(head(2, 1))));
    let (second, _) = anchors.start(&quorum, &keys, 2, (head(2, 1), mark), &[1, 2]);
    assert_eq!((second.state(), second.registered()), (State::Holding, Some(head(3, 2))));
}

#[test]
fn an_old_record_does_not_start() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (mut first, old) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    first.register(head(3, 1), [4; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    for (nonce, record) in [(2, (head(2, 1), old)), (3, new(&quorum))] {
        let mut copy = anchors.ask(&quorum, &keys, nonce, record, &[1, 2]);
        assert_eq!(copy.state(), State::Over(Verdict::Old(head(3, 1))));
        assert!(copy.prepare([2; 32]).is_none() && copy.settle([2; 32]).is_none());
    }
}

#[test]
fn the_older_of_two_copies_learns_at_its_next_commit_that_another_has_started() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (mut first, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1, 2]);
    let (second, _) = anchors.start(&quorum, &keys, 2, (head(2, 1), mark), &[0, 1, 2]);
    assert_eq!(second.state(), State::Holding);
    first.register(head(3, 1), [4; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    assert_eq!(first.state(), State::Outrun);
    first.prepare([5; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    assert_eq!(first.state(), State::Over(Verdict::Superseded(head(3, 2))));
}

/// Somebody asked for the turn, and nothing came of it.
#[test]
fn a_tpm_that_was_outrun_by_nobody_goes_on_holding_what_it_held() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (mut first, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1, 2]);
    let mut other = Client::new(&quorum, &keys, boot(2), head(2, 1), &mark);
    other.prepare([1; 32]).unwrap();
    anchors.serve(&mut other, &[0, 1, 2]);
    first.register(head(3, 1), [4; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    assert_eq!(first.state(), State::Outrun);
    first.prepare([5; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    first.settle([6; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    // The head that was out is not registered, and is asked for again.
    assert_eq!((first.state(), first.registered()), (State::Holding, Some(head(2, 1))));
    first.register(head(3, 1), [7; 32]).unwrap();
    anchors.serve(&mut first, &[0, 1, 2]);
    assert_eq!(first.registered(), Some(head(3, 1)));
}

/// The power goes after one anchor has accepted: the next boot's record must know it, whichever anchors answer.
#[test]
fn a_head_that_one_anchor_has_accepted_locks_nobody_out() {
    for reached in [[0, 1], [1, 2], [0, 2]] {
        let (mut anchors, keys) = (Anchors::new(3), key(TPM));
        let quorum = anchors.quorum(2);
        let (mut first, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
        let next = first.mark();
        first.register(head(3, 1), [4; 32]).unwrap();
        anchors.serve(&mut first, &[0]);
        assert_eq!((first.state(), first.granted()), (State::Waiting, 1));
        let (second, _) = anchors.start(&quorum, &keys, 2, (head(3, 1), next), &reached);
        assert_eq!(second.registered(), Some(head(4, 2)), "{reached:?}");
        // The record before it is old now.
        let old = anchors.ask(&quorum, &keys, 3, (head(2, 1), mark), &[1, 2]);
        assert_eq!(old.state(), State::Over(Verdict::Old(head(4, 2))), "{reached:?}");
    }
}

#[test]
fn a_record_that_is_written_while_a_head_is_out_names_it() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (mut first, _) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    first.register(head(3, 1), [4; 32]).unwrap();
    anchors.serve(&mut first, &[0]);
    assert_eq!(first.mark().heads(), [head(2, 1), head(3, 1)]);
    assert!(first.register(head(4, 1), [5; 32]).is_none(), "another head while one is out");
}

#[test]
fn a_record_that_is_written_without_a_quorum_names_what_the_last_one_did_and_itself_never() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (first, _) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    let alone = Client::new(&quorum, &keys, boot(2), head(3, 1), &first.mark());
    let mark = alone.mark();
    assert_eq!((mark.heads(), mark.names_own()), (&[head(2, 1), head(3, 1)][..], false));
    let (third, _) = anchors.start(&quorum, &keys, 3, (head(4, 2), mark), &[1, 2]);
    assert_eq!(third.state(), State::Holding);
}

#[test]
fn anchors_that_know_nothing_of_a_registered_record_do_not_start_it() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (_, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    let next = Mark::naming(1, &quorum, &[head(2, 1)], true);
    assert_ne!(mark, next);
    let mut client = Client::new(&quorum, &keys, boot(2), head(3, 1), &next);
    client.prepare([1; 32]).unwrap();
    Anchors::new(3).serve(&mut client, &[0, 1]);
    assert_eq!(client.state(), State::Over(Verdict::Unknown));
}

/// The operator has an old copy restored: all anchors are made to forget.
#[test]
fn what_the_operator_has_had_forgotten_counts_no_more_once_all_have() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (_, old) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1, 2]);
    let newer = Mark::naming(1, &quorum, &[head(2, 1)], true);
    anchors.start(&quorum, &keys, 2, (head(2, 1), newer), &[0, 1, 2]);
    let restored = (head(2, 1), old);
    anchors.0[0].1.forget();
    let one_has_not = anchors.ask(&quorum, &keys, 3, restored, &[0, 1]);
    assert_eq!(one_has_not.state(), State::Over(Verdict::Old(head(3, 2))));
    anchors.0[1].1.forget();
    anchors.0[2].1.forget();
    let (client, _) = anchors.start(&quorum, &keys, 4, restored, &[1, 2]);
    assert_eq!((client.state(), client.registered()), (State::Holding, Some(head(3, 4))));
}

/// A change of the anchors is a change of the measured settings.
#[test]
fn a_mark_of_other_anchors_counts_for_nothing() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let (mut others, quorum) = (Anchors::new(5), anchors.quorum(2));
    let (first, mark) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0, 1]);
    let five = others.quorum(3);
    assert!(mark.is_of(&quorum) && !mark.is_of(&five) && !mark.is_of(&anchors.quorum(3)));
    let (second, _) = others.start(&five, &keys, 2, (head(2, 1), first.mark()), &[0, 1, 2]);
    assert_eq!(second.state(), State::Holding);
}

#[test]
fn too_few_anchors_are_waited_for_and_refusals_are_named() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (own, mark) = new(&quorum);
    let mut client = Client::new(&quorum, &keys, boot(1), own, &mark);
    assert!(client.settle([2; 32]).is_none() && client.register(own, [2; 32]).is_none(), "out of turn");
    client.prepare([1; 32]).unwrap();
    anchors.0[0].1.hold(true);
    anchors.0[1].1.hold(true);
    anchors.serve(&mut client, &[0]);
    assert!(client.state() == State::Waiting && !client.is_held());
    anchors.serve(&mut client, &[1]);
    assert_eq!((client.state(), client.reason()), (State::Unserved, Some(Reason::Held)));
    assert!(client.is_held(), "no quorum is left");
}

/// One test for each reason: none of these counts, and the right answer is taken after it.
#[test]
fn what_is_no_answer_changes_nothing() {
    let (mut anchors, keys) = (Anchors::new(3), key(TPM));
    let quorum = anchors.quorum(2);
    let (own, mark) = new(&quorum);
    let mut client = Client::new(&quorum, &keys, boot(1), own, &mark);
    assert_eq!(client.hear(0, anchors_reply(&mut anchors).as_bytes()), Err(Ignored::NotAsked));
    let earlier = *client.prepare([1; 32]).unwrap();
    let replayed = anchors.answer(0, &earlier);
    let request = *client.prepare([2; 32]).unwrap();
    let right = anchors.answer(0, &request);
    let by = |number, reply: Reply| reply.sign(&key(number)).unwrap();
    let stranger = Client::new(&quorum, &key(0x66), boot(5), own, &mark).prepare([1; 32]).copied().unwrap();
    let cases = [
        (3, right, Ignored::NoAnchor),
        (0, Reply { magic: *b"QnR\x02", ..right }, Ignored::Malformed(Malformed::Magic)),
        (0, Reply { reserved: 1, ..right }, Ignored::Malformed(Malformed::Field)),
        (0, replayed, Ignored::OtherRequest),
        (1, right, Ignored::Signature),
        (0, by(4, right), Ignored::Signature),
        (0, by(1, Reply::to(&request, status::ACCEPTED)), Ignored::Status),
        // A request that this TPM has never signed, and one that is not later than its own.
        (0, by(1, Reply::to(&request, status::OUTRUN).showing(&stranger)), Ignored::Shown),
        (0, by(1, Reply::to(&request, status::OUTRUN).showing(&earlier)), Ignored::Shown),
        (0, by(1, Reply::to(&request, status::OUTRUN)), Ignored::Shown),
        (0, by(1, Reply::to(&request, status::PROMISED).showing(&earlier)), Ignored::Shown),
    ];
    for (number, reply, why) in cases {
        assert_eq!(client.hear(number, reply.as_bytes()), Err(why));
        assert_eq!((client.state(), client.granted()), (State::Waiting, 0), "{why:?}");
    }
    assert_eq!(client.hear(0, &right.as_bytes()[1..]), Err(Ignored::Malformed(Malformed::Size)));
    assert_eq!(client.hear(0, right.as_bytes()), Ok(()));
    assert_eq!(client.hear(0, right.as_bytes()), Err(Ignored::NotAsked), "one anchor counts once");
    assert_eq!(client.granted(), 1);
}

fn anchors_reply(anchors: &mut Anchors) -> Reply {
    let quorum = anchors.quorum(2);
    let keys = key(TPM);
    let mut other = Client::new(&quorum, &keys, boot(9), head(1, 0xee), &Mark::new(&quorum));
    let request = *other.prepare([1; 32]).unwrap();
    Anchors::new(3).answer(0, &request)
}

/// 4,824 replies.
#[test]
fn every_bit_of_a_reply_counts() {
    let (mut anchors, keys) = (Anchors::new(1), key(TPM));
    let quorum = anchors.quorum(1);
    let (mut client, _) = anchors.start(&quorum, &keys, 1, new(&quorum), &[0]);
    let request = *client.prepare([9; 32]).unwrap();
    // A promise that shows what was accepted: no field is empty.
    let reply = anchors.answer(0, &request);
    for bit in 0..Reply::SIZE * 8 {
        let mut octets = reply.as_bytes().to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        assert!(client.hear(0, &octets).is_err(), "bit {bit}");
    }
    assert_eq!(client.hear(0, reply.as_bytes()), Ok(()));
}

/// The terms of a mark that an old record has cost a round, no more.
#[test]
fn a_boot_with_an_old_term_learns_the_newest_one() {
    let (mut anchors, keys) = (Anchors::new(1), key(TPM));
    let quorum = anchors.quorum(1);
    let mut nobody =
        Client::new(&quorum, &keys, boot(1), head(1, 0xee), &Mark::naming(77, &quorum, &[Head::GENESIS], true));
    nobody.prepare([1; 32]).unwrap();
    anchors.serve(&mut nobody, &[0]);
    let (own, mark) = new(&quorum);
    let mut client = Client::new(&quorum, &keys, boot(2), own, &mark);
    client.prepare([1; 32]).unwrap();
    anchors.serve(&mut client, &[0]);
    assert_eq!(client.state(), State::Outrun);
    assert_eq!(client.prepare([2; 32]).unwrap().ballot.term.get(), 79);
    anchors.serve(&mut client, &[0]);
    assert_eq!(client.state(), State::Prepared);
}

#[test]
fn the_last_term_has_no_next_one() {
    let (anchors, keys) = (Anchors::new(1), key(TPM));
    let quorum = anchors.quorum(1);
    let mark = Mark::naming(u64::MAX, &quorum, &[Head::GENESIS], true);
    assert!(Client::new(&quorum, &keys, boot(1), head(1, 0xee), &mark).prepare([1; 32]).is_none());
}

#[test]
fn a_mark_is_what_was_written_or_none() {
    let quorum = Anchors::new(3).quorum(2);
    let mark = Mark::naming(5, &quorum, &[head(1, 1), head(2, 2)], true);
    assert_eq!(Mark::parse(mark.as_bytes()), Some(mark));
    let changed = |at: usize, octet| {
        let mut octets = mark.as_bytes().to_vec();
        octets[at] = octet;
        Mark::parse(&octets)
    };
    // No heads; more than there is room for; the own one beside three; neither 0 nor 1; a head that is not counted.
    assert_eq!([(40, 0), (40, 4), (40, 3), (41, 2), (40, 1)].map(|(at, octet)| changed(at, octet)), [None; 5]);
    assert_eq!(Mark::parse(&mark.as_bytes()[1..]), None);
}

#[test]
fn keys_are_scalars_of_the_curve() {
    assert!(P384::new(&[0; 48]).is_none() && P384::new(&[0xff; 48]).is_none());
    let keys = key(7);
    let signature = keys.sign(b"x").unwrap();
    assert!(P384::holds(keys.public(), b"x", &signature) && !P384::holds(keys.public(), b"y", &signature));
    assert!(!P384::holds(&[0; 49], b"x", &signature) && !P384::holds(keys.public(), b"x", &[0; 96]));
    let said = std::format!("{keys:?}");
    assert!(said.contains("public") && !said.contains("secret"), "{said}");
}

#[test]
fn shares_are_asked_for_when_a_tpm_settles_and_only_then() {
    let (mut anchors, keys) = (Anchors::new(1), key(TPM));
    let quorum = anchors.quorum(1);
    let (own, mark) = new(&quorum);
    let exchange = super::public(0x44);
    let mut client = Client::new(&quorum, &keys, Boot { exchange: Some(exchange), ..boot(1) }, own, &mark);
    assert_eq!(client.prepare([1; 32]).unwrap().exchange, [0; 49]);
    anchors.serve(&mut client, &[0]);
    assert_eq!(client.settle([2; 32]).unwrap().exchange, exchange);
    anchors.serve(&mut client, &[0]);
    assert_eq!(client.register(head(2, 1), [3; 32]).unwrap().exchange, [0; 49]);
}
