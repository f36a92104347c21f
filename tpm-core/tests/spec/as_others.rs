//! What differential fuzzing against libtpms has found: where the specification leaves the order of checks to the
//! implementation, it is that of the reference; and a few rules that we had not kept.

use crate::harness::Fixture;
use crate::harness::keys::*;
use client::codes::*;
use client::hash::Alg;
use client::tpm2b;
use tpm_core::cc;

#[test]
fn handles_beyond_the_last_slot_are_values_that_the_type_has_not() {
    let mut tpm = Fixture::new();
    let read = |tpm: &mut Fixture, h: u32| tpm.run(cc::READ_PUBLIC, &[h], &[], &[]).map(drop);
    assert_eq!(read(&mut tpm, 0x8000_0007), Err(reference_h(0)), "a slot without an object");
    assert_eq!(read(&mut tpm, 0x8000_0008), Err(handle(1, VALUE)), "no slot");
    assert_eq!(read(&mut tpm, 0x80ff_ffff), Err(handle(1, VALUE)));
    let restart = |tpm: &mut Fixture, h: u32| tpm.run(cc::POLICY_RESTART, &[h], &[], &[]).map(drop);
    assert_eq!(restart(&mut tpm, 0x0300_003f), Err(reference_h(0)));
    assert_eq!(restart(&mut tpm, 0x0300_0040), Err(handle(1, VALUE)));
    let flush = |tpm: &mut Fixture, h: u32| tpm.run(cc::FLUSH_CONTEXT, &[], &[], &h.to_be_bytes()).map(drop);
    assert_eq!(flush(&mut tpm, 0x0200_003f), Err(param(1, HANDLE)));
    assert_eq!(flush(&mut tpm, 0x0200_0040), Err(param(1, VALUE)));
    assert_eq!(flush(&mut tpm, 0x8000_0008), Err(param(1, VALUE)));
}

#[test]
fn a_saved_handle_is_a_session_or_one_of_three_values() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(OWNER, &sym_storage());
    let context = tpm.run(cc::CONTEXT_SAVE, &[key], &[], &[]).unwrap();
    for (saved, expected) in
        [(0x8000_0002u32, INTEGRITY), (0x8000_0003, VALUE), (0x0200_0040, VALUE), (0x0100_0000, VALUE)]
    {
        let mut bad = context.clone();
        bad[8..12].copy_from_slice(&saved.to_be_bytes());
        assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &bad).map(drop), Err(param(1, expected)), "{saved:#x}");
    }
}

#[test]
fn a_handle_is_checked_before_the_next_is_missed() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::NV_WRITE, &[0x0300_0000], &[], &[]), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(cc::NV_WRITE, &[OWNER], &[], &[]), Err(handle(2, INSUFFICIENT)));
    assert_eq!(tpm.run(cc::NV_WRITE, &[], &[], &[0; 2]), Err(handle(1, INSUFFICIENT)));
}

#[test]
fn a_structure_that_is_longer_than_its_tpm2b_is_of_the_wrong_size() {
    let mut tpm = Fixture::new();
    let creation = |size: u16| {
        let template = sym_storage().bytes();
        [&tpm2b(&[0; 4])[..], &size.to_be_bytes(), &template, &[0; 6]].concat()
    };
    let size = u16::try_from(sym_storage().bytes().len()).unwrap();
    let primary = |tpm: &mut Fixture, size| tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(size)).map(drop);
    assert_eq!(primary(&mut tpm, size), Ok(()));
    for wrong in [size - 2, size - 1, size + 1, size + 6] {
        assert_eq!(primary(&mut tpm, wrong), Err(param(2, SIZE)), "{wrong} instead of {size}");
    }
    let external = [&[0, 3][..], &[0, 8, 0, 0, 0, 0, 0, 0], &tpm2b(&sealed().bytes()), &NULL.to_be_bytes()].concat();
    assert_eq!(tpm.run(cc::LOAD_EXTERNAL, &[], &[], &external).map(drop), Err(param(1, SIZE)), "TPM2B_SENSITIVE, too");
}

#[test]
fn nothing_is_rewrapped_for_or_from_a_symmetric_parent() {
    let mut tpm = Fixture::new();
    let (symmetric, _) = tpm.primary(OWNER, &sym_storage());
    let (storage, _) = tpm.primary(OWNER, &ecc_storage());
    let params = [&tpm2b(&[7; 40])[..], &tpm2b(&[0, 0xb]), &tpm2b(&[])].concat();
    let rewrap =
        |tpm: &mut Fixture, old, new, params: &[u8]| tpm.with(cc::REWRAP, &[old, new], &[b""], params).map(drop);
    assert_eq!(rewrap(&mut tpm, NULL, symmetric, &params), Err(handle(2, TYPE)));
    assert_eq!(rewrap(&mut tpm, NULL, storage, &params), Ok(()));
    let seeded = [&tpm2b(&[7; 40])[..], &tpm2b(&[0, 0xb]), &tpm2b(&[1; 32])].concat();
    assert_eq!(rewrap(&mut tpm, symmetric, storage, &seeded), Err(handle(1, TYPE)));
}

