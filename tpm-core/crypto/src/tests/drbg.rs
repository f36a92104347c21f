//! CAVP vectors (HMAC_DRBG.rsp, SHA-256, no prediction resistance), and the limits.

use hex_literal::hex;

use crate::drbg::{Drbg, MAX_REQUEST};
use crate::{Error, Rng};

#[test]
fn two_requests_give_the_bits_of_cavp() {
    let entropy = hex!("ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488");
    let mut drbg = Drbg::new(&entropy, &hex!("659ba96c601dc69fc902940805ec0ca8"), b"").unwrap();
    let mut out = [0; 128];
    drbg.generate(&mut out, b"").unwrap();
    drbg.generate(&mut out, b"").unwrap();
    let expected = hex!(
        "e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89"
        "d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc1"
        "07694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668"
        "961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8"
    );
    assert_eq!(out, expected);
}

#[test]
fn personalization_and_additional_input_give_the_bits_of_cavp() {
    let entropy = hex!("5d3286bc53a258a53ba781e2c4dcd79a790e43bbe0e89fb3eed39086be34174b");
    let personalization = hex!("2dba094d008e150d51c4135bb2f03dcde9cbf3468a12908a1b025c120c985b9d");
    let nonce = hex!("c5422294b7318952ace7055ab7570abf");
    let mut drbg = Drbg::new(&entropy, &nonce, &personalization).unwrap();
    let mut out = [0; 128];
    let first = hex!("793a7ef8f6f0482beac542bb785c10f8b7b406a4de92667ab168ecc2cf7573c6");
    drbg.generate(&mut out, &first).unwrap();
    let second = hex!("2238cdb4e23d629fe0c2a83dd8d5144ce1a6229ef41dabe2a99ff722e510b530");
    drbg.generate(&mut out, &second).unwrap();
    let expected = hex!(
        "d04678198ae7e1aeb435b45291458ffde0891560748b43330eaf866b5a6385e7"
        "4c6fa5a5a44bdb284d436e98d244018d6acedcdfa2e9f499d8089e4db86ae89a"
        "6ab2d19cb705e2f048f97fb597f04106a1fa6a1416ad3d859118e079a0c319eb"
        "95686f4cbcce3b5101c7a0b010ef029c4ef6d06cdfac97efb9773891688c37cf"
    );
    assert_eq!(out, expected);
}

#[test]
fn a_reseed_gives_the_bits_of_cavp() {
    let entropy = hex!("06032cd5eed33f39265f49ecb142c511da9aff2af71203bffaf34a9ca5bd9c0d");
    let mut drbg = Drbg::new(&entropy, &hex!("0e66f71edc43e42a45ad3c6fc6cdc4df"), b"").unwrap();
    let fresh = hex!("01920a4e669ed3a85ae8a33b35a74ad7fb2a6bb4cf395ce00334a9c9a5a5d552");
    drbg.reseed(&fresh, b"").unwrap();
    let mut out = [0; 128];
    drbg.generate(&mut out, b"").unwrap();
    drbg.generate(&mut out, b"").unwrap();
    let expected = hex!(
        "76fc79fe9b50beccc991a11b5635783a83536add03c157fb30645e611c2898bb"
        "2b1bc215000209208cd506cb28da2a51bdb03826aaf2bd2335d576d519160842"
        "e7158ad0949d1a9ec3e66ea1b1a064b005de914eac2e9d4f2d72a8616a802254"
        "22918250ff66a41bd2f864a6a38cc5b6499dc43f7f2bd09e1e0f8f5885935124"
    );
    assert_eq!(out, expected);
}

#[test]
fn too_little_entropy_and_too_long_requests_are_refused() {
    assert!(matches!(Drbg::new(&[1; 31], b"nonce", b""), Err(Error::Length)));
    let mut drbg = super::rng(1);
    assert_eq!(drbg.reseed(&[1; 31], b"much more than that"), Err(Error::Length));
    let mut out = super::std::vec![0xFF; MAX_REQUEST + 1];
    assert_eq!(drbg.generate(&mut out, b""), Err(Error::Length));
    assert!(out.iter().all(|&byte| byte == 0), "a refused request leaves nothing that looks random");
    drbg.fill(&mut out).unwrap();
    assert!(out.iter().any(|&byte| byte != 0));
}

#[test]
fn the_counter_counts_requests_and_starts_anew_with_a_reseed() {
    let mut drbg = super::rng(1);
    assert_eq!(drbg.reseed_counter(), 1);
    drbg.fill(&mut [0; 5]).unwrap();
    drbg.stir(b"no entropy known");
    assert_eq!(drbg.reseed_counter(), 2);
    drbg.reseed(&[7; 32], b"").unwrap();
    assert_eq!(drbg.reseed_counter(), 1);
}

#[test]
fn stirring_changes_the_output() {
    let (mut stirred, mut plain) = (super::rng(1), super::rng(1));
    stirred.stir(b"x");
    let (mut a, mut b) = ([0; 16], [0; 16]);
    stirred.fill(&mut a).unwrap();
    plain.fill(&mut b).unwrap();
    assert_ne!(a, b);
}
