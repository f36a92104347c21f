//! FIPS 180-4 and RFC 4231.

use std::vec;

use hex_literal::hex;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::std;
use crate::crypto::hash::{Digest, HashAlg, Hasher, digest};
use crate::crypto::hmac::{self, hmac};

#[test]
fn abc_has_the_digests_of_fips_180() {
    let expected: [(HashAlg, &[u8]); 4] = [
        (HashAlg::Sha1, &hex!("a9993e364706816aba3e25717850c26c9cd0d89d")),
        (HashAlg::Sha256, &hex!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
        (
            HashAlg::Sha384,
            &hex!("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
        ),
        (
            HashAlg::Sha512,
            &hex!(
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            ),
        ),
    ];
    for (alg, expected) in expected {
        assert_eq!(digest(alg, &[b"a", b"", b"bc"]).as_slice(), expected);
        assert_eq!((alg.digest_size(), HashAlg::from_id(alg.id())), (expected.len(), Some(alg)));
    }
    assert_eq!(HashAlg::from_id(0x0010), None);
    assert_eq!(HashAlg::ALL.len(), expected.len());
}

/// Algorithm, key, data, HMAC.
type Case = (HashAlg, &'static [u8], &'static [u8], &'static [u8]);

#[test]
fn hmac_has_the_values_of_rfc_4231() {
    let cases: [Case; 5] = [
        // Test case 1
        (
            HashAlg::Sha256,
            &[0x0B; 20],
            b"Hi There",
            &hex!("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        ),
        (
            HashAlg::Sha384,
            &[0x0B; 20],
            b"Hi There",
            &hex!("afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"),
        ),
        (
            HashAlg::Sha512,
            &[0x0B; 20],
            b"Hi There",
            &hex!(
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
            ),
        ),
        // Test case 6: a key longer than a block
        (
            HashAlg::Sha256,
            &[0xAA; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            &hex!("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        ),
        // RFC 2202, test case 2
        (HashAlg::Sha1, b"Jefe", b"what do ya want for nothing?", &hex!("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")),
    ];
    for (alg, key, data, expected) in cases {
        assert_eq!(hmac(alg, key, &[data]).as_slice(), expected);
        assert!(hmac::verify(alg, key, &[data], expected));
        assert!(!hmac::verify(alg, key, &[data], &expected[1..]), "a shortened HMAC");
        assert!(!hmac::verify(alg, key, &[data, b"x"], expected));
    }
}

#[test]
fn digests_compare_by_length_and_bytes() {
    assert_ne!(Digest::EMPTY, Digest::zero(HashAlg::Sha1));
    assert_ne!(Digest::zero(HashAlg::Sha1), Digest::zero(HashAlg::Sha256));
    assert_eq!(Digest::zero(HashAlg::Sha256), Digest::from_slice(&[0; 32]).unwrap());
    assert_eq!(Digest::from_slice(&[0; 65]), None);
}

proptest! {
    /// A state may be cloned at any point, and both go on as if alone.
    #[test]
    fn pieces_make_no_difference(data in proptest::collection::vec(any::<u8>(), 0..600), cut in any::<proptest::sample::Index>()) {
        let (head, tail) = data.split_at(cut.index(data.len() + 1));
        for &alg in HashAlg::ALL {
            let half = Hasher::new(alg).chain(head);
            prop_assert_eq!(half.clone().chain(tail).finish(), digest(alg, &[&data]));
            prop_assert_eq!(half.finish(), digest(alg, &[head]));
        }
    }

    /// A key longer than a block is replaced by its digest (FIPS 198-1, step 2).
    #[test]
    fn long_hmac_keys_are_hashed(len in 0_usize..300) {
        let key = vec![0xA5; len];
        for &alg in HashAlg::ALL {
            let same = hmac(alg, &key, &[b"m"]) == hmac(alg, digest(alg, &[&key]).as_slice(), &[b"m"]);
            prop_assert!(same == (len > alg.block_size()));
        }
    }
}
