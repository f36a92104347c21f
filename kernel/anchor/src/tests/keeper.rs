//! An anchor's rules.

use super::{TPM, head, key};
use crate::keeper::Entry;
use crate::wire::{Ballot, Head, REQUEST, Reason, Request, asked, kind, status, told};
use zerocopy::{FromZeros, IntoBytes};

fn request(kind: u8, term: u64, boot: u8, step: u64, head: Head) -> Request {
    let ballot = Ballot { term: term.into(), boot: [boot; 32], step: step.into() };
    let request = Request { magic: REQUEST, kind, ballot, head, ..Request::new_zeroed() };
    request.sign(&key(TPM)).unwrap()
}

fn prepare(term: u64, boot: u8) -> Request {
    request(kind::PREPARE, term, boot, 0, Head::GENESIS)
}

fn accept(term: u64, boot: u8, step: u64, epoch: u64) -> Request {
    request(kind::ACCEPT, term, boot, step, head(epoch, boot))
}

#[test]
fn a_promise_shows_what_was_accepted_last() {
    let mut entry = Entry::new([0; 32]);
    let answer = entry.answer(&prepare(1, 1));
    assert_eq!((answer.reply.status, answer.reply.shown(), answer.changed), (status::PROMISED, None, true));
    entry.answer(&accept(1, 1, 0, 5));
    entry.answer(&accept(1, 1, 1, 6));
    let answer = entry.answer(&prepare(2, 2));
    assert_eq!(answer.reply.shown(), Some(&accept(1, 1, 1, 6)));
}

#[test]
fn what_is_of_an_earlier_turn_than_was_promised_is_outrun() {
    let mut entry = Entry::new([0; 32]);
    entry.answer(&prepare(5, 5));
    for earlier in [prepare(4, 9), prepare(5, 4), accept(4, 9, 7, 1), accept(5, 4, 0, 1)] {
        let answer = entry.answer(&earlier);
        assert_eq!((answer.reply.status, answer.reply.shown()), (status::OUTRUN, Some(&prepare(5, 5))));
        assert!(!answer.changed);
    }
    for later in [accept(5, 5, 0, 1), prepare(5, 6), accept(6, 1, 0, 1)] {
        assert_ne!(entry.answer(&later).reply.status, status::OUTRUN);
    }
}

/// An accept without a prepare is a promise, too.
#[test]
fn what_was_accepted_is_promised() {
    let mut entry = Entry::new([0; 32]);
    entry.answer(&accept(5, 5, 0, 1));
    assert_eq!(entry.answer(&prepare(4, 4)).reply.status, status::OUTRUN);
}

#[test]
fn a_step_that_comes_twice_is_accepted_twice_and_one_that_comes_late_is_not() {
    let mut entry = Entry::new([0; 32]);
    entry.answer(&accept(1, 1, 1, 5));
    let again = entry.answer(&accept(1, 1, 1, 5));
    assert_eq!((again.reply.status, again.changed), (status::ACCEPTED, false));
    entry.answer(&accept(1, 1, 2, 6));
    let late = entry.answer(&accept(1, 1, 1, 5));
    assert_eq!((late.reply.status, late.reply.shown()), (status::OUTRUN, Some(&accept(1, 1, 2, 6))));
}

/// A TPM that has heard nothing sends the same octets again: that changes nothing, and is answered as before.
#[test]
fn a_request_that_comes_twice_is_answered_alike() {
    let mut entry = Entry::new([7; 32]);
    entry.answer(&accept(1, 1, 1, 5));
    let settles = Request { flags: asked::SHARE, ..accept(2, 2, 0, 5) }.sign(&key(TPM)).unwrap();
    for request in [prepare(2, 2), settles, accept(2, 2, 1, 6)] {
        let first = entry.answer(&request);
        let again = entry.answer(&request);
        assert_eq!((first.changed, again.changed), (true, false));
        assert_eq!((first.reply, first.gives_share), (again.reply, again.gives_share));
    }
}

