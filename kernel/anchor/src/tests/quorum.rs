//! The setting that names the anchors.

use super::public;
use crate::quorum::{Cadence, Quorum, QuorumError, TooFew};
use proptest::prelude::{any, prop_assert_eq, proptest};
use std::vec;
use std::vec::Vec;

fn written(quorum: &Quorum) -> Vec<u8> {
    let mut octets = vec![0; Quorum::MAX_SIZE];
    let size = quorum.write(&mut octets).unwrap();
    octets.truncate(size);
    octets
}

fn two_of_three() -> Quorum {
    let quorum = Quorum::of(2, &[public(1), public(2), public(3)]).unwrap();
    quorum.with(Cadence::Every(7), TooFew::SaySo).waiting(2500, true)
}

#[test]
fn a_setting_says_what_was_written() {
    let octets = written(&two_of_three());
    assert_eq!(octets[..16], [1, 2, 3, 1, 7, 0, 0, 0, 0xc4, 9, 0, 0, 1, 0, 0, 0]);
    assert_eq!(octets.len(), 16 + 3 * 49);
    let read = Quorum::parse(&octets).unwrap();
    assert_eq!(read, two_of_three());
    assert_eq!((read.k(), read.n(), read.liars(), read.has_shares()), (2, 3, 0, true));
    assert_eq!((read.cadence(), read.too_few(), read.patience_ms()), (Cadence::Every(7), TooFew::SaySo, 2500));
}

/// One for each refusal.
#[test]
fn a_setting_that_names_no_quorum_is_refused() {
    let right = written(&two_of_three());
    let with = |at: usize, octet: u8| {
        let mut octets = right.clone();
        octets[at] = octet;
        Quorum::parse(&octets).unwrap_err()
    };
    assert_eq!(Quorum::parse(&right[..15]), Err(QuorumError::Size));
    assert_eq!(Quorum::parse(&right[..right.len() - 1]), Err(QuorumError::Size));
    assert_eq!(Quorum::parse(&[&right[..], &[0; 49]].concat()), Err(QuorumError::Size));
    assert_eq!(with(0, 2), QuorumError::Version);
    assert_eq!((with(2, 0), with(2, 17)), (QuorumError::Count, QuorumError::Count));
    assert_eq!(
        (with(1, 1), with(1, 4), with(1, 0)),
        (QuorumError::Threshold, QuorumError::Threshold, QuorumError::Threshold)
    );
    assert_eq!((with(3, 2), with(12, 2), with(15, 1)), (QuorumError::Policy, QuorumError::Policy, QuorumError::Policy));
    let mut hasty = right.clone();
    hasty[8..12].fill(0);
    assert_eq!(Quorum::parse(&hasty), Err(QuorumError::Patience));
    assert_eq!(with(16, 7), QuorumError::Key);
    let mut twice = right.clone();
    twice.copy_within(16..65, 65);
    assert_eq!(Quorum::parse(&twice), Err(QuorumError::Twice));
}

#[test]
fn more_than_half_and_what_may_lie() {
    let keys: Vec<_> = (1..=16).map(public).collect();
    for n in 1..=16_u8 {
        for k in 0..=17 {
            let quorum = Quorum::of(k, &keys[..usize::from(n)]);
            assert_eq!(quorum.is_ok(), k * 2 > n && k <= n, "{k} of {n}");
            // Two quorums have 2k - n in common, of whom one must be honest.
            assert!(quorum.is_err() || quorum.unwrap().liars() == u32::from(2 * k - n - 1));
        }
    }
    assert_eq!(Quorum::of(9, &[&keys[..], &keys[..1]].concat()), Err(QuorumError::Count));
}

#[test]
fn commits_are_registered_as_the_policy_says() {
    let due = |cadence: Cadence| (0..4).map(|unregistered| cadence.is_due(unregistered)).collect::<Vec<_>>();
    assert_eq!(due(Cadence::Boot), [false; 4]);
    assert_eq!(due(Cadence::Every(1)), [true; 4]);
    assert_eq!(due(Cadence::Every(3)), [false, false, true, true]);
}

#[test]
fn other_anchors_or_another_k_are_another_quorum_and_another_policy_is_not() {
    let three = two_of_three();
    assert_eq!(three.id(), three.clone().with(Cadence::Boot, TooFew::Refuse).id());
    assert_ne!(three.id(), Quorum::of(3, three.keys()).unwrap().id());
    assert_ne!(three.id(), Quorum::of(2, &three.keys()[..2]).unwrap().id());
}

proptest! {
    #[test]
    fn whatever_comes_is_a_quorum_or_none(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(quorum) = Quorum::parse(&octets) {
            prop_assert_eq!(written(&quorum), octets);
        }
    }
}
