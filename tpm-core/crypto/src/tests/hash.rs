//! FIPS 180-4, FIPS 202, GB/T 32905 and RFC 4231.

use std::vec;
use std::vec::Vec;

use hex_literal::hex;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::std;
use crate::hash::{Digest, HashAlg, Hasher, digest};
use crate::hmac::{self, Hmac, hmac};

#[test]
fn abc_has_the_digests_of_the_standards() {
    let expected: [(HashAlg, &[u8]); 8] = [
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
        (HashAlg::Sm3, &hex!("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")),
        (HashAlg::Sha3_256, &hex!("3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532")),
        (
            HashAlg::Sha3_384,
            &hex!("ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25"),
        ),
        (
            HashAlg::Sha3_512,
            &hex!(
                "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"
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
    let cases: [Case; 9] = [
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
        // the same key and data, by NIST's HMAC_SHA3 examples' construction, and with SM3: made by Python's hashlib
        (
            HashAlg::Sm3,
            &[0x0B; 20],
            b"Hi There",
            &hex!("51b00d1fb49832bfb01c3ce27848e59f871d9ba938dc563b338ca964755cce70"),
        ),
        (
            HashAlg::Sha3_256,
            &[0x0B; 20],
            b"Hi There",
            &hex!("ba85192310dffa96e2a3a40e69774351140bb7185e1202cdcc917589f95e16bb"),
        ),
        (
            HashAlg::Sha3_384,
            &[0x0B; 20],
            b"Hi There",
            &hex!("68d2dcf7fd4ddd0a2240c8a437305f61fb7334cfb5d0226e1bc27dc10a2e723a20d370b47743130e26ac7e3d532886bd"),
        ),
        (
            HashAlg::Sha3_512,
            &[0x0B; 20],
            b"Hi There",
            &hex!(
                "eb3fbd4b2eaab8f5c504bd3a41465aacec15770a7cabac531e482f860b5ec7ba"
                "47ccb2c6f2afce8f88d22b6dc61380f23a668fd3888bb80537c0a0b86407689e"
            ),
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

/// What is hashed in one go and what is hashed as a stream: all lengths around a block, cut anywhere.
#[test]
fn one_go_and_a_stream_give_the_same() {
    let data: Vec<u8> = (0..200).map(|i| i as u8 ^ 0x5a).collect();
    for len in 0..data.len() {
        for cut in [0, 1, 31, 55, 56, 63, 64, 65, 119, 128, len] {
            let (head, tail) = data[..len].split_at(cut.min(len));
            for &alg in HashAlg::ALL {
                let stream = Hasher::new(alg).chain(head).chain(tail).finish();
                assert_eq!(digest(alg, &[head, tail]), stream, "{alg:?} {len} {cut}");
                let stream = Hmac::new(alg, &data[..len]).chain(head).chain(tail).finish();
                assert_eq!(hmac(alg, &data[..len], &[head, tail]), stream, "{alg:?} {len} {cut}");
            }
        }
    }
}