#[test]
fn another_head_in_the_same_step_is_a_conflict() {
    let mut entry = Entry::new([0; 32]);
    entry.answer(&accept(1, 1, 1, 5));
    let answer = entry.answer(&accept(1, 1, 1, 6));
    assert_eq!((answer.reply.status, Reason::of(answer.reply.reason)), (status::REFUSED, Some(Reason::Conflict)));
    assert_eq!(entry.accepted().unwrap().head, head(5, 1));
}

#[test]
fn what_is_forgotten_is_said_so_until_something_is_accepted() {
    let mut entry = Entry::new([0; 32]);
    entry.answer(&accept(1, 1, 1, 5));
    entry.forget();
    assert!(entry.is_forgotten());
    let reply = entry.answer(&prepare(2, 2)).reply;
    assert_eq!((reply.flags, reply.shown()), (told::FORGOTTEN, None));
    // The promises stay.
    assert_eq!(entry.answer(&prepare(1, 9)).reply.status, status::OUTRUN);
    entry.answer(&accept(2, 2, 0, 3));
    assert_eq!(entry.answer(&prepare(3, 3)).reply.flags, told::SHOWN);
}

#[test]
fn a_tpm_that_is_held_gets_nothing() {
    let mut entry = Entry::new([0; 32]);
    entry.hold(true);
    for request in [prepare(1, 1), accept(1, 1, 0, 1)] {
        let answer = entry.answer(&request);
        assert_eq!((answer.reply.status, answer.reply.reason), (status::REFUSED, Reason::Held as u8));
        assert!(!answer.changed && !answer.gives_share);
    }
    entry.hold(false);
    assert_eq!(entry.answer(&prepare(1, 1)).reply.status, status::PROMISED);
}

#[test]
fn a_share_goes_with_what_is_accepted_and_with_nothing_else() {
    let mut entry = Entry::new([7; 32]);
    let wants = |request: Request| Request { flags: asked::SHARE, ..request };
    assert!(entry.answer(&wants(accept(2, 2, 0, 5))).gives_share);
    assert!(!entry.answer(&wants(accept(1, 1, 0, 5))).gives_share);
    assert!(!entry.answer(&accept(2, 2, 1, 5)).gives_share && !entry.answer(&prepare(3, 3)).gives_share);
}

#[test]
fn what_others_keep_is_taken_over_where_it_is_later() {
    let (mut lost, mut first, mut second) = (Entry::new([1; 32]), Entry::new([2; 32]), Entry::new([3; 32]));
    first.answer(&accept(1, 1, 1, 5));
    first.answer(&prepare(9, 9));
    second.answer(&accept(4, 4, 0, 6));
    lost.adopt(&first);
    lost.adopt(&second);
    assert_eq!((lost.promised(), lost.accepted()), (Some(&prepare(9, 9)), Some(&accept(4, 4, 0, 6))));
    assert_eq!(lost.share, [1; 32]);
}

#[test]
fn an_entry_is_what_was_written_or_none() {
    let mut entry = Entry::new([1; 32]);
    entry.answer(&accept(1, 1, 1, 5));
    assert_eq!(Entry::parse(entry.as_bytes()), Some(entry));
    let mut octets = entry.as_bytes().to_vec();
    octets[0] |= 16;
    assert_eq!(Entry::parse(&octets), None);
    octets[0] = entry.as_bytes()[0];
    octets[1] ^= 1;
    assert_eq!(Entry::parse(&octets), None);
    assert_eq!(Entry::parse(&octets[1..]), None);
}

/// Of a TPM that so many operators have stopped that no quorum is left, one more must not make a quorum.
#[test]
fn who_takes_over_what_others_keep_holds_what_they_hold() {
    let (mut lost, mut other) = (Entry::new([1; 32]), Entry::new([2; 32]));
    lost.adopt(&other);
    assert!(!lost.is_held());
    other.hold(true);
    lost.adopt(&other);
    assert!(lost.is_held());
    lost.adopt(&Entry::new([3; 32]));
    assert!(lost.is_held(), "one of them is enough");
    lost.hold(false);
    assert!(!lost.is_held());
}
