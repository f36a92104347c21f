//! Requests, byte by byte.

use super::{TPM, head, key, public};
use crate::keys::P384;
use crate::wire::{Ballot, Head, Malformed, REQUEST, Reason, Reply, Request, asked, kind, status, subject, told};
use proptest::prelude::{any, prop_assert_eq, proptest};
use zerocopy::{FromZeros, IntoBytes};

fn accept() -> Request {
    let ballot = Ballot { term: 0x0102.into(), boot: [0xbb; 32], step: 3.into() };
    let (identity, nonce) = ([0x1d; 32], [0x22; 32]);
    let request = Request {
        magic: REQUEST,
        kind: kind::ACCEPT,
        identity,
        nonce,
        ballot,
        head: head(9, 0xbb),
        ..Request::new_zeroed()
    };
    request.sign(&key(TPM)).unwrap()
}

#[test]
fn a_request_byte_by_byte() {
    let request = accept();
    let octets = request.as_bytes();
    assert_eq!((&octets[..8], &octets[8..40]), (&b"QnA\x01\x02\0\0\0"[..], &[0x1d; 32][..]));
    assert_eq!((&octets[40..89], &octets[89..138]), (&public(TPM)[..], &[0; 49][..]));
    assert_eq!((&octets[138..170], &octets[170..178]), (&[0x22; 32][..], &[0, 0, 0, 0, 0, 0, 1, 2][..]));
    assert_eq!((&octets[178..210], &octets[210..218]), (&[0xbb; 32][..], &[0, 0, 0, 0, 0, 0, 0, 3][..]));
    assert_eq!((&octets[218..226], &octets[226..258]), (&[0, 0, 0, 0, 0, 0, 0, 9][..], &[0xbb; 32][..]));
    assert_eq!((&octets[258..290], octets.len()), (&[9; 32][..], 386));
    assert_eq!(Request::parse(octets), Ok(request));
}

/// 3,088 requests.
#[test]
fn every_bit_of_a_request_counts() {
    let request = accept();
    assert!(request.is_signed::<P384>());
    for bit in 0..Request::SIZE * 8 {
        let mut octets = request.as_bytes().to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        assert!(!Request::parse(&octets).is_ok_and(|request| request.is_signed::<P384>()), "bit {bit}");
    }
}

/// One for each refusal.
#[test]
fn what_is_no_request_is_refused() {
    let parse = |request: Request| Request::parse(request.as_bytes()).map(|_| ());
    assert_eq!(Request::parse(&accept().as_bytes()[1..]), Err(Malformed::Size));
    assert_eq!(parse(Request { magic: *b"QnA\x02", ..accept() }), Err(Malformed::Magic));
    let prepare = Request {
        kind: kind::PREPARE,
        head: Head::GENESIS,
        ballot: Ballot { step: 0.into(), ..accept().ballot },
        ..accept()
    };
    assert_eq!(parse(prepare), Ok(()));
    let settle = Request { kind: kind::ACCEPT, flags: asked::SHARE, exchange: public(3), ..prepare };
    assert_eq!(parse(settle), Ok(()));
    for request in [
        Request { kind: 0, ..accept() },
        Request { kind: 3, ..accept() },
        Request { reserved: [0, 1], ..accept() },
        Request { ballot: Ballot { term: 0.into(), ..accept().ballot }, ..accept() },
        // A prepare names no head, no step, and asks for no share.
        Request { head: head(1, 1), ..prepare },
        Request { ballot: Ballot { step: 1.into(), ..prepare.ballot }, ..prepare },
        Request { flags: asked::SHARE, ..prepare },
        // A share is for step 0; a key for it is there when one is asked for, and only then.
        Request { ballot: accept().ballot, ..settle },
        Request { flags: 0, ..settle },
        Request { flags: 2, ..accept() },
    ] {
        assert_eq!(parse(request), Err(Malformed::Field), "{request:?}");
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    let parse = |reply: Reply| Reply::parse(reply.as_bytes()).map(|_| ());
    let promised = Reply::to(&accept(), status::PROMISED).showing(&accept());
    assert_eq!((parse(promised), promised.as_bytes().len()), (Ok(()), 603));
    assert_eq!(parse(Reply::refusing(&accept(), Reason::Full)), Ok(()));
    assert_eq!(Reply::parse(&promised.as_bytes()[1..]), Err(Malformed::Size));
    assert_eq!(parse(Reply { magic: *b"QnA\x01", ..promised }), Err(Malformed::Magic));
    for reply in [
        Reply { status: 0, ..promised },
        Reply { status: 5, ..promised },
        Reply { reserved: 1, ..promised },
        Reply { reason: 1, ..promised },
        Reply { reason: 0, status: status::REFUSED, flags: 0, shown: Request::new_zeroed(), ..promised },
        Reply { reason: 6, ..Reply::refusing(&accept(), Reason::Full) },
        // Flags that another status has, or none; fields that no flag names.
        Reply { flags: promised.flags | told::SHARE, ..promised },
        Reply { flags: promised.flags | 8, ..promised },
        Reply { flags: 0, ..promised },
        Reply { share: [1; 32], ..promised },
        Reply { shown: Request::new_zeroed(), ..promised },
        Reply { flags: told::FORGOTTEN, ..Reply::to(&accept(), status::ACCEPTED) },
    ] {
        assert_eq!(parse(reply), Err(Malformed::Field), "{reply:?}");
    }
}

#[test]
fn an_identity_with_another_key_is_another_subject() {
    assert_eq!(accept().subject(), subject(&[0x1d; 32], &public(TPM)));
    assert_ne!(accept().subject(), subject(&[0x1d; 32], &public(3)));
    assert_ne!(accept().subject(), subject(&[0x1e; 32], &public(TPM)));
}

proptest! {
    #[test]
    fn whatever_comes_is_a_message_or_none(octets in proptest::collection::vec(any::<u8>(), 603)) {
        let mut octets = octets;
        octets[..4].copy_from_slice(b"QnR\x01");
        if let Ok(reply) = Reply::parse(&octets) {
            prop_assert_eq!(reply.as_bytes(), &octets[..]);
        }
        octets[..4].copy_from_slice(b"QnA\x01");
        if let Ok(request) = Request::parse(&octets[..386]) {
            prop_assert_eq!(request.as_bytes(), &octets[..386]);
        }
    }
}
