//! Shares of a secret.

use super::{Anchors, TPM, boot, head, key};
use crate::client::{Boot, Client, Ignored, State};
use crate::mark::Mark;
use crate::share::{Covered, Exchange, Secret, combine, commitment, give, new_correction, point};
use crate::wire::{Reply, status};
use std::vec::Vec;
use zerocopy::{FromZeros, IntoBytes};

/// 16 rows that look random.
fn random() -> [[u8; 32]; 16] {
    let mut state = 1_u32;
    [(); 16].map(|()| {
        [(); 32].map(|()| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
    })
}

#[test]
fn any_k_of_n_shares_make_the_secret_and_k_less_one_do_not() {
    for (k, n) in [(1_usize, 1_u8), (2, 3), (3, 4), (3, 5), (9, 16)] {
        let secret = Secret::new(u32::try_from(k).unwrap(), &random()).unwrap();
        let shares: Vec<[u8; 32]> = (0..n).map(|number| [number ^ 0xa5; 32]).collect();
        let points: Vec<(u8, [u8; 32])> = (0..n)
            .map(|number| {
                let share = &shares[usize::from(number)];
                (number, point(share, &secret.correction(number, share)))
            })
            .collect();
        for first in 0..=points.len() - k {
            let some = &points[first..first + k];
            assert_eq!(*combine(some).unwrap(), *secret.octets(), "{k} of {n}");
            assert!(k == 1 || *combine(&some[1..]).unwrap() != *secret.octets(), "{k} of {n}");
        }
        let reversed: Vec<_> = points.iter().rev().take(k).copied().collect();
        assert_eq!(*combine(&reversed).unwrap(), *secret.octets());
    }
    assert!(Secret::new(0, &random()).is_none() && Secret::new(17, &random()).is_none());
    assert!(combine(&[(1, [0; 32]), (1, [1; 32])]).is_none(), "an anchor twice");
}

/// What is stored for another share, made of others' points, is what the secret itself would have made.
#[test]
fn a_correction_for_another_share_is_made_of_k_points() {
    for (k, n) in [(1_u32, 1_u8), (2, 3), (3, 5), (9, 16)] {
        let secret = Secret::new(k, &random()).unwrap();
        let points: Vec<(u8, [u8; 32])> = (0..n).map(|number| (number, secret.correction(number, &[0; 32]))).collect();
        for number in 0..n {
            let expected = secret.correction(number, &[0x5a; 32]);
            for some in points.windows(usize::try_from(k).unwrap()) {
                assert_eq!(new_correction(some, number, &[0x5a; 32]), Some(expected), "{number} of {n}");
            }
        }
    }
    assert!(new_correction(&[(1, [0; 32]), (1, [1; 32])], 0, &[0; 32]).is_none(), "an anchor twice");
}

#[test]
fn a_wrong_share_is_told_from_a_right_one() {
    assert_ne!(commitment(0, &[1; 32]), commitment(0, &[2; 32]));
    assert_ne!(commitment(0, &[1; 32]), commitment(1, &[1; 32]), "one of another anchor");
}

/// An anchor gives its share to who has settled, and only that one reads it.
#[test]
fn a_share_comes_to_the_tpm_that_asked_and_to_nobody_else() {
    let (mut anchors, keys, exchange) = (Anchors::new(1), key(TPM), Exchange::new(&[0x31; 48]).unwrap());
    let quorum = anchors.quorum(1);
    let boot = Boot { exchange: Some(*exchange.public()), ..boot(1) };
    let mut client = Client::new(&quorum, &keys, boot, head(1, 0xee), &Mark::new(&quorum));
    client.prepare([1; 32]).unwrap();
    anchors.serve(&mut client, &[0]);
    let request = *client.settle([2; 32]).unwrap();
    let (anchor, entry) = &mut anchors.0[0];
    let answer = entry.answer(&request);
    assert!(answer.gives_share);
    let reply = give(&entry.share, &Exchange::new(&[0x77; 48]).unwrap(), &request, answer.reply).unwrap();
    assert!(!reply.as_bytes().windows(32).any(|octets| octets == entry.share), "the share in the clear");
    client.hear(0, reply.sign(anchor).unwrap().as_bytes()).unwrap();
    let shares: Vec<_> = client.shares().collect();
    let [(0, share)] = shares[..] else { panic!("{shares:?}") };
    assert_eq!(*share.open(&exchange).unwrap(), entry.share);
    assert_ne!(*share.open(&Exchange::new(&[0x32; 48]).unwrap()).unwrap(), entry.share);
}

#[test]
fn a_reply_without_a_share_has_none() {
    assert_eq!(Covered::of(&Reply { status: status::ACCEPTED, ..Reply::new_zeroed() }), None);
    assert!(Exchange::new(&[0; 48]).is_none());
}

/// A new state wants the shares of all anchors, and settles with `k`.
#[test]
fn shares_are_heard_that_come_when_a_quorum_has_accepted() {
    let (mut anchors, keys, exchange) = (Anchors::new(3), key(TPM), Exchange::new(&[0x31; 48]).unwrap());
    let quorum = anchors.quorum(2);
    for asks in [false, true] {
        let public = asks.then_some(*exchange.public());
        let boot = Boot { exchange: public, ..boot(1 + u8::from(asks)) };
        let mut client = Client::new(&quorum, &keys, boot, head(1, 0xee), &Mark::new(&quorum));
        client.prepare([1; 32]).unwrap();
        anchors.serve(&mut client, &[0, 1]);
        let request = *client.settle([2; 32]).unwrap();
        let replies: Vec<Reply> = (0..3)
            .map(|number| {
                let (anchor, entry) = &mut anchors.0[number];
                let reply = entry.answer(&request).reply;
                let given = give(&entry.share, &Exchange::new(&[0x77; 48]).unwrap(), &request, reply);
                if asks { given.unwrap() } else { reply }.sign(anchor).unwrap()
            })
            .collect();
        for number in [0, 1] {
            client.hear(number, replies[number].as_bytes()).unwrap();
        }
        assert_eq!(client.state(), State::Settled);
        assert_eq!(client.hear(0, replies[0].as_bytes()), Err(Ignored::NotAsked));
        if asks {
            assert_eq!(client.hear(2, replies[1].as_bytes()), Err(Ignored::Signature));
            assert_eq!(client.hear(2, replies[2].as_bytes()), Ok(()));
            assert_eq!(client.shares().count(), 3);
        } else {
            assert_eq!(client.hear(2, replies[2].as_bytes()), Err(Ignored::NotAsked));
        }
        assert_eq!(client.state(), State::Settled);
    }
}