#[test]
fn the_auth_value_of_a_sequence_object_does_for_the_admin_role() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &sym_storage());
    let sequence = handle_of(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap());
    let changed = tpm.with(cc::OBJECT_CHANGE_AUTH, &[sequence, parent], &[b""], &tpm2b(b"new"));
    assert_eq!(changed, Err(handle(1, TYPE)), "TPM2_ObjectChangeAuth itself refuses it");
    let certified = tpm.with(cc::CERTIFY, &[sequence, NULL], &[b"", b""], &[&tpm2b(b"")[..], NONE].concat());
    assert_eq!(certified, Err(SEQUENCE), "and so does TPM2_Certify");
}

#[test]
fn a_key_for_a_mac_does_not_decrypt() {
    let mut tpm = Fixture::new();
    let cmac = Template { parms: vec![0, 6, 0, 128, 0, 0x3f], ..aes_key() };
    let with = |attributes| cmac.clone().without(a::SIGN | a::DECRYPT).with(attributes);
    assert!(tpm.create_primary(OWNER, &with(a::SIGN)).is_ok());
    assert_eq!(tpm.create_primary(OWNER, &with(a::DECRYPT)), Err(param(2, SCHEME)));
    assert_eq!(tpm.create_primary(OWNER, &with(a::SIGN | a::DECRYPT)), Err(param(2, SCHEME)));
}

#[test]
fn unique_of_a_symmetric_parent_is_an_hmac() {
    let mut tpm = Fixture::new();
    let (seed, key) = ([0x5e; 32], [0x4b; 16]);
    let sensitive = [&[0, 0x25][..], &tpm2b(b""), &tpm2b(&seed), &tpm2b(&key)].concat();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let load = |tpm: &mut Fixture, attributes, unique: &[u8]| {
        let public = Template { attributes, unique: tpm2b(unique), ..sym_storage() };
        let params = [&[0, 0], &public.sized()[..], &tpm2b(&tpm2b(&sensitive)), &[0, 0], NONE].concat();
        tpm.with(cc::IMPORT, &[parent], &[b""], &params).map(drop)
    };
    let hash = Alg::Sha256.hash(&[&seed, &key]);
    let hmac = Alg::Sha256.hmac(&seed, &[&key]);
    assert_eq!(load(&mut tpm, a::USER | a::RESTRICTED | a::DECRYPT, &hmac), Ok(()));
    assert_eq!(load(&mut tpm, a::USER | a::RESTRICTED | a::DECRYPT, &hash), Err(plain(BINDING)));
    assert_eq!(load(&mut tpm, a::USER | a::DECRYPT, &hash), Ok(()), "of a key that has no children it is a hash");
    assert_eq!(load(&mut tpm, a::USER | a::DECRYPT, &hmac), Err(plain(BINDING)));
}

#[test]
fn the_group_of_a_capability_is_checked_before_the_rest_is_missed() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::GET_CAPABILITY, &[], &[], &0x4_a263u32.to_be_bytes()), Err(param(1, VALUE)));
    assert_eq!(tpm.run(cc::GET_CAPABILITY, &[], &[], &6u32.to_be_bytes()), Err(param(2, INSUFFICIENT)));
}

#[test]
fn what_the_owner_made_persistent_is_not_there_while_the_storage_hierarchy_is_disabled() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(ENDORSEMENT, &sym_storage());
    let persistent = 0x8100_0000u32;
    tpm.with(cc::EVICT_CONTROL, &[OWNER, key], &[b""], &persistent.to_be_bytes()).unwrap();
    assert!(tpm.run(cc::READ_PUBLIC, &[persistent], &[], &[]).is_ok());
    let enable = |tpm: &mut Fixture, on: u8| {
        tpm.with(cc::HIERARCHY_CONTROL, &[PLATFORM], &[b""], &[&OWNER.to_be_bytes()[..], &[on]].concat()).unwrap();
    };
    enable(&mut tpm, 0);
    assert_eq!(tpm.run(cc::READ_PUBLIC, &[persistent], &[], &[]).map(drop), Err(handle(1, HANDLE)));
    enable(&mut tpm, 1);
    assert!(tpm.run(cc::READ_PUBLIC, &[persistent], &[], &[]).is_ok());
}
